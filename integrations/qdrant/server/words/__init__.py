"""The words of a server's collections: a text index, or sparse vectors."""
