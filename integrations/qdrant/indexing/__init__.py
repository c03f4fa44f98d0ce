"""Index documents as chunks, and write only what changed."""
