"""Reach a server: its address, its clients, and how long one attempt may take."""
