"""From a PyTorch model to a graph, with attention as one operator."""
