"""Output of commands: tables, progress, hints."""
