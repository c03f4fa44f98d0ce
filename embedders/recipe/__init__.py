"""What decides a vector: the recipe, its prompts and its choices, as data alone."""
