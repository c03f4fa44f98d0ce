"""The import rule, read from the source: who may import whom, and where heavy packages load.

Inside a folder imports are relative; across folders only ``decant.embedders``; ``cli`` may import
every folder. Heavy packages are imported by the files that exist for them, listed here one by one.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fresh_process import loaded_by_import, seconds_to_import
from repository import PACKAGES, ROOT, library_files, script_files, top_folders

# Which files (or folders, with a slash) exist for which heavy package. A new line is a decision:
# prefer a file that is here already. What is loaded by name, with `need`, is not seen here; the
# last tests see what is loaded in the end.
HEAVY: dict[str, set[str]] = {
    "langchain_core": {"integrations/langchain/"},
    "llama_index": {"integrations/llama_index/"},
    "ir_measures": {"evaluation/retrieval.py"},
    "matplotlib": {"evaluation/plots.py", "training/curves.py"},
    "mteb": set(),
    "onnx": {"export/weights_check.py"},
    "onnxruntime": set(),
    "onnxscript": {"export/tracing.py"},
    "optimum": {"export/exporting.py"},
    "qdrant_client": {
        "integrations/qdrant/client.py",
        "integrations/qdrant/faults.py",
        "integrations/qdrant/refusals.py",
        "integrations/qdrant/remote.py",
        "integrations/qdrant/remote_catalog.py",
        "integrations/qdrant/remote_filter.py",
        "integrations/qdrant/remote_optimizing.py",
        "integrations/qdrant/remote_points.py",
        "integrations/qdrant/server.py",
    },
    "qdrant_edge": {
        "integrations/qdrant/edge.py",
        "integrations/qdrant/edge_filter.py",
        "integrations/qdrant/edge_points.py",
        "integrations/qdrant/edge_schema.py",
        "integrations/qdrant/edge_shards.py",
    },
    "sentence_transformers": {"integrations/sentence_transformers/"},
    "sklearn": {"evaluation/analogy_solvers.py", "evaluation/pairs.py"},
    "torch": {
        "embedders/attention.py",
        "embedders/backbone.py",
        "embedders/explaining.py",
        "embedders/latent_attention.py",
        "embedders/pooling.py",
        "embedders/torch_encoder.py",
        "embedders/torch_layers.py",
        "embedders/torch_lexicon.py",
        "embedders/torch_loading.py",
        "embedders/torch_model.py",
        "embedders/torch_states.py",
        "export/attention_switch.py",
        "export/dense_attention.py",
        "export/fused.py",
        "export/making.py",
        "export/shared_prompt.py",
        "export/tracing.py",
        "integrations/sentence_transformers/",
        "training/appended_base.py",
        "training/autoregembed.py",
        "training/base.py",
        "training/contrastive.py",
        "training/distillation.py",
        "training/distribution_alignment.py",
        "training/gathering.py",
        "training/graded.py",
        "training/language.py",
        "training/llm2vec_gen.py",
        "training/loop.py",
        "training/losses.py",
        "training/mntp.py",
        "training/objective.py",
        "training/order.py",
        "training/runner.py",
        "training/sentence_files.py",
        "training/sharing.py",
        "training/soft_prompts.py",
        "training/sparse.py",
        "training/speaking.py",
    },
    "transformers": {
        "embedders/backbone.py",
        "embedders/explaining.py",
        "export/attention_switch.py",
        "export/exporting.py",
        "training/recomputing.py",
        "training/runner.py",
        "training/speaking.py",
    },
}

MAY_IMPORT_ALL = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported module: its full name (relative ones with the folder, ``./x``), and where."""

    module: str
    level: int
    line: int
    checked_only: bool


def imports(file: Path) -> list[Import]:
    """Return every import of a file, those inside functions too."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=str(file))
    return list(_walk(tree, checked_only=False))


def _walk(node: ast.AST, *, checked_only: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names, lineno=line):
            for name in names:
                yield Import(module=name.name, level=0, line=line, checked_only=checked_only)
        case ast.ImportFrom(module="decant", names=names, level=0, lineno=line):
            for name in names:
                module = f"decant.{name.name}"
                yield Import(module=module, level=0, line=line, checked_only=checked_only)
        case ast.ImportFrom(module=module, level=level, lineno=line):
            yield Import(module=module or "", level=level, line=line, checked_only=checked_only)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=otherwise):
            for statement in body:
                yield from _walk(statement, checked_only=True)
            for statement in otherwise:
                yield from _walk(statement, checked_only=checked_only)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _walk(child, checked_only=checked_only)


@pytest.mark.parametrize("file", library_files(), ids=str)
def test_a_folder_imports_only_itself_and_the_embedders(file: Path) -> None:
    top, depth = file.parts[0], len(file.parts) - 1
    for found in imports(file):
        where = f"{file}:{found.line} imports {'.' * found.level}{found.module}"
        if found.level:
            assert found.level <= depth, f"{where}, which leaves the folder {top}/"
        elif found.module.partition(".")[0] == "decant":
            folder = found.module.split(".")[1] if "." in found.module else ""
            assert folder != top, f"{where}; inside a folder imports are relative"
            assert folder in top_folders(), f"{where}, which is no folder of ours"
            assert top == MAY_IMPORT_ALL or found.module == "decant.embedders", (
                f"{where}; across folders only `from decant.embedders import ...` is allowed"
            )
            assert found.module in PACKAGES, f"{where}; take the name from the package itself"


def test_the_embedders_import_no_other_folder() -> None:
    others = {
        found.module
        for file in library_files()
        if file.parts[0] == "embedders"
        for found in imports(file)
        if not found.level and found.module.startswith("decant")
    }
    assert others == set()


@pytest.mark.parametrize("file", library_files() + script_files(), ids=str)
def test_no_folder_is_imported_without_decant_in_front(file: Path) -> None:
    bare = [
        found
        for found in imports(file)
        if not found.level and found.module.partition(".")[0] in top_folders()
    ]
    assert bare == [], "such an import loads every class a second time; put `decant.` in front"


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_are_imported_only_by_the_files_that_exist_for_them(package: str) -> None:
    allowed = HEAVY[package]
    found = {
        next((folder for folder in allowed if str(file).startswith(folder)), str(file))
        for file in library_files()
        for item in imports(file)
        if item.module.partition(".")[0] == package and not item.level and not item.checked_only
    }
    assert found == allowed, f"the list of files that may import {package} is in this test"


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_folder_loads_nothing_heavy(package: str) -> None:
    loaded = loaded_by_import(package, python=sys.executable)
    assert loaded & set(HEAVY) == set()


def test_importing_the_embedders_takes_under_150_milliseconds() -> None:
    assert seconds_to_import("decant.embedders", python=sys.executable) < 0.150


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported_and_is_shown_to_type_checkers(package: str) -> None:
    module = importlib.import_module(package)
    public: list[str] = list(getattr(module, "__all__", []))
    for name in public:
        assert hasattr(module, name)
        assert name in dir(module)
    homes: dict[str, str] = vars(module).get("_HOME", {})
    assert not set(homes) & set(homes.values()), "a module would hide what has its name"
    with pytest.raises(AttributeError):
        _ = module.no_such_name  # type: ignore[attr-defined,unused-ignore]
    file = ROOT.joinpath(*package.split(".")[1:], "__init__.py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    shown = {
        alias.asname or alias.name
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == set(homes)
