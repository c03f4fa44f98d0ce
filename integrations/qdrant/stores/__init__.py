"""The protocol of stores for both engines: points, filters, queries, settings."""
