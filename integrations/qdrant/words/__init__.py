"""The words of texts in the terms of Qdrant: how they are tokenised, and BM25 as sparse vectors."""
