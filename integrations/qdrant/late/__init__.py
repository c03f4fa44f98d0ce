"""How a collection keeps vectors of tokens, for late interaction."""
