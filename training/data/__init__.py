"""Examples to train on: read, mined, generated and split."""
