"""``decant train``: one command for each method."""
