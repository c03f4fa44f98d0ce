"""What is minimised: one module a method."""
