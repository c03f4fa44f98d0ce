"""Convert PDF, Office and HTML files to text (Markdown), with the extra ``docs``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import TextError
from decant.embedders.errors import need

if TYPE_CHECKING:
    from markitdown import MarkItDown

CONVERTED = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".html", ".htm"})


def converted(path: Path) -> str:
    """Return the text of a file of one of these formats.

    Raises:
        TextError: It is damaged, of another format than its suffix, or holds no text.
        MissingExtra: The extra is not installed.
    """
    converter = _converter()
    try:
        text = str(converter.convert(path).text_content)
    except Exception as error:  # each format's library raises errors of its own
        raise TextError(f"cannot be converted to text: {_reason(error)}") from error
    if not text.strip():
        raise TextError("holds no text; pages that are pictures need text recognition first")
    return text


@cache
def _converter() -> MarkItDown:
    """Return a converter for these formats alone.

    With all of its converters, a file that its format's converter cannot read would be taken for
    plain text.
    """
    package = need("markitdown", extra="docs")
    formats = need("markitdown.converters", extra="docs")
    made: MarkItDown = package.MarkItDown(enable_builtins=False, enable_plugins=False)
    for name in ("Pdf", "Docx", "Pptx", "Xlsx", "Html"):
        made.register_converter(getattr(formats, f"{name}Converter")())
    return made


def _reason(error: Exception) -> str:
    """Return the error message of the format's own library."""
    attempts = getattr(error, "attempts", None) or []
    infos = [attempt.exc_info for attempt in attempts if attempt.exc_info is not None]
    cause = infos[0][1] if infos else error
    return f"{type(cause).__name__}: {cause}".strip().removesuffix(":")
