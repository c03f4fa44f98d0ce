"""``decant import-onnx``: graphs made by others become bundles that the other commands take."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from foreign_graphs import IDS, MASK, TOKENS_SEE_ALL, toy

LEAKS = """
    words = Gather (table, input_ids)
    mean = ReduceMean <axes = [1], keepdims = 1> (words)
    last_hidden_state = Add (words, mean)
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return toy(tmp_path / "toy.onnx", TOKENS_SEE_ALL)


def test_sealing_shows_its_steps_and_what_the_user_says_of_the_recipe_wins(
    decant: Decant, graph: Path, bare_folder: Path
) -> None:
    ran = decant(
        "import-onnx", graph, bare_folder, "sealed", "--json", "--pooling", "max", "--dim", 16,
        "--query-prompt", "ask: {text}", "--no-normalize", "--max-tokens", 48, "--name", "mine",
    )  # fmt: skip
    assert ran.code == Exit.OK
    assert ran.json["passed"] is True
    assert "computing reference vectors" in ran.err
    manifest = decant("inspect", "sealed", "--json").json["manifest"]
    assert isinstance(manifest, dict)
    recipe = manifest["recipe"]
    assert (recipe["base"], recipe["pooling"], recipe["dim"]) == ("mine", "max", 16)
    assert recipe["query"]["prefix"] == "ask: "
    assert (recipe["normalize"], recipe["max_tokens"]) == (False, 48)


def test_a_sealed_bundle_is_shown_and_can_be_verified_again(
    decant: Decant, graph: Path, bare_folder: Path
) -> None:
    ran = decant("import-onnx", graph, bare_folder, "sealed")
    assert ran.code == Exit.OK
    assert "left padding" in ran.out
    assert "wrote sealed, recipe " in ran.err
    assert decant("verify", "sealed", "--provider", "cpu").code == Exit.OK
    again = decant("import-onnx", graph, bare_folder, "sealed")
    assert again.code == Exit.INPUT
    assert decant("import-onnx", graph, bare_folder, "sealed", "--replace").code == Exit.OK


def test_a_graph_that_leaks_padding_is_a_finding_and_leaves_nothing(
    decant: Decant, bare_folder: Path, tmp_path: Path
) -> None:
    ran = decant("import-onnx", toy(tmp_path / "toy.onnx", LEAKS), bare_folder, "sealed")
    assert ran.code == Exit.FINDING
    assert "right padding" in ran.err
    assert not (tmp_path / "sealed").exists()


def test_an_input_that_cannot_be_fed_is_an_input_error(
    decant: Decant, bare_folder: Path, tmp_path: Path
) -> None:
    graph = toy(tmp_path / "toy.onnx", inputs=(IDS, MASK, "float[batch, 3] pixel_values"))
    ran = decant("import-onnx", graph, bare_folder, "sealed")
    assert ran.code == Exit.INPUT
    assert "pixel_values" in ran.err


def test_sealing_works_without_pytorch_and_names_the_package_that_it_needs(
    decant: Decant, graph: Path, bare_folder: Path
) -> None:
    assert decant.without("torch", "import-onnx", graph, bare_folder, "sealed").code == Exit.OK
    for package in ("onnx_ir", "safetensors"):
        ran = decant.without(package, "import-onnx", graph, bare_folder, "other")
        assert ran.code == Exit.ENVIRONMENT
        assert "pip install 'decant-qdrant[onnx]'" in ran.err
