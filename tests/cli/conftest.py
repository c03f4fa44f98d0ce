"""What the tests of the command line share: an empty folder, and a few texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant

NOTES = {
    "bread.md": "# Bread\n\nBread rises because yeast turns sugar into carbon dioxide.\n",
    "ferry.txt": "The ferry to the island leaves at seven and returns at dusk.\n",
    "peps.txt": "A PEP is a design document. The Steering Council accepts or rejects PEPs.\n",
}


@pytest.fixture
def decant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decant:
    """Return the command, in an empty folder, as on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("DECANT_DEBUG", raising=False)
    return Decant()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return a folder with three short texts."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in NOTES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
