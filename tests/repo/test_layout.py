"""The house: which wing may import which, where heavy packages load, how large rooms may be.

Everything is read from the source, ``if TYPE_CHECKING`` included, but for the last tests, which see
what is loaded in the end.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from fresh_process import loaded_in_turn, seconds_to_import
from import_lines import Import, imports, modules
from repository import (
    PACKAGES,
    ROOT,
    folder,
    library_files,
    script_files,
    top_folders,
)

# From the ground up: a wing imports from the levels below its own. A name without a folder of its
# own is a file at the root of its folder; "." are all other files there.
LEVELS: dict[str, tuple[tuple[str, ...], ...]] = {
    "embedders": (
        (
            "distribution",
            "enum_fields",
            "errors",
            "files",
            "forks",
            "json_records",
            "lazy_names",
            "log_events",
            "otel_spans",
            "span_protocol",
            "telemetry",
        ),
        ("recipe", "late"),
        ("tokens",),
        ("sources/multi_vector", "sources/gguf"),
        ("bundle", "sources"),
        ("encoding",),
        ("remote",),
        ("onnx/providers",),
        ("onnx/openvino",),
        ("pytorch", "onnx"),
        ("rerankers",),
        ("doctor", "loader"),
    ),
    "export": (
        ("bundle_writer",),
        ("graph", "certify"),
        ("passes",),
        ("trace", "quantize", "onnx_import"),
        (".",),
    ),
    "integrations": (
        ("arguments", "stop", "text_ranks"),
        ("qdrant/foreign_payloads", "qdrant/late"),
        ("qdrant/stores",),
        (
            "qdrant/coroutines",
            "qdrant/matryoshka",
            "qdrant/stores/translation",
            "qdrant/words",
        ),
        (
            "qdrant/server/clients",
            "qdrant/server/words",
            "qdrant/server/bulk",
            "qdrant/server/layouts",
            "qdrant/server/naming",
            "qdrant/server/tenants",
            "qdrant/server/writing",
        ),
        ("qdrant/tenants",),
        ("qdrant/edge", "qdrant/server", "qdrant/points"),
        ("qdrant/inference", "qdrant/operations"),
        ("qdrant/searching",),
        ("qdrant/indexing",),
        ("qdrant/adoption",),
        ("qdrant",),
        ("qdrant/dumps", "qdrant/migration"),
        (".",),
        ("langchain", "llama_index", "sentence_transformers"),
    ),
    "training": (("errors", "settings"), ("models",), ("data",), ("objectives",), ("loop",)),
    "evaluation": (("errors",), ("models",), ("scores",), ("tasks",), ("report",)),
    "serving": (("errors",), ("batches",), ("models",), ("settings",), ("protocols",), (".",)),
    "cli": (
        ("output",),
        ("exit_codes",),
        ("input",),
        ("options",),
        ("commands/collections",),
        ("commands/texts", "commands/training"),
        ("commands",),
        (".",),
    ),
}
GROUND = {f"decant.embedders.{name}" for name in LEVELS["embedders"][0]}

# Which wings may load which heavy package. What is loaded by name, with `need`, is not seen here.
HEAVY: dict[str, set[str]] = {
    "httpx": {
        "embedders/remote",
        "integrations/qdrant/dumps",
        "integrations/qdrant/server",
        "integrations/qdrant/server/clients",
    },
    "ir_measures": {"evaluation/tasks"},
    "langchain_core": {"integrations/langchain"},
    "langchain_qdrant": {"integrations/langchain"},
    "llama_index": {"integrations/llama_index"},
    "matplotlib": {"evaluation/report", "training/loop"},
    "mteb": set(),
    "onnx": {"export/certify"},
    "onnxruntime": set(),
    "onnxscript": {"export/trace"},
    "openvino": {"embedders/onnx/openvino"},
    "opentelemetry": {"embedders"},
    "optimum": {"export"},
    "prometheus_client": {"serving"},
    "qdrant_client": {
        "integrations/qdrant/adoption",
        "integrations/qdrant/server",
        "integrations/qdrant/server/bulk",
        "integrations/qdrant/server/clients",
        "integrations/qdrant/server/layouts",
        "integrations/qdrant/server/naming",
        "integrations/qdrant/server/tenants",
        "integrations/qdrant/server/words",
        "integrations/qdrant/server/writing",
    },
    "qdrant_edge": {"integrations/qdrant/edge", "integrations/qdrant/words"},
    "sentence_transformers": {"integrations/sentence_transformers"},
    "sklearn": {"evaluation/tasks"},
    "starlette": {"serving"},
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
    "uvicorn": {"serving"},
}

FILES_IN_A_WING = 16
LINES_IN_A_FILE = 400
LEAST_LINES_IN_A_FILE = 40
# The files of a bundle that are decant's own, and the module that has each name as a literal.
BUNDLE_FILES = {
    "decant.json": "embedders/files.py",
    "certificate.json": "embedders/files.py",
    "reference.npz": "embedders/files.py",
    "tuning.json": "embedders/onnx/tuning_file.py",
    "calibration.json": "embedders/onnx/calibration_file.py",
}
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


def flaws(files: list[Path], judge: Callable[[Path, Import], str | None]) -> str:
    """Return a line for each import that is judged wrong: all files in one test, for its speed."""
    return "\n".join(
        f"{file}:{found.line} imports {found.module}{flaw}"
        for file in files
        for found in imports(file)
        if (flaw := judge(file, found)) is not None
    )


def upward(file: Path, found: Import) -> str | None:
    """Return why an import inside a folder does not run downwards."""
    target = modules().get(found.module)
    if target is None or target.name == "__init__.py":
        return ", which is no module" if found.level and target is None else None
    if file.name == "__init__.py" or target.parts[0] != file.parts[0]:
        return None
    if not found.level:
        return "; inside a folder imports are relative"
    below = wing(target) == wing(file) or height(target) < height(file)
    return None if below else ", which is not below it"


def test_imports_run_downwards() -> None:
    wrong = flaws(library_files(), upward)
    assert not wrong, wrong


def past_the_face(file: Path, found: Import) -> str | None:
    """Return why an import from another folder is not one of a public name."""
    top = file.parts[0]
    if found.module == "decant":
        return ", which is above it"
    if not found.module.startswith("decant.") or found.level:
        return None
    other = found.module.split(".")[1]
    if other not in top_folders():
        return ", which is no folder of ours"
    if other == top:
        return "; inside a folder imports are relative"
    if top == "embedders":
        return "; the embedders import no other folder"
    if top != "cli" and other != "embedders":
        return "; only the embedders are for all"
    if found.module not in GROUND and found.module not in PACKAGES:
        return "; take the name from the face of its wing"
    return None


def test_across_folders_names_come_from_faces() -> None:
    wrong = flaws(library_files(), past_the_face)
    assert not wrong, wrong


def test_there_is_no_circle_of_imports() -> None:
    arrows = {
        file: {modules()[found.module] for found in imports(file) if found.module in modules()}
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


def bare(file: Path, found: Import) -> str | None:
    """Return why an import loads every class a second time."""
    ours = not found.level and found.module.partition(".")[0] in top_folders()
    return "; put `decant.` in front, or every class is loaded twice" if ours else None


def test_no_folder_is_imported_without_decant_in_front() -> None:
    wrong = flaws(library_files() + script_files(), bare)
    assert not wrong, wrong


def test_heavy_packages_are_imported_only_in_their_wings() -> None:
    found: dict[str, set[str]] = {package: set() for package in HEAVY}
    for file in library_files():
        for item in imports(file):
            package = item.module.partition(".")[0]
            if package in HEAVY and not item.level and not item.checked_only:
                found[package].add(wing(file))
    assert found == HEAVY


def stems(package: str) -> list[str]:
    """Return the names of the modules of a package, in order."""
    return sorted(file.stem for file in folder(package).glob("*.py") if file.stem != "__init__")


def test_a_wing_is_small() -> None:
    files = [*library_files(), *(file for file in script_files() if file.parts[0] != "tests")]
    sizes = Counter(wing(file) for file in files if file.name != "__init__.py")
    crowded = {folder: count for folder, count in sizes.items() if count > FILES_IN_A_WING}
    assert crowded == {}, "divide it, or move what belongs elsewhere"


def test_a_module_is_one_idea() -> None:
    files = [*library_files(), *script_files()]
    lines = {file: (ROOT / file).read_text("utf-8").count("\n") for file in files}
    assert {file: count for file, count in lines.items() if count > LINES_IN_A_FILE} == {}


def test_a_short_module_says_why_it_stands_alone() -> None:
    """Below 40 lines a module is merged into a neighbour, or its first line names the reason."""
    files = [file for file in library_files() if not file.name.startswith("__")]
    files += [file for file in script_files() if file.parts[0] == "benchmarks"]
    unexplained = []
    for file in files:
        lines = (ROOT / file).read_text("utf-8").splitlines()
        reason = re.search(r"\bof (its|their) own\b", lines[0] if lines else "")
        if len(lines) < LEAST_LINES_IN_A_FILE and file.name != "__init__.py" and not reason:
            unexplained.append(str(file))
    assert unexplained == []


def test_the_files_of_a_bundle_are_named_in_one_module() -> None:
    found: dict[str, set[str]] = {name: set() for name in BUNDLE_FILES}
    for file in library_files():
        if file.parts[0] == "training":  # a run has a reference.npz too, which is another file
            continue
        for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
            if isinstance(node, ast.Constant) and node.value in BUNDLE_FILES:
                found[str(node.value)].add(file.as_posix())
    assert found == {name: {home} for name, home in BUNDLE_FILES.items()}


def test_no_module_is_named_by_a_gerund() -> None:
    last = {file: file.stem.rpartition("_")[2] for file in library_files()}
    named = [file for file, word in last.items() if word.endswith("ing") and word not in GERUNDS]
    assert named == []


def test_no_two_modules_of_a_wing_share_a_stem() -> None:
    alike = defaultdict(list)
    for package in PACKAGES:
        for name in stems(package):
            alike[package, re.sub(r"(ing|ers?|ors?|ed|s|e)$", "", name)].append(name)
    assert [(where, names) for (where, _), names in alike.items() if len(names) > 1] == []


def test_importing_a_package_loads_nothing_heavy() -> None:
    loaded = loaded_in_turn(PACKAGES, python=sys.executable)
    assert {package: heavy for package in PACKAGES if (heavy := loaded[package] & set(HEAVY))} == {}


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
    modules = {file.stem for file in folder(package).glob("*.py")} | {
        file.parent.name for file in folder(package).glob("*/__init__.py")
    }
    assert not set(public) & modules, "a module would hide what has its name"
    with pytest.raises(AttributeError):
        _ = module.no_such_name
