"""Find the code blocks, links and headings of a Markdown file, and the commands in blocks.

A block that cannot be run carries its reason on the line before: ``<!-- not run: needs a GPU -->``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+?) -->\n)?"
    r"^```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The model that README and the quickstart name."""

SHELLS = {"console", "sh", "bash", "shell"}
_CODE_SPAN = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"(?m)^#{1,6} (.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: ``line`` is the number of its first line inside the fence."""

    language: str
    body: str
    line: int
    reason: str | None

    @property
    def is_run(self) -> bool:
        """Whether it is Python or a shell's, and nothing says that it cannot be run."""
        return self.reason is None and self.language in {"python", *SHELLS}

    def commands(self) -> list[str]:
        """Return the commands of a shell block; in a ``console`` they follow ``$``."""
        whole = self.body.replace("\\\n", " ")
        lines = [line.strip() for line in whole.splitlines()]
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(file: Path) -> list[Block]:
    """Return every fenced block of a Markdown file, in order."""
    text = file.read_text(encoding="utf-8")
    return [
        Block(
            language=found["language"],
            body=found["body"],
            line=text.count("\n", 0, found.start("body")) + 1,
            reason=found["reason"],
        )
        for found in _FENCE.finditer(text)
    ]


def links(file: Path) -> list[str]:
    """Return the targets of links within the repository, as they are written."""
    found = _LINK.findall(_CODE_SPAN.sub("``", _prose(file)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub and mkdocs give to the headings of a Markdown file."""
    return {
        re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())
        for heading in _HEADING.findall(_prose(file))
    }


def _prose(file: Path) -> str:
    return _FENCE.sub("", file.read_text(encoding="utf-8"))
