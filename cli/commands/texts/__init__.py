"""Commands that read texts, line by line, and have a model compute something of each."""
