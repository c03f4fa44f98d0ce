"""Graphs of fewer bits: int8, weights alone, float16."""
