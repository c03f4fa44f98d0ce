"""Compare a graph with PyTorch, and record the results."""
