"""The names of a server's collections: aliases, and what a migration keeps of both."""
