"""Compare systems, in tables, pictures and pages."""
