"""The ceiling: which products are counted, that the fastest library counts, and what is said."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.gpu.flops import arithmetic
from command_line import Decant
from decant.embedders import Bundle, Precision, ProviderError, tune
from decant.embedders.onnx import CPU, roofline, tuner
from decant.embedders.onnx.gemm_libraries import LIBRARIES, Call, GemmLibrary, multiplied_in
from decant.embedders.onnx.node_profile import NodeRun, Product, weight_products
from decant.embedders.onnx.providers.options import Settled, available_cores
from decant.embedders.onnx.roofline import (
    Ceiling,
    ProductRun,
    fastest_library,
    graph_products,
    measure_ceiling,
)
from decant.export import convert

SETTINGS = Settled(device=0, workers=1, threads=1, token_budget=100)
# 600 million operations a token.
PRODUCTS = (Product(k=10_000, n=10_000, count=2), Product(k=5_000, n=20_000, count=1))


class Clock:
    """Seconds that pass only when something says that it took them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FixedLibrary(GemmLibrary):
    """A library whose products take as long as it is told."""

    def __init__(self, name: str, seconds: float, clock: Clock, *, reason: str = "") -> None:
        self.name = name
        self._seconds = seconds
        self._clock = clock
        self._reason = reason

    def why_not(self, precision: Precision, settings: Settled) -> str:
        return self._reason

    def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:
        def call() -> None:
            self._clock.now += self._seconds

        return [call] * settings.workers


def measured(libraries: Sequence[GemmLibrary], clock: Clock, tokens_per_second: float) -> Ceiling:
    return measure_ceiling(
        PRODUCTS,
        Precision.FP32,
        SETTINGS,
        encode=lambda: tokens_per_second,
        libraries=libraries,
        clock=clock,
    )


def test_the_share_is_that_of_encodings_operations_in_those_of_the_products() -> None:
    clock = Clock()
    # A pass is 100 tokens in three products of a second: 20 * 10^9 operations a second.
    found = measured([FixedLibrary("a", 1.0, clock)], clock, tokens_per_second=20)
    assert found.operations_per_token == 600_000_000
    assert (found.products, found.reached, found.share) == (20.0, 12.0, 0.6)
    assert str(found).startswith(
        "encoding reaches 60 % of this machine's fp32 products (12 of 20 GFLOP/s, a"
    )


def test_integers_are_no_floating_point_operations() -> None:
    clock = Clock()
    found = measured([FixedLibrary("a", 1.0, clock)], clock, tokens_per_second=20)
    assert "int8 products (12 of 20 GOP/s" in str(replace(found, precision=Precision.INT8))


def test_the_fastest_library_counts_and_all_are_listed() -> None:
    clock = Clock()
    libraries = [
        FixedLibrary("slow", 2.0, clock),
        FixedLibrary("fast", 0.5, clock),
        FixedLibrary("absent", 0.1, clock, reason="not installed"),
        FixedLibrary("middle", 1.0, clock),
    ]
    found = measured(libraries, clock, tokens_per_second=20)
    assert (found.library, found.products, found.share) == ("fast", 40.0, 0.3)
    assert {rate.library: rate.giga for rate in found.rates} == {
        "slow": 10.0, "fast": 40.0, "middle": 20.0,
    }  # fmt: skip


def test_rounds_of_encoding_and_of_products_take_turns() -> None:
    """A machine that is slow for a while is slow for both, so the share does not change."""
    clock = Clock()
    library = FixedLibrary("a", 1.0, clock)
    speeds = iter([20.0, 10.0, 20.0, 5.0, 20.0])

    def encode() -> float:
        speed = next(speeds)
        library._seconds = 20.0 / speed  # the speed of the machine
        return speed

    found = measure_ceiling(
        PRODUCTS, Precision.FP32, SETTINGS, encode=encode, libraries=[library], clock=clock
    )
    assert found.share == 0.6


def test_without_a_library_the_error_says_why_each_was_not_timed() -> None:
    clock = Clock()
    libraries = [FixedLibrary("a", 1.0, clock, reason="no bf16 on CPUs")]
    with pytest.raises(ProviderError, match=r"multiplies in fp32 here \(a: no bf16 on CPUs\)"):
        measured(libraries, clock, tokens_per_second=1)


