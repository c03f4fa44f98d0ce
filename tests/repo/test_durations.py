"""The list by which ``make test-fast`` leaves out what takes long."""

from __future__ import annotations

from durations import SECONDS, TESTS


def test_every_file_of_the_list_exists() -> None:
    lost = [file for file in SECONDS if not (TESTS / file).is_file()]
    assert lost == [], "`make test PYTEST_FLAGS=--measure` writes tests/durations.json anew"
