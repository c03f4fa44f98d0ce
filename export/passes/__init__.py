"""Changes of a finished graph that keep what it computes."""
