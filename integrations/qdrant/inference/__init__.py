"""Vectors that a Qdrant server has made: rows of texts, and the proof that the model is right."""
