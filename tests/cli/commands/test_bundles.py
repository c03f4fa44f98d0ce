"""``decant export``, ``verify`` and ``inspect``: bundles made, certified and shown."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import Recipe
from models import save_language_model
from repository import PROJECT


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle, to be changed."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


def test_an_export_shows_its_steps_and_what_the_user_says_of_the_recipe_wins(
    decant: Decant, tiny_folder: Path
) -> None:
    ran = decant(
        "export", tiny_folder, "made", "--json", "--pooling", "max", "--dim", 16,
        "--query-prompt", "ask: {text}", "--no-normalize", "--max-tokens", 48, "--name", "mine",
    )  # fmt: skip
    assert ran.code == Exit.OK
    assert ran.json["passed"] is True
    assert "tracing the graph" in ran.err
    recipe = inspected(decant, "made")
    assert (recipe.base, recipe.pooling, recipe.dim) == ("mine", "max", 16)
    assert (recipe.query_prompt.template, recipe.normalize, recipe.max_tokens) == (
        "ask: {text}",
        False,
        48,
    )


def test_an_export_may_be_given_again_with_exist_ok(
    decant: Decant, tiny_folder: Path, bundle: Path
) -> None:
    again = decant("export", tiny_folder, bundle, "--exist-ok")
    assert again.code == Exit.OK
    assert "tracing" not in again.err
    assert f"there is {bundle}" in again.err
    other = decant("export", tiny_folder, bundle, "--exist-ok", "--dim", 16)
    assert other.code == Exit.INPUT
    assert "its dim is None, not 16" in other.err


@pytest.mark.slow
def test_exist_ok_and_replace_keep_an_equal_bundle_and_replace_another(
    decant: Decant, tiny_folder: Path, bundle: Path
) -> None:
    made = (bundle / "decant.json").stat().st_mtime_ns
    equal = decant("export", tiny_folder, bundle, "--exist-ok", "--replace")
    assert equal.code == Exit.OK
    assert "tracing" not in equal.err
    assert (bundle / "decant.json").stat().st_mtime_ns == made
    other = decant("export", tiny_folder, bundle, "--exist-ok", "--replace", "--dim", 16)
    assert other.code == Exit.OK
    assert "tracing" in other.err
    assert inspected(decant, str(bundle)).dim == 16


def test_strategies_are_listed_with_what_they_cost(decant: Decant) -> None:
    ran = decant("strategies")
    assert ran.code == Exit.OK
    assert "meta-eol" in ran.out
    assert "8 passes, adds eight prompts" in ran.out
    listed = decant("strategies", "--json").json["strategies"]
    assert isinstance(listed, list)
    rows = {row["name"]: row for row in listed}
    assert rows["promptreps"]["needs"] == "a causal model with its language-model head"
    assert rows["mean"]["passes"] == "1"


@pytest.mark.slow
def test_an_export_by_strategy_says_what_it_is(decant: Decant, tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "llama", "llama", layers=1, longest=96)
    ran = decant("export", folder, "made", "--strategy", "prompt-eol", "--instruction-template",
                 "{instruction}: {text}", "--json")  # fmt: skip
    assert ran.code == Exit.OK
    recipe = inspected(decant, "made")
    assert recipe.query_prompt.template == 'This sentence : "{text}" means in one word:"'
    assert decant("inspect", "made").out.count("means in one word") == 2
    text = decant("embed", "made", "--role", "query", "--instruction", "Say it", typed="a\n")
    assert text.code == Exit.OK
    plain = decant("embed", "made", "--role", "query", typed="a\n")
    assert plain.out != text.out
    refused = decant("export", folder, "other", "--strategy", "prompteol")
    assert refused.code == Exit.INPUT
    assert "known are mean, weighted-mean" in refused.err


def test_an_export_into_a_bundle_needs_permission(
    decant: Decant, tiny_folder: Path, bundle: Path
) -> None:
    ran = decant("export", tiny_folder, bundle)
    assert ran.code == Exit.INPUT
    assert ran.out == ""


def test_a_folder_that_is_not_there_is_an_input_error(decant: Decant) -> None:
    ran = decant("export", "no/such/model", "made")
    assert ran.code == Exit.INPUT
    assert "no/such/model" in ran.err


def test_without_pytorch_the_pip_line_is_said(decant: Decant, tiny_folder: Path) -> None:
    ran = decant.without("torch", "export", tiny_folder, "made")
    assert ran.code == Exit.ENVIRONMENT
    assert "pip install 'decant-qdrant[export]'" in ran.err


def test_converting_and_verifying_need_nothing_that_only_export_brings(
    decant: Decant, bundle: Path
) -> None:
    """The extra ``onnx`` is enough, and for verifying a runtime alone."""
    extras = PROJECT["project"]["optional-dependencies"]
    export, onnx = (
        {Requirement(line).name.replace("-", "_") for line in extras[name]}
        for name in ("export", "onnx")
    )
    hidden = export - onnx
    assert {"torch", "transformers", "onnxscript"} <= hidden
    for precision in ("int8", "w8"):
        ran = decant.without(hidden, "convert", bundle, precision)
        assert ran.code == Exit.OK, ran.err
    assert decant.without(hidden | onnx, "verify", bundle).code == Exit.OK
    ran = decant.without("onnx_ir", "convert", bundle, "w4")
    assert ran.code == Exit.ENVIRONMENT
    assert "pip install 'decant-qdrant[onnx]'" in ran.err


def test_a_pooling_that_does_not_exist_is_wrong_usage(decant: Decant, tiny_folder: Path) -> None:
    ran = decant("export", tiny_folder, "made", "--pooling", "median")
    assert ran.code == Exit.INPUT
    assert "median" in ran.err


def test_verifying_writes_a_certificate_and_passes(decant: Decant, bundle: Path) -> None:
    (bundle / "certificate.json").unlink()
    ran = decant("verify", bundle)
    assert ran.code == Exit.OK
    assert "passed" in ran.out
    assert (bundle / "certificate.json").is_file()


def test_verifying_a_damaged_bundle_fails_by_name(decant: Decant, bundle: Path) -> None:
    (bundle / "config.json").write_text("{}")
    ran = decant("verify", bundle)
    assert ran.code == Exit.FINDING
    assert "FAILED" in ran.out
    assert "config.json" in "".join(ran.out.split())
    assert "has not passed" in ran.err
    assert decant("verify", bundle, "--json").json["passed"] is False


def test_verifying_on_a_provider_that_is_not_there_is_the_environments_fault(
    decant: Decant, bundle: Path
) -> None:
    ran = decant("verify", bundle, "--provider", "coreml")
    assert ran.code == Exit.ENVIRONMENT
    assert "CoreMLExecutionProvider is not installed" in ran.err


def test_inspecting_shows_recipe_prompts_files_graph_and_certificate(
    decant: Decant, bundle: Path
) -> None:
    ran = decant("inspect", bundle)
    assert ran.code == Exit.OK
    for shown in (
        '"query: {text}"', '"passage: {text}"', "mean", "onnx/model.onnx",
        "input_ids, attention_mask → sentence_embedding", "passed on CPUExecutionProvider",
    ):  # fmt: skip
        assert shown in ran.out


def test_inspecting_gives_json_with_the_whole_recipe(decant: Decant, bundle: Path) -> None:
    found = decant("inspect", bundle, "--json").json
    assert found["graphs"] == {
        "fp32": {"inputs": ["input_ids", "attention_mask"], "outputs": ["sentence_embedding"]}
    }
    assert found["passed"] is True
    assert inspected(decant, bundle).query_prompt.template == "query: {text}"


def test_inspecting_says_what_auto_takes_here_and_in_detail_what_not(
    decant: Decant, bundle: Path
) -> None:
    chosen = decant("inspect", bundle, "--json").json["choice"]
    assert isinstance(chosen, dict)
    assert (chosen["precision"], chosen["provider"]) == ("fp32", "CPUExecutionProvider")
    short, long = decant("inspect", bundle).out, decant("inspect", bundle, "--verbose").out
    assert "auto takes here" in short
    assert chosen["reason"] in " ".join(short.split())
    assert "not bf16, OpenVINO" in long
    assert "not bf16, OpenVINO" not in short


def test_inspecting_works_without_onnxruntime(decant: Decant, bundle: Path) -> None:
    ran = decant.without("onnxruntime", "inspect", bundle)
    assert ran.code == Exit.OK
    assert "'onnxruntime' is not installed" in ran.out


def test_inspecting_a_damaged_bundle_names_the_file(decant: Decant, bundle: Path) -> None:
    (bundle / "tokenizer.json").write_text("{}")
    ran = decant("inspect", bundle)
    assert ran.code == Exit.INPUT
    assert "tokenizer.json was altered or damaged" in ran.err


def inspected(decant: Decant, bundle: str | Path) -> Recipe:
    """Return the recipe that ``decant inspect --json`` shows."""
    import json

    manifest = decant("inspect", bundle, "--json").json["manifest"]
    assert isinstance(manifest, dict)
    return Recipe.from_json(json.dumps(manifest["recipe"]))


def test_a_bundle_gets_an_int8_graph_that_auto_then_takes(decant: Decant, bundle: Path) -> None:
    ran = decant("convert", bundle, "int8")
    assert ran.code == Exit.OK
    assert "certificate of int8 on CPUExecutionProvider: passed" in " ".join(ran.out.split())
    assert "making the int8 graph" in ran.err
    bundle.with_name("texts.txt").write_text("the hat\n\nin a hat\n", encoding="utf-8")
    again = decant("convert", bundle, "int8", "--texts", bundle.with_name("texts.txt"), "--json")
    entry = again.json["entry"]
    assert isinstance(entry, dict)
    assert entry["precision"] == "int8"
    graphs = decant("inspect", bundle, "--json").json["graphs"]
    assert isinstance(graphs, dict)
    assert set(graphs) == {"fp32", "int8"}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int3"])
def test_what_no_graph_is_converted_to_is_refused_before_anything_heavy_is_loaded(
    decant: Decant, bundle: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setitem(sys.modules, "decant.export", None)
    ran = decant("convert", bundle, precision)
    assert ran.code == Exit.INPUT
    said = " ".join(ran.err.split())
    assert f"cannot be converted to '{precision}', only to fp16, int8, w8 or w4" in said
    assert "--precision bf16" in said


@pytest.mark.slow
def test_an_export_adds_the_precisions_that_are_asked_for(
    decant: Decant, tiny_folder: Path
) -> None:
    ran = decant("export", tiny_folder, "made", "--precision", "int8", "--precision", "w8")
    assert ran.code == Exit.OK
    graphs = decant("inspect", "made", "--json").json["graphs"]
    assert isinstance(graphs, dict)
    assert set(graphs) == {"fp32", "int8", "w8"}
    assert decant("export", tiny_folder, "made", "--precision", "int3").code == Exit.INPUT


def test_tune_shows_its_trials_and_inspect_what_was_kept(
    decant: Decant, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.embedders.onnx.speed_bench._TRIAL_SECONDS", 0.0)
    texts = tmp_path / "texts.txt"
    texts.write_text("one text\n\nanother text\n", encoding="utf-8")
    tuned = decant("tune", bundle, "--texts", texts)
    assert tuned.code == Exit.OK
    assert "tokens/s" in tuned.out
    assert "keeps" in tuned.err
    assert "is loaded here as fp32 on CPUExecutionProvider" in tuned.err
    assert "ms a lone text" in tuned.out
    tuning = decant("inspect", bundle, "--json").json["tuning"]
    assert isinstance(tuning, dict)
    assert tuning["entries"][0]["workload"].startswith("texts of ")
    (speed,) = tuning["comparisons"][0]["speeds"]
    assert (speed["precision"], speed["speedup"]) == ("fp32", 1.0)
    assert speed["lone_milliseconds"] > 0
    assert "tuned fp32" in decant("inspect", bundle).out
