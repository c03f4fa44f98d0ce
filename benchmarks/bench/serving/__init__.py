"""Servers in processes of their own, and clients that ask them: what measuring a server needs."""
