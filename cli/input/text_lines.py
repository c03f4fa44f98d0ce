"""Read texts from a file or a pipe, one per line, holding one line at a time.

A text is the unchanged line without its line end. An empty one has no vector and no score, so it is
an error that names the line, or is passed over on request.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from decant.embedders import TextError


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One text.

    Args:
        text: The text to embed or score.
        fields: The JSON object of the line; for a plain line, an object with the text only.
        number: The line's number in its file, from 1; 0 if it has none.
    """

    text: str
    fields: dict[str, object]
    number: int = 0


def read_lines(stream: IO[bytes], *, jsonl: bool, skip_empty: bool) -> Iterator[Line]:
    """Yield the texts of a stream of bytes.

    Args:
        stream: UTF-8; a byte order mark is allowed.
        jsonl: Each line is a JSON object with a string ``text``.
        skip_empty: Pass over lines without text instead of failing.

    Raises:
        TextError: A line is empty, not UTF-8, or not such an object; the message holds its number.
    """
    for number, data in enumerate(stream, start=1):
        content = data.removeprefix(codecs.BOM_UTF8) if number == 1 else data
        if not content:
            return  # there was nothing but the mark
        content = content.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise TextError(
                f"line {number} is not UTF-8: byte {content[error.start]:#04x} at position "
                f"{error.start}; convert the file, for example with iconv"
            ) from error
        if jsonl and text:
            line = _parsed(text, number)
        else:
            line = Line(text=text, fields={"text": text}, number=number)
        if line.text:
            yield line
        elif not skip_empty:
            raise TextError(f"line {number} is empty; remove it or pass --skip-empty")


@contextmanager
def texts_of(file: Path) -> Iterator[Iterator[str]]:
    """Yield an iterator over the texts of a file, one per line, which reads lazily.

    Empty lines are skipped.
    """
    with file.open("rb") as stream:
        yield (line.text for line in read_lines(stream, jsonl=False, skip_empty=True))


def _parsed(line: str, number: int) -> Line:
    try:
        fields: object = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextError(f"line {number} is not JSON: {error}") from error
    text = fields.get("text") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(text, str):
        raise TextError(f'line {number} is no JSON object with a string "text": {line[:60]}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(f"line {number} holds a lone surrogate, which is no text") from error
    return Line(text=text, fields=fields, number=number)
