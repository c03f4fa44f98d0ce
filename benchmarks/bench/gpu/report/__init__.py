"""Everything that is owed on an NVIDIA GPU, step by step within a budget, and its page."""
