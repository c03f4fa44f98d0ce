"""The error of this folder's readings, a file of its own because all of them raise it."""


class UnreadForm(NotImplementedError):
    """An operator is used in a way that is not read here; the text names it."""
