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


def lazy_names(
    package: str, file: str, *, check: Callable[[str], None] | None = None
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return what a package with a stub takes as its ``__getattr__``, ``__dir__`` and ``__all__``.

    Every line of the stub that counts has the form ``from .module import Name as Name``, or
    ``from . import folder as folder`` for a folder of the package. ``__getattr__`` imports a name
    when it is first used, and raises AttributeError for one that the stub does not list.

    Args:
        package: The package, its ``__name__``.
        file: Its ``__file__``; the stub lies next to it.
        check: Called with the module that defines a name, relative to the package, before that
            module is imported: raises :class:`MissingExtra` where an extra is missing.
    """
    modules = _read_stub(Path(file).with_suffix(".pyi"))
    names = sorted(modules)

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = modules[name]
        if check is not None:
            check(module)
        path = f"{package}.{module}"
        value = import_module(path) if module == name else getattr(import_module(path), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: names, names


def _read_stub(file: Path) -> dict[str, str]:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return {
        alias.name: node.module or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
