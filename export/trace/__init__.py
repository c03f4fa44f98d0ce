"""Trace a PyTorch model as a graph, with attention as one operator."""
