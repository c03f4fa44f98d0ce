"""Collections of other programs: what their vectors are, and how they are adopted."""
