"""Models that learn, and how they are saved."""
