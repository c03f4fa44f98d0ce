"""The first values of vectors as a vector of their own, which searches compare first."""
