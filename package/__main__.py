"""``python -m decant`` is ``decant``."""

from .cli.main import app

if __name__ == "__main__":
    app(prog_name="decant")
