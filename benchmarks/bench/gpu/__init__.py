"""The GPU benchmark: models with drawn weights, ways to run them, and what is counted."""
