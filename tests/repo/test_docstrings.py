"""The sections of docstrings have the form that the documentation site reads."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from repository import ROOT, library_files

_SECTIONS = {"Args:", "Attributes:", "Raises:"}


def docstrings(file: Path) -> Iterator[str]:
    """Yield the docstrings of a module and of all that it defines."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, kinds) and (text := ast.get_docstring(node, clean=False)):
            yield inspect.cleandoc(text)


def misplaced(text: str) -> Iterator[str]:
    """Yield the first lines of sections that are not four columns deeper than their title."""
    lines = text.split("\n")
    for title, first in pairwise(lines):
        if title.strip() in _SECTIONS:
            depth = len(title) - len(title.lstrip())
            if len(first) - len(first.lstrip()) != depth + 4:
                yield first


def test_entries_of_a_section_are_four_columns_deep() -> None:
    wrong = {
        f"{file}: {line.strip()}"
        for file in library_files()
        for text in docstrings(ROOT / file)
        for line in misplaced(text)
    }
    assert wrong == set()


def test_a_misplaced_entry_is_found() -> None:
    text = "Do it.\n\nRaises:\n        ValueError: Always."
    assert [*misplaced(text)] == ["        ValueError: Always."]
