"""The layout of a collection on a server: what is sent for it, and what the server reports."""
