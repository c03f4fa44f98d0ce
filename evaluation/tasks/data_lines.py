"""Read lines and columns of data files; every error names the file and the line.

Files are UTF-8, with or without a byte order mark. Invariant: a line is read or refused, never
skipped, unless it is blank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from ..errors import EvaluationError


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each line that is not blank with its number, from one, without its line end.

    Only line feeds end a line, so that texts may hold Unicode's other separators.

    Raises:
        EvaluationError: The file is not UTF-8.
        OSError: The file cannot be read.
    """
    with file.open(encoding="utf-8-sig") as opened:
        try:
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
        except UnicodeDecodeError as error:
            raise EvaluationError(f"{file}: not UTF-8: {error}") from error


def columns(file: Path, number: int, line: str, *, count: int) -> list[str]:
    r"""Split a line at tabs.

    Raises:
        EvaluationError: It does not have ``count`` columns.

    >>> columns(Path("sts.tsv"), 1, "5.0\ta\tb", count=3)
    ['5.0', 'a', 'b']
    """
    parts = line.split("\t")
    if len(parts) != count:
        raise EvaluationError(
            f"{file}:{number}: {len(parts)} columns with tabs between, expected {count}"
        )
    return parts


def finite(file: Path, number: int, text: str) -> float:
    """Return a number.

    Raises:
        EvaluationError: The text is not a finite number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise EvaluationError(f"{file}:{number}: {text!r} is not a finite number")
    return value


def text(file: Path, number: int, value: str) -> str:
    """Return a text as it is.

    Raises:
        EvaluationError: It is empty or white space.
    """
    if not value.strip():
        raise EvaluationError(f"{file}:{number}: a text is empty")
    return value
