"""Contract test classes: what every implementation of one protocol has to pass."""
