"""Graphs that OpenVINO reads itself, behind the session that every encoder runs."""
