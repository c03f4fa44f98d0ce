"""Refuse a missing file or folder, and describe the one that is wanted.

The checks are callbacks of Typer. They run before a command, so that nothing is loaded or written
for a mistyped path.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import typer

Given = TypeVar("Given", bound="Path | list[Path] | None")

TEXTS = "a text file in UTF-8 with one text a line"
SCORED = "a file with a line `score<TAB>sentence<TAB>sentence` for each pair"
WORDS = "a file with a line `word<TAB>word<TAB>score` for each pair"
LABELLED = "a file with a line `1<TAB>text<TAB>text` or `0<TAB>text<TAB>text` for each pair"
ANALOGIES = "Google's file of questions, or a folder of BATS"
ANCHORS = "a file with a line `sentence<TAB>variation<TAB>varied sentence` for each"
BEIR = "a folder in BEIR's format, with corpus.jsonl, queries.jsonl and qrels.tsv"
QUERIES = (
    'a .jsonl file with a line {"query": "…", "relevant": ["id or source", …]} for each query, or '
    "a folder in BEIR's format"
)
PAIRS = (
    'a .jsonl file with a line {"query": "…", "positive": "…"} for each pair, or a .tsv file whose '
    "first line is `query<TAB>positive`"
)
GRADED = (
    'a .jsonl file with a line {"score": 4.5, "query": "…", "positive": "…"} for each pair, or a '
    ".tsv file whose first line is `score<TAB>query<TAB>positive`"
)
TRIPLETS = (
    'a .jsonl file with a line {"query": "…", "positive": "…", "negatives": ["…"]} for each query'
)
ALONE = 'a .jsonl file with a line {"query": "…"} for each text, or a .tsv file with a heading'
CONTEXTS = (
    'a .jsonl file with a line {"query": "…", "instruction": "…", "response": "…"} for each context'
)
ANSWERS = (
    'a .jsonl file with a line {"query": "…", "response": "…"} for each question, which '
    "`decant train generate` makes"
)
TOML = "a TOML file with tables objective, loop and lora"
API_KEYS = "a file of API keys, one a line"
DOCUMENTS = "a folder of text files"


def no_address(bundle: Path) -> Path:
    """Refuse the address of a server where the files of a bundle are needed.

    Raises:
        BadParameter: It is an address.
    """
    # A path has lost one of the two slashes.
    if str(bundle).lower().startswith(("http:", "https:")):
        raise typer.BadParameter(
            "an address has an encoder, and this command works on the files of a bundle; run it "
            "on the machine that has the folder"
        )
    return bundle


def existing(wanted: str) -> Callable[[Given], Given]:
    """Return a callback that checks that one or several paths exist.

    Args:
        wanted: A description of the file, for the message.

    Raises:
        BadParameter: By the callback: a path does not exist.

    >>> existing(TEXTS)(Path("."))
    PosixPath('.')
    """

    def check(given: Given) -> Given:
        for path in given if isinstance(given, list) else [given]:
            if path is not None and not path.exists():
                raise typer.BadParameter(f"{path} does not exist; give {wanted}")
        return given

    return check
