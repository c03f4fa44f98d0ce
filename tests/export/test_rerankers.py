"""A reranker's bundle is verified, converted and tuned like an encoder's."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from decant.embedders import (
    Bundle,
    BundleError,
    Choices,
    Pooling,
    Recipe,
    RecipeError,
    RerankChoices,
    RerankRecipe,
    find_model,
    load_reranker,
    tune,
)
from decant.export import convert, export, verify
from decant.export.exporter import recipe_of
from rerank_models import NO, YES, save_causal_reranker, save_cross_encoder

QUERY, TEXTS = "where is the river", ["a river", "a hill in the sun", "the sea"]
TEMPLATE = "<query>{query} text {text} in"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_reranker(tmp_path_factory.mktemp("model") / "llama", longest=128)


@pytest.fixture(scope="module")
def choices() -> RerankChoices:
    return RerankChoices(pair_template=TEMPLATE, true_token=YES, false_token=NO, max_tokens=64)


@pytest.fixture(scope="module")
def exported(
    folder: Path, choices: RerankChoices, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("bundle") / "reranker"
    export(folder, target, choices=choices)
    return target


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def test_the_certificate_names_each_condition(exported: Path) -> None:
    (entry,) = Bundle.open(exported).certificate().scores
    names = {check.name for check in entry.checks}
    assert {"weights", "one by one", "left padding", "right padding", "large batch", "truncated",
            "neighbours", "shared query", "order", "finite", "after one token",
            "long beside short, left"} <= names  # fmt: skip
    assert entry.worst_difference < 1e-4
    assert entry.kendall_tau == 1


def test_int8_is_added_and_its_order_judged(bundle: Path) -> None:
    certificate = convert(bundle, "int8")
    entry = certificate.scores[-1]
    assert certificate.passed
    assert 0.8 <= entry.kendall_tau <= 1
    assert entry.company < 1e-2
    with (
        load_reranker(bundle, precision="int8") as small,
        load_reranker(bundle, precision="fp32") as exact,
    ):
        differences = small.score(QUERY, TEXTS, raw=True) - exact.score(QUERY, TEXTS, raw=True)
    assert 0 < np.abs(differences).max() < 0.5


def test_verifying_finds_a_damaged_weight(bundle: Path) -> None:
    assert verify(bundle, provider="cpu").passed
    path = bundle / "onnx" / "model.onnx"
    model = onnx.load(path)
    (weight,) = [one for one in model.graph.initializer if list(one.dims) == [32, 1]][:1] or [
        max(model.graph.initializer, key=lambda one: int(np.prod(one.dims)))
    ]
    values = numpy_helper.to_array(weight) * 1.01
    weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
    onnx.save(model, path)
    certificate = verify(bundle, provider="cpu")
    assert not certificate.passed
    assert "files" in certificate.failed[0].failures


def test_tasks_of_encoders_are_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match="is a reranker, which gives no vectors"):
        verify(bundle, provider="cpu", scores=lambda _: {})


def test_an_equal_bundle_is_kept(folder: Path, choices: RerankChoices, exported: Path) -> None:
    before = (exported / "decant.json").stat().st_mtime_ns
    export(folder, exported, choices=choices, exist_ok=True)
    assert (exported / "decant.json").stat().st_mtime_ns == before
    other = RerankChoices(pair_template="{query} {text}", true_token=YES, max_tokens=64)
    with pytest.raises(BundleError, match="its pair is"):
        export(folder, exported, choices=other, exist_ok=True)


@pytest.mark.slow
def test_tuning_keeps_settings_that_load_takes(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.embedders.onnx.speed_bench._TRIAL_SECONDS", 0.01)
    tune(bundle, provider="cpu", precision="fp32")
    with load_reranker(bundle) as reranker:
        assert reranker.score(QUERY, TEXTS).shape == (3,)


def test_a_classifier_is_exported_as_an_encoder_only_if_a_pooling_is_named(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "bert", "bert")
    source = find_model(folder)
    with pytest.raises(RecipeError, match="is a reranker, which takes no dim"):
        recipe_of(source, Choices(dim=8))
    assert isinstance(recipe_of(source, Choices(pooling=Pooling.MEAN)), Recipe)
    assert isinstance(recipe_of(source, Choices(max_tokens=9)), RerankRecipe)


def test_a_strategy_is_for_encoders(folder: Path, choices: RerankChoices, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a strategy is for encoders"):
        export(folder, tmp_path / "none", choices=choices, strategy="prompt-eol")
