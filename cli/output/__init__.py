"""What a command shows: tables, progress, hints."""
