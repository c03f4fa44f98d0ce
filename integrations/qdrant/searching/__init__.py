"""Search a collection: branches, their fusion, and what is done with the hits."""
