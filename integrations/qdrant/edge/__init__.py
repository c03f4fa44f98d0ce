"""The store in this process: Qdrant Edge."""
