"""However a JSON file is damaged, what is raised is an error of ours that names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decant.embedders import (
    Bundle,
    BundleError,
    Choices,
    DecantError,
    Pooling,
    Recipe,
    RecipeError,
    Role,
    TextError,
    TorchEncoder,
    VectorRanges,
    find_model,
    load,
    resolve,
)
from decant.embedders.files import file_hash
from decant.embedders.onnx import read_calibrations, read_tuning
from decant.embedders.onnx.calibration_file import CALIBRATION, keep_calibration
from decant.embedders.onnx.tuning_file import TUNING, Tuned, keep
from decant.embedders.pytorch.backbone import load_backbone
from decant.embedders.recipe.enums import Attention
from decant.embedders.sources.adapter_chain import check_not_adapter
from decant.embedders.sources.recipe_file import RECIPE_FILE, read_choices, write_recipe
from decant.embedders.sources.strategy import read_strategy
from decant.embedders.tokens import load_tokenizer
from models import save_model, write_json

RAW = {
    "empty": b"",
    "cut off": b'{"format": 1',
    "no object": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "not UTF-8": b'{"format": "\xff"}',
    "UTF-16": '{"format": 1}'.encode("utf-16"),
    "deep": b"[" * 200_000,
    "deep and closed": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "deep in a value": b'{"format": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a huge integer": b'{"format": ' + b"9" * 5000 + b"}",
    "NaN": b"NaN",
    "a NUL": b"\x00",
}


@pytest.fixture(scope="module")
def whole(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that was tuned and calibrated."""
    bundle = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("whole") / "bundle")
    opened = Bundle.open(bundle)
    entry = Tuned(
        sha256=opened.manifest.files["onnx/model.onnx"],
        provider="CPUExecutionProvider",
        machine="another machine",
        workers=1,
        threads=1,
        token_budget=512,
        tokens_per_second=1.0,
        over_default=None,
        workload="texts",
        date="2026-01-01T00:00:00+00:00",
    )
    keep(opened, entry)
    with load(bundle) as encoder:
        blocks = [encoder.encode(["a", "b", "c"], role=Role.PASSAGE).dense]
        keep_calibration(opened, VectorRanges.of_blocks(blocks, recipe=encoder.recipe))
    return bundle


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "bundle")


def read_all(bundle: Path) -> None:
    """Read every JSON file of a bundle."""
    with load(bundle) as encoder:
        read_tuning(encoder.bundle)
        encoder.quantizer("int8")
        encoder.encode(["a"], role=Role.QUERY)


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("name", ["decant.json", "certificate.json", TUNING, CALIBRATION])
def test_damaged_files_of_a_bundle_are_named(bundle: Path, name: str, kind: str) -> None:
    (bundle / name).write_bytes(RAW[kind])
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        read_all(bundle)


def places(held: object, at: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Yield the way to everything inside; of a list, to its first two."""
    yield at
    if isinstance(held, dict):
        for key, value in held.items():
            yield from places(value, (*at, key))
    elif isinstance(held, list):
        for index, value in enumerate(held[:2]):
            yield from places(value, (*at, index))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-(10**30), 10**30, 2**63, 1e308, float("nan"), float("inf")]),
    st.text(max_size=4),
    st.sampled_from([[], {}, [[]], {"a": 1}, ["a"], [0.5, None]]),
)


def altered(held: Any, way: tuple[object, ...], value: object) -> Any:
    """Return a copy with another value at one place, or with nothing there."""
    if not way:
        return value
    copy = held.copy()
    if value is KeyError and len(way) == 1:
        del copy[way[0]]
    else:
        copy[way[0]] = altered(held[way[0]], way[1:], value)
    return copy


@pytest.mark.parametrize("name", ["decant.json", "certificate.json", TUNING, CALIBRATION])
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_one_value_that_is_another_raises_nothing_but_our_errors(
    whole: Path, name: str, data: st.DataObject
) -> None:
    text = (whole / name).read_text("utf-8")
    held = json.loads(text)
    way = data.draw(st.sampled_from(list(places(held))))
    value = data.draw(VALUES | st.just(KeyError)) if way else data.draw(VALUES)
    (whole / name).write_text(json.dumps(altered(held, way, value)), encoding="utf-8")
    try:
        with suppress(DecantError):  # what is raised otherwise, an endless wait included, fails
            read_all(whole)
    finally:
        (whole / name).write_text(text, encoding="utf-8")


SETTINGS = ("config.json", "tokenizer_config.json", "modules.json", RECIPE_FILE)


def read_model(folder: Path) -> None:
    """Read every JSON file of a model's folder."""
    check_not_adapter(folder, "model")
    read_choices(folder)
    resolve(find_model(folder))


@pytest.mark.parametrize("kind", [kind for kind in RAW if kind != "deep in a value"])
@pytest.mark.parametrize("name", [*SETTINGS, "adapter_config.json"])
def test_damaged_files_of_a_model_are_named(tmp_path: Path, name: str, kind: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "bert", "max_position_embeddings": 9})
    (folder / name).write_bytes(RAW[kind])
    with pytest.raises(RecipeError, match=name.replace(".", r"\.")):
        read_model(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", {"model_type": "bert", "max_position_embeddings": float("inf")}),
        ("config.json", {"model_type": "bert", "max_position_embeddings": float("nan")}),
        ("config.json", {"model_type": ["bert"], "max_position_embeddings": 9}),
        ("tokenizer_config.json", {"model_max_length": float("inf")}),
        ("modules.json", [[]]),
        ("modules.json", [1]),
    ],
)
def test_values_of_another_kind_are_refused_or_passed_over(
    tmp_path: Path, name: str, said: object
) -> None:
    folder = tmp_path / "model"
    write_json(folder / "config.json", {"model_type": "bert", "max_position_embeddings": 9})
    write_json(folder / name, said)
    with pytest.raises(RecipeError):  # of this folder nothing says the pooling
        read_model(folder)


