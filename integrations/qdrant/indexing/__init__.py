"""From documents to stored chunks, and only what changed."""
