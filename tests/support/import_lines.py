"""What Python files import, read from their source: inside functions and for type checkers, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from repository import ROOT, library_files, module_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module, by its absolute name, and where."""

    module: str
    level: int
    line: int
    checked_only: bool


@cache
def imports(file: Path) -> tuple[Import, ...]:
    """Return every import of a file, those inside functions too."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=str(file))
    return tuple(_walk(tree, file, checked_only=False))


def _walk(node: ast.AST, file: Path, *, checked_only: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names, lineno=line):
            for name in names:
                yield Import(module=name.name, level=0, line=line, checked_only=checked_only)
        case ast.ImportFrom(module=module, names=names, level=level, lineno=line):
            for name in names:
                found = _absolute(file, module or "", level, name.name)
                yield Import(module=found, level=level, line=line, checked_only=checked_only)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=otherwise):
            for statement in body:
                yield from _walk(statement, file, checked_only=True)
            for statement in otherwise:
                yield from _walk(statement, file, checked_only=checked_only)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _walk(child, file, checked_only=checked_only)


def _absolute(file: Path, module: str, level: int, name: str) -> str:
    if level:
        parts = module_name(file.parent / "__init__.py").split(".")
        module = ".".join((*parts[: len(parts) - level + 1], *filter(None, [module])))
    return f"{module}.{name}" if f"{module}.{name}" in modules() else module


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module of the packages."""
    return {module_name(file): file for file in library_files()}
