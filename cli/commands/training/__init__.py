"""``decant train`` and its kinds."""
