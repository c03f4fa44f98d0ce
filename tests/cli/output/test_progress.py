"""Bars of long work: what they show, from the beginning."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from decant.cli.output import progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what is written to a terminal of 120 columns."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(progress, "messages", lambda: console)
    return written


def test_a_bar_shows_the_count_the_time_gone_and_the_time_left(terminal: io.StringIO) -> None:
    with progress.bar("indexing", total=40, unit="documents") as shown:
        assert "0/40" in terminal.getvalue(), "before anything is done"
        shown.update(10, "300 chunks")
        shown._progress.refresh()
        line = terminal.getvalue()
    assert "10/40" in line
    assert "300 chunks" in line
    assert "0:00:0" in line
    assert "left" in line


def test_a_bar_of_unknown_length_promises_no_end(terminal: io.StringIO) -> None:
    with progress.bar("embedding", total=None, unit="texts") as shown:
        shown.update(3)
        shown._progress.refresh()
        assert "left" not in terminal.getvalue()
    assert "3/?" in terminal.getvalue()
