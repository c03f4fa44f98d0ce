"""What can be evaluated: encoders, word vectors, models of other libraries."""
