"""Conditions as the filters of an engine."""
