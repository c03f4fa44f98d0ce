"""Compare systems, in tables, plots and pages."""