def test_a_library_that_fails_is_named_and_the_others_count() -> None:
    class Broken(FixedLibrary):
        def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:
            raise OSError("libmkl.so: no such file\nmore")

    clock = Clock()
    libraries = [Broken("broken", 1.0, clock), FixedLibrary("a", 1.0, clock)]
    found = measured(libraries, clock, tokens_per_second=20)
    assert (found.library, found.not_timed) == ("a", ("broken: libmkl.so: no such file",))


def test_products_with_weights_are_those_of_two_or_three_dimensions_and_all_tokens() -> None:
    def run(operator: str, states: tuple[int, ...], result: tuple[int, ...]) -> NodeRun:
        return NodeRun(
            operator=operator, provider=CPU, microseconds=1, inputs=(states,), outputs=(result,)
        )

    runs = [
        run("Gemm", (12, 8), (12, 32)),
        run("MatMulIntegerToFloat", (3, 4, 8), (3, 4, 32)),
        run("MatMulNBits", (3, 4, 32), (3, 4, 8)),
        run("MatMul", (3, 2, 4, 4), (3, 2, 4, 4)),  # attention
        run("Gemm", (3, 8), (3, 8)),  # a head on pooled vectors
        run("Add", (12, 8), (12, 8)),
    ]
    assert weight_products(runs, tokens=12) == (
        Product(k=8, n=32, count=2),
        Product(k=32, n=8, count=1),
    )


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8, Precision.W8])
def test_the_operations_of_a_graph_are_those_of_its_configuration(
    tiny_bundle: Path, tiny_folder: Path, tmp_path: Path, precision: Precision
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    if precision is not Precision.FP32:
        convert(bundle, precision)
    found = graph_products(Bundle.open(bundle), precision, CPU)
    assert sum(one.operations for one in found) == 2 * arithmetic(tiny_folder).weights


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.INT8])
def test_every_library_runs_or_says_why_not(library: GemmLibrary, precision: Precision) -> None:
    settings = replace(SETTINGS, workers=available_cores(), token_budget=8)
    if reason := library.why_not(precision, settings):
        assert reason.startswith(("no ", "not installed")) or "emulate" in reason
        return
    products = (Product(k=16, n=24, count=2), Product(k=24, n=16, count=1))
    with ProductRun(library, products, precision, settings) as run:
        assert run.rate(6) > 0


def test_a_library_that_takes_every_core_is_not_timed_for_fewer() -> None:
    fewer = replace(SETTINGS, workers=available_cores() + 1)
    fastest = fastest_library(
        (Product(k=8, n=8, count=1),), Precision.FP32, replace(fewer, token_budget=8)
    )
    fastest.run.close()
    assert not {"numpy", "torch"} & {rate.library for rate in fastest.rates}
    assert "numpy: takes every core, and the settings do not" in fastest.not_timed


def test_weights_in_blocks_are_multiplied_in_integers() -> None:
    assert {one: multiplied_in(one) for one in Precision} == {
        Precision.FP32: Precision.FP32,
        Precision.FP16: Precision.FP32,
        Precision.BF16: Precision.BF16,
        Precision.INT8: Precision.INT8,
        Precision.W8: Precision.INT8,
        Precision.W4: Precision.INT8,
    }


def test_there_is_no_ceiling_of_a_gpu(tiny_bundle: Path) -> None:
    with pytest.raises(ProviderError, match="CPUs only, and not on CUDAExecutionProvider"):
        graph_products(Bundle.open(tiny_bundle), Precision.FP32, "CUDAExecutionProvider")


def test_tune_says_the_ceiling_or_why_there_is_none(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    monkeypatch.setattr(tuner, "_TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(roofline, "_ROUND_SECONDS", 0.0)
    decant = Decant()
    assert "of this machine's fp32 products (" in " ".join(decant("tune", bundle).err.split())
    held = decant("tune", bundle, "--json").json["report"]
    assert isinstance(held, dict)
    assert held["ceiling"]["precision"] == "fp32"
    assert held["ceiling"]["operations_per_token"] > 0
    monkeypatch.setattr(roofline, "profile", lambda *_: [])
    report = tune(bundle)
    assert report.ceiling is None
    assert "shows no product of all tokens with weights" in report.no_ceiling
    assert "was not measured: ONNX Runtime's" in " ".join(decant("tune", bundle).err.split())
