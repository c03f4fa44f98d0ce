"""Read what makes vectors of tokens from the folders of other libraries."""
