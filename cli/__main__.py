"""``python -m decant.cli`` is ``decant``."""

from .main import app

if __name__ == "__main__":
    app(prog_name="decant")
