"""What a store can do, whichever engine keeps it: points, filters, queries, settings."""
