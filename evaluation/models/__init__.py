"""Embedders to evaluate: encoders, word vectors, models of other libraries."""
