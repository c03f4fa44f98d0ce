"""What a reranker is and gives, whatever runs it."""
