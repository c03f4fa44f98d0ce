"""Read docstrings of Python's standard library as documents, for the quick start.

Sources are parsed, never imported. Only public modules, classes, functions and methods are read,
without tests, demonstrations and installers.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path

from decant.embedders import TextError
from decant.integrations.qdrant import Document

ROOT = "Python standard library"
_LEFT_OUT = {
    "antigravity", "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "test", "tests", "this", "turtledemo",
}  # fmt: skip
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


# Some four hundred docstrings about everyday work, so that a quick start waits for the export only.
EVERYDAY = (
    "argparse", "calendar", "contextlib", "csv", "datetime", "glob", "json", "pathlib", "random",
    "re", "shutil", "statistics", "subprocess", "tempfile", "textwrap", "zipfile",
)  # fmt: skip


def read_docstrings(
    folder: Path | None = None, *, modules: Collection[str] | None = None
) -> list[Document]:
    """Return one document for each docstring, in the order of module names.

    Args:
        folder: Where the library's sources lie; None finds those of this Python.
        modules: Only these, with what is below them; None: all.

    Raises:
        TextError: There are no sources.
    """
    where = Path(sysconfig.get_path("stdlib")) if folder is None else folder
    found: dict[str, Document] = {}
    for module, path in _modules(where):
        if modules is not None and module.partition(".")[0] not in modules:
            continue
        tree = ast.parse(path.read_bytes(), filename=str(path))
        for document in _documents(tree, module):
            # A property and its setter share a name; the first says what it is.
            found.setdefault(document.source, document)
    if not found:
        raise TextError(
            f"there are no sources of the standard library in {where}; index your own documents: "
            "decant quickstart --docs FOLDER"
        )
    return list(found.values())


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the file of each public module."""
    for entry in sorted(folder.iterdir()):
        # Installed packages lie next to the library's own modules; they are not read.
        if entry.stem not in sys.stdlib_module_names or entry.name in _LEFT_OUT:
            continue
        for path in sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]:
            parts = path.relative_to(folder).with_suffix("").parts
            names = parts[:-1] if parts[-1] == "__init__" else parts
            if path.suffix == ".py" and not any(map(_is_left_out, names)):
                yield ".".join(names), path


def _is_left_out(name: str) -> bool:
    return name.startswith("_") or name in _LEFT_OUT


def _documents(tree: ast.Module, module: str) -> Iterator[Document]:
    if text := ast.get_docstring(tree):
        yield _document(module, module, "module", f"{module}\n\n{text}")
    yield from _members(tree.body, module, module)


def _members(body: list[ast.stmt], owner: str, module: str) -> Iterator[Document]:
    for node in _definitions(body):
        name = f"{owner}.{node.name}"
        is_class = isinstance(node, ast.ClassDef)
        if text := ast.get_docstring(node):
            kind = "class" if is_class else "function"
            heading = (
                name if isinstance(node, ast.ClassDef) else f"{name}({ast.unparse(node.args)})"
            )
            yield _document(name, module, kind, f"{heading}\n\n{text}")
        if is_class:
            yield from _members(node.body, name, module)


def _definitions(body: list[ast.stmt]) -> Iterator[_Definition]:
    """Yield public definitions, those that stand under an ``if`` or ``try`` too."""
    for node in body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if not node.name.startswith("_"):
                    yield node
            case ast.If(body=first, orelse=second) | ast.Try(body=first, orelse=second):
                yield from _definitions([*first, *second])
            case _:
                pass


def _document(name: str, module: str, kind: str, text: str) -> Document:
    return Document(
        source=name,
        text=text,
        metadata={"module": module, "kind": kind},
        root=ROOT,
    )
