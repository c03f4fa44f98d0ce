"""Load many points into a collection on a server before its vector index is built."""
