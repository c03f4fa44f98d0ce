"""One code for functions and coroutines: what reads a collection, awaited or not."""
