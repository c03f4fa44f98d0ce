"""Tenants of a collection: each sees and changes only what is its own."""
