"""An extension of griffe, which reads docstrings for the site: doctests and roles become Markdown.

Docstrings are written for ``help()`` and for doctest: examples begin with ``>>>`` at the end of the
text, and names of code stand in roles of reStructuredText. Markdown knows neither.
"""

from __future__ import annotations

import re

import griffe

_DOCTEST = re.compile(r"(?m)^([ ]*)>>> (?:.|\n(?!\s*\n))*")
_ROLE = re.compile(r":(?:class|func|meth|attr|mod|exc|data):(?=`)")


class MarkdownDocstrings(griffe.Extension):
    """Fence doctests, and take roles away, before docstrings are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Return a docstring as Markdown has it."""
    return _ROLE.sub("", _DOCTEST.sub(_fenced, text.replace("``", "`")))


def _fenced(found: re.Match[str]) -> str:
    indent = found[1]
    return f"{indent}```pycon\n{found[0].rstrip()}\n{indent}```"
