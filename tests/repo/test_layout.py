"""The house: which wing may import which, where heavy packages load, how large rooms may be.

Everything is read from the source, ``if TYPE_CHECKING`` included, but for the last tests, which see
what is loaded in the end.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from pathlib import Path

import pytest

from fresh_process import loaded_by_import, seconds_to_import
from repository import (
    PACKAGES,
    ROOT,
    folder,
    library_files,
    module_name,
    script_files,
    top_folders,
)

# From the ground up: a wing imports from the levels below its own. A name without a folder of its
# own is a file at the root of its folder; "." are all other files there.
LEVELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "embedders": (
        ("distribution", "errors", "enum_fields", "files", "forks", "json_records", "lazy_names"),
        ("recipe",),
        ("tokens",),
        ("bundle", "sources"),
        ("encoding",),
        ("pytorch", "onnx"),
        ("doctor",),
    ),
    "export": (
        ("bundle_writer",),
        ("graph", "certify"),
        ("passes",),
        ("trace", "quantize", "onnx_import"),
        (".",),
    ),
    "integrations": (
        ("arguments",),
        ("qdrant/stores",),
        ("qdrant/edge", "qdrant/server", "qdrant/points"),
        ("qdrant/indexing",),
        ("qdrant",),
        (".",),
        ("langchain", "llama_index", "sentence_transformers"),
    ),
    "training": (("errors", "settings"), ("models",), ("data",), ("objectives",), ("loop",)),
    "evaluation": (("errors",), ("models",), ("scores",), ("tasks",), ("report",)),
    "cli": (
        ("output",),
        ("exit_codes",),
        ("input",),
        ("options",),
        ("commands/collections",),
        ("commands/training",),
        ("commands",),
        (".",),
    ),
}
GROUND = {f"decant.embedders.{name}" for name in LEVELS["embedders"][0]}

# Which wings may load which heavy package. What is loaded by name, with `need`, is not seen here.
HEAVY: dict[str, set[str]] = {
    "ir_measures": {"evaluation/tasks"},
    "langchain_core": {"integrations/langchain"},
    "llama_index": {"integrations/llama_index"},
    "matplotlib": {"evaluation/report", "training/loop"},
    "mteb": set(),
    "onnx": {"export/certify"},
    "onnxruntime": set(),
    "onnxscript": {"export/trace"},
    "optimum": {"export"},
    "qdrant_client": {"integrations/qdrant/server"},
    "qdrant_edge": {"integrations/qdrant/edge"},
    "sentence_transformers": {"integrations/sentence_transformers"},
    "sklearn": {"evaluation/tasks"},
    "torch": {
        "embedders/pytorch",
        "export",
        "export/trace",
        "integrations/sentence_transformers",
        "training/data",
        "training/loop",
        "training/models",
        "training/objectives",
    },
    "transformers": {
        "embedders/pytorch",
        "export",
        "export/trace",
        "training/data",
        "training/loop",
        "training/models",
    },
}

FILES_IN_A_WING = 16
LINES_IN_A_FILE = 400
# Words of the field, also as the last of several.
GERUNDS = {
    "batching",
    "checkpointing",
    "chunking",
    "embedding",
    "encoding",
    "indexing",
    "pooling",
    "searching",
    "tracing",
}


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
    return f"{module}.{name}" if f"{module}.{name}" in _modules() else module


@cache
def _modules() -> dict[str, Path]:
    return {module_name(file): file for file in library_files()}


def wing(file: Path) -> str:
    """Return the folder of a file, such as ``embedders/tokens``."""
    return file.parent.as_posix()


def height(file: Path) -> int:
    """Return the level of a file within its top folder, from 0."""
    top = file.parts[0]
    inner = file.parent.relative_to(top).as_posix()
    for level, names in enumerate(LEVELS[top]):
        if (inner == "." and file.stem in names) or (inner != "." and inner in names):
            return level
    assert inner == ".", f"{file} stands in no level of its folder: see LEVELS"
    return next(level for level, names in enumerate(LEVELS[top]) if "." in names)


@pytest.mark.parametrize("file", library_files(), ids=str)
def test_imports_run_downwards(file: Path) -> None:
    if file.name == "__init__.py":
        pytest.skip("a face imports nothing but LazyNames")
    for found in imports(file):
        target = _modules().get(found.module)
        where = f"{file}:{found.line} imports {found.module}"
        if target is None or target.name == "__init__.py":
            assert not found.level or target is not None, f"{where}, which is no module"
            continue
        if target.parts[0] != file.parts[0]:
            continue
        assert found.level, f"{where}; inside a folder imports are relative"
        if wing(target) != wing(file):
            assert height(target) < height(file), f"{where}, which is not below it"


@pytest.mark.parametrize("file", library_files(), ids=str)
def test_across_folders_names_come_from_faces(file: Path) -> None:
    top = file.parts[0]
    for found in imports(file):
        assert found.module != "decant", f"{file}:{found.line} imports decant, which is above it"
        if not found.module.startswith("decant.") or found.level:
            continue
        other = found.module.split(".")[1]
        where = f"{file}:{found.line} imports {found.module}"
        assert other in top_folders(), f"{where}, which is no folder of ours"
        assert other != top, f"{where}; inside a folder imports are relative"
        assert top == "cli" or other == "embedders", f"{where}; only the embedders are for all"
        assert top != "embedders", f"{where}; the embedders import no other folder"
        is_face = found.module in PACKAGES and found.module.count(".") <= 2
        assert is_face or found.module in GROUND or found.module in PACKAGES, (
            f"{where}; take the name from the face of its wing"
        )


def test_there_is_no_circle_of_imports() -> None:
    arrows = {
        file: {_modules()[found.module] for found in imports(file) if found.module in _modules()}
        - {file}
        for file in library_files()
        if file.name != "__init__.py"
    }
    inner = {
        file: {target for target in targets if target.name != "__init__.py"}
        for file, targets in arrows.items()
    }
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(str(file) for file in reversed(error.args[1])))


@pytest.mark.parametrize("file", library_files() + script_files(), ids=str)
def test_no_folder_is_imported_without_decant_in_front(file: Path) -> None:
    bare = [
        found
        for found in imports(file)
        if not found.level and found.module.partition(".")[0] in top_folders()
    ]
    assert bare == [], "such an import loads every class a second time; put `decant.` in front"


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_are_imported_only_in_their_wings(package: str) -> None:
    found = {
        wing(file)
        for file in library_files()
        for item in imports(file)
        if item.module.partition(".")[0] == package and not item.level and not item.checked_only
    }
    assert found == HEAVY[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wing_is_small(package: str) -> None:
    files = [file.name for file in folder(package).glob("*.py") if file.name != "__init__.py"]
    assert len(files) <= FILES_IN_A_WING, "divide it, or move what belongs elsewhere"


@pytest.mark.parametrize("file", library_files(), ids=str)
def test_a_module_is_one_idea(file: Path) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_IN_A_FILE


def test_no_module_is_named_by_a_gerund() -> None:
    last = {file: file.stem.rpartition("_")[2] for file in library_files()}
    named = [file for file, word in last.items() if word.endswith("ing") and word not in GERUNDS]
    assert named == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_modules_of_a_wing_share_a_stem(package: str) -> None:
    names = sorted(file.stem for file in folder(package).glob("*.py") if file.name != "__init__.py")
    stems = groupby(names, key=lambda name: re.sub(r"(ing|ers?|ors?|ed|s|e)$", "", name))
    assert [same for _, group in stems if len(same := list(group)) > 1] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_by_import(package, python=sys.executable) & set(HEAVY) == set()


def test_importing_decant_takes_under_60_milliseconds() -> None:
    assert seconds_to_import("decant", python=sys.executable) < 0.060


def test_importing_the_embedders_takes_under_150_milliseconds() -> None:
    assert seconds_to_import("decant.embedders", python=sys.executable) < 0.150


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported_and_is_all_that_is_shown(package: str) -> None:
    module = importlib.import_module(package)
    public: list[str] = list(getattr(module, "__all__", []))
    if not public:
        return
    assert dir(module) == public
    for name in public:
        assert hasattr(module, name)
    home = folder(package)
    modules = {file.stem for file in home.glob("*.py")} | {
        file.parent.name for file in home.glob("*/__init__.py")
    }
    assert not set(public) & modules, "a module would hide what has its name"
    with pytest.raises(AttributeError):
        _ = module.no_such_name
