"""Vectors of tokens, outside of a model: compared by MaxSim, and pooled to fewer."""