@pytest.mark.parametrize(
    "said", [{"model_type": 5}, {"model_type": "bert", "hidden_size": "a"}, {}]
)
def test_a_config_of_other_types_is_refused(tmp_path: Path, said: object) -> None:
    folder = save_model(tmp_path / "model", "bert")
    write_json(folder / "config.json", said)
    with pytest.raises(RecipeError, match="does not load as a Transformers model"):
        load_backbone(folder, Attention.BIDIRECTIONAL)


@pytest.mark.parametrize("kind", RAW)
def test_damaged_recipes_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.json").write_bytes(RAW[kind])
    with pytest.raises(RecipeError, match=r"mine\.json"):
        read_strategy(tmp_path / "mine.json")
    with pytest.raises(RecipeError, match="recipe"):
        Recipe.from_json(RAW[kind].decode("utf-8", errors="replace"))


@pytest.mark.parametrize("kind", RAW)
def test_a_damaged_tokenizer_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(RAW[kind])
    with pytest.raises(RecipeError, match=r"tokenizer\.json is not a readable tokenizer"):
        load_tokenizer(tmp_path)


def with_pattern(bundle: Path, pattern: str) -> None:
    """Let the bundle's tokenizer split texts by another regular expression, hashes included."""
    path = bundle / "tokenizer.json"
    held = json.loads(path.read_text("utf-8"))
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    held["pre_tokenizer"] = {**split, "invert": False}
    path.write_text(json.dumps(held), encoding="utf-8")
    manifest = json.loads((bundle / "decant.json").read_text("utf-8"))
    manifest["files"]["tokenizer.json"] = file_hash(path)
    (bundle / "decant.json").write_text(json.dumps(manifest), encoding="utf-8")


ENDLESS = "(z+)+$"  # backtracks without end, but only on a row of z that something follows


def test_a_regular_expression_without_end_is_an_error_of_the_bundle(
    bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with_pattern(bundle, r"(?:([a-z ]+)+)+\1[0-9]")  # a golden text has no end for it
    with pytest.raises(BundleError, match=r"has no tokenizer that works.*retry-limit"):
        load(bundle)
    assert "panicked" in capfd.readouterr().err  # the panic is real; Rust says so itself


def test_a_text_that_a_tokenizer_gives_up_on_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save_model(tmp_path / "model", "bert")
    held = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    split = {"type": "Split", "pattern": {"Regex": ENDLESS}, "behavior": "Isolated"}
    held["pre_tokenizer"] = {**split, "invert": False}
    (folder / "tokenizer.json").write_text(json.dumps(held), encoding="utf-8")
    choices = Choices(pooling=Pooling.MEAN, normalize=True)
    with TorchEncoder.from_pretrained(folder, choices=choices) as encoder:
        texts = ["a"] * 200 + ["z" * 40 + "!"] + ["b"] * 9
        with pytest.raises(TextError, match=r"tokenizer fails on text 200, 'zzz"):
            encoder.encode(texts, role=Role.QUERY)
        assert len(encoder.encode(["a"], role=Role.QUERY)) == 1
    assert capfd.readouterr().err


def test_a_recipe_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    recipe = Recipe(base="m", attention=Attention.CAUSAL, pooling="mean", max_tokens=9)  # type: ignore[arg-type]
    write_recipe(tmp_path, recipe)
    assert read_choices(tmp_path) is not None


@pytest.mark.parametrize(
    "how",
    [
        lambda held: held.update(workers=0),
        lambda held: held.update(threads=10**9),
        lambda held: held.update(token_budget=-1),
    ],
)
def test_settings_that_no_machine_runs_with_are_refused(
    bundle: Path, how: Callable[[Any], None]
) -> None:
    held = json.loads((bundle / TUNING).read_text("utf-8"))
    how(held["entries"][0])
    (bundle / TUNING).write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(BundleError, match=rf"{TUNING}.*is not from 1 to"):
        load(bundle)


def test_newer_formats_are_told_by_their_number(bundle: Path) -> None:
    for name, reader in ((TUNING, read_tuning), (CALIBRATION, read_calibrations)):
        opened = Bundle.open(bundle)
        write_json(bundle / name, {"format": 9, "added": True})
        with pytest.raises(BundleError, match=rf"{name} has format 9.*upgrade decant"):
            reader(opened)
