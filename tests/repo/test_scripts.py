"""Benchmarks, examples and experiments: what they import of decant, and of each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from import_lines import imports
from repository import PACKAGES, ROOT, script_files

FOR_ALL = {f"decant.embedders.{name}" for name in ("distribution", "errors", "json_records")}
# What scripts take apart on purpose, to measure a part alone; all else in them is public.
TAKEN_APART = {
    ("benchmarks/where_the_time_goes.py", "decant.embedders.encoding.outputs"),
    ("benchmarks/where_the_time_goes.py", "decant.embedders.onnx.encoder"),
    ("benchmarks/where_the_time_goes.py", "decant.embedders.tokens.batching"),
    ("benchmarks/where_the_time_goes.py", "decant.embedders.tokens.rows"),
    ("benchmarks/bench/corpus.py", "decant.cli.input.standard_library"),
    ("benchmarks/bench/gpu/lean.py", "decant.export.bundle_writer"),
    ("benchmarks/bench/gpu/lean.py", "decant.export.certify.probes"),
    ("benchmarks/bench/gpu/lean.py", "decant.export.certify.reference"),
    ("benchmarks/bench/gpu/lean.py", "decant.export.graph_maker"),
    ("experiments/indexing_costs.py", "decant.integrations.qdrant.edge.points"),
    ("experiments/indexing_costs.py", "decant.integrations.qdrant.edge.schema"),
    ("experiments/indexing_costs.py", "decant.integrations.qdrant.indexing.chunking"),
    ("experiments/event_loop/point_serialisation.py", "decant.integrations.qdrant.server.points"),
    ("experiments/event_loop/point_serialisation.py", "decant.integrations.qdrant.stores.protocol"),
    ("experiments/ordering/late_interaction.py", "decant.embedders.late.max_sim"),
    ("experiments/ordering/late_interaction.py", "decant.integrations.qdrant.stores.point_ids"),
    ("experiments/ordering/late_interaction.py", "decant.integrations.qdrant.stores.queries"),
    ("experiments/layout_presets.py", "decant.integrations.qdrant.edge.points"),
    ("experiments/layout_presets.py", "decant.integrations.qdrant.stores.protocol"),
    ("experiments/indexing_costs.py", "decant.integrations.qdrant.points.passages"),
    ("experiments/indexing_costs.py", "decant.integrations.qdrant.points.vectors"),
    ("experiments/indexing_costs.py", "decant.integrations.qdrant.server.points"),
    ("experiments/fusion_of_rankings.py", "decant.evaluation.scores.statistics"),
    ("experiments/fusion_of_rankings.py", "decant.integrations.qdrant.searching.fusion"),
    ("experiments/tuning_a_search.py", "decant.integrations.qdrant.searching.candidates"),
    ("experiments/tuning_a_search.py", "decant.integrations.qdrant.searching.choices"),
    ("experiments/tuning_a_search.py", "decant.integrations.qdrant.searching.selection"),
}


def test_scripts_use_what_users_use() -> None:
    used = {
        (file.as_posix(), found.module)
        for file in script_files()
        for found in imports(file)
        if file.parts[0] != "tests"
        and not found.level
        and found.module.partition(".")[0] == "decant"
    }
    inner = {
        (file, module) for file, module in used if module not in PACKAGES and module not in FOR_ALL
    }
    assert inner == TAKEN_APART, "take the name from a face"


def test_every_import_among_benchmarks_is_there_and_runs_downwards() -> None:
    files = {
        file.relative_to("benchmarks").with_suffix("").as_posix().replace("/", "."): file
        for file in script_files()
        if file.parts[:2] == ("benchmarks", "bench")
    }
    found = {
        name: set(targets_of(file, files))
        for name, file in files.items()
        if file.stem != "__init__"
    }
    lost = {name: lacking for name, named in found.items() if (lacking := named - files.keys())}
    assert lost == {}
    upward = [
        name
        for name, named in found.items()
        if "gpu" not in name.split(".") and any("gpu" in one.split(".") for one in named)
    ]
    assert upward == [], "what all benchmarks share needs nothing of the GPU's"
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def targets_of(file: Path, files: dict[str, Path]) -> Iterator[str]:
    """Return the modules of ``bench`` that one of them imports."""
    folder = file.relative_to("benchmarks").parts[:-1]
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            home = ".".join((*folder[: len(folder) - node.level + 1], *filter(None, [node.module])))
        elif (node.module or "").partition(".")[0] == "bench":
            home = node.module or ""
        else:
            continue
        for name in node.names:
            inner = f"{home}.{name.name}"
            yield inner if inner in files else home
