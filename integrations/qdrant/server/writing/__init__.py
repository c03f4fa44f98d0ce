"""The right to write to a collection on a server, and what stops requests that come too late."""
