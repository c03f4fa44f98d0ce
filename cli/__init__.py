"""The command ``decant``: one module a command, and a few that they share. No logic of its own."""
