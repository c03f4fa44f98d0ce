"""Measure a graph against PyTorch, and write down what was found."""
