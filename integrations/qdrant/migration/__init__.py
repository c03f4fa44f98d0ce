"""Change the model, the layout or the engine of a collection while it is searched and written."""
