"""What four bits would lose is said before most of the work, and only where it is certain."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import Bundle, ParityError, Precision
from decant.export import convert
from decant.export.certify.certifier import Certifier
from decant.export.certify.reference import Reference
from decant.export.graph.layers import constant, linears
from decant.export.passes.plain_graph import PlainGraph
from decant.export.quantize import early_refusal, hessians
from decant.export.quantize.early_refusal import refuse_hopeless


@pytest.fixture
def certifier(tiny_bundle: Path) -> Certifier:
    bundle = Bundle.open(tiny_bundle)
    return Certifier(
        folder=tiny_bundle,
        tokenizer=bundle.tokenizer(),
        reference=Reference.read(tiny_bundle / "reference.npz"),
        pad_id=bundle.manifest.pad_id,
    )


def look(bundle: Path, home: Path, certifier: Certifier, *, noise: float) -> None:
    """Look at the tiny bundle's graph with noise in its first layer."""
    model = PlainGraph.load(Bundle.open(bundle).graph(Precision.FP32)).model
    linear = next(linears(model))
    drawn = np.random.default_rng(0).normal(size=linear.matrix.shape).astype(np.float32)
    loud = linear.matrix + noise * np.abs(linear.matrix).max() * drawn
    linear.node.replace_input_with(1, constant(model, "loud", loud))
    refuse_hopeless(model, Precision.W4, home, certifier, rounded="1 of 12")


def test_a_graph_that_misses_its_gate_by_far_is_refused_in_one_sentence(
    tiny_bundle: Path, tmp_path: Path, certifier: Certifier
) -> None:
    said = r"^rounding to w4 loses too much on this model: with 1 of 12 layers rounded the (worst|"
    with pytest.raises(ParityError, match=rf"{said}mean) cosine is 0\.\d{{4}} already, and 0\.9"):
        look(tiny_bundle, tmp_path, certifier, noise=30)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_within_its_gate_goes_on(
    tiny_bundle: Path, tmp_path: Path, certifier: Certifier
) -> None:
    look(tiny_bundle, tmp_path, certifier, noise=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("beyond", [False, True])
def test_what_misses_by_less_than_may_come_back_is_left_to_the_certificate(
    tiny_bundle: Path,
    tmp_path: Path,
    certifier: Certifier,
    monkeypatch: pytest.MonkeyPatch,
    beyond: bool,
) -> None:
    lost = 0.05 * early_refusal._MARGIN + (0.001 if beyond else -0.001)
    found = np.array([1 - lost, *np.ones(9)])
    monkeypatch.setattr(early_refusal, "cosines_of", lambda *_: found)
    if beyond:
        with pytest.raises(ParityError, match=r"the worst cosine is 0\.9440 already"):
            look(tiny_bundle, tmp_path, certifier, noise=0)
    else:
        look(tiny_bundle, tmp_path, certifier, noise=0)


def test_graphs_too_large_to_write_half_rounded_are_left_to_the_certificate(
    tiny_bundle: Path, tmp_path: Path, certifier: Certifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_refusal, "_LARGEST", 0)
    look(tiny_bundle, tmp_path, certifier, noise=30)


def test_a_refused_conversion_has_not_rounded_the_wide_layers(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments that are asked for are those of layers that are rounded."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    widths: list[int] = []
    mean = hessians._Sum.mean

    def told(self: hessians._Sum) -> NDArray[np.float64]:
        found = mean(self)
        widths.append(len(found))
        return found

    def nothing_alike(first: NDArray[np.float32], _: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.zeros(len(first))

    monkeypatch.setattr(hessians._Sum, "mean", told)
    monkeypatch.setattr(early_refusal, "cosines_of", nothing_alike)
    with pytest.raises(ParityError, match="was not converted to w4: rounding to w4") as caught:
        convert(bundle, "w4")
    assert str(caught.value).count("loses too much") == 1
    assert set(widths) == {32}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]
