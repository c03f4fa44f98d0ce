"""What operators see of collections: how large and how healthy they are, and what is wrong."""
