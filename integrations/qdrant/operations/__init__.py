"""What operators see of collections: spans, how large and how healthy they are, what is wrong."""
