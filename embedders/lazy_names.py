"""Public names of a package that are imported when they are first used.

The names are listed once, in the package's stub ``__init__.pyi``: type checkers read it, and this
module reads it at run time. ``lazy-loader`` does the same, but cannot check for an extra before it
imports the module that needs it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


class LazyNames:
    """The names that a package's stub lists, and the modules that define them.

    Args:
        package: The package, its ``__name__``.
        file: Its ``__file__``; the stub lies next to it.
        check: Called with the module that defines a name, relative to the package, before that
            module is imported; it raises if an extra is missing.

    Every line of the stub that counts has the form ``from .module import Name as Name``, or
    ``from . import folder as folder`` for a folder of the package.
    """

    def __init__(
        self, package: str, file: str, *, check: Callable[[str], None] | None = None
    ) -> None:
        self._package = package
        self._check = check
        self.modules = _read_stub(Path(file).with_suffix(".pyi"))

    @property
    def names(self) -> list[str]:
        """The names, sorted, for ``__all__`` and ``dir()`` of the package."""
        return sorted(self.modules)

    def load(self, name: str) -> object:
        """Import a name and set it in the package; this is the package's ``__getattr__``.

        Raises:
            AttributeError: The stub does not list it.
            MissingExtra: The module that defines it needs an extra.
        """
        if name not in self.modules:
            raise AttributeError(f"module {self._package!r} has no attribute {name!r}")
        module = self.modules[name]
        if self._check is not None:
            self._check(module)
        path = f"{self._package}.{module}"
        value = import_module(path) if module == name else getattr(import_module(path), name)
        setattr(sys.modules[self._package], name, value)
        return value


def _read_stub(file: Path) -> dict[str, str]:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return {
        alias.name: node.module or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
