"""The GPU benchmark: models with drawn weights, rows, PyTorch's ways, and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModel

from bench.corpus import load_corpus
from bench.gpu.flops import Arithmetic, arithmetic
from bench.gpu.lean import lean_bundle
from bench.gpu.matches import MIXED, compete, counted, draw_rows, open_ours, section_of, sized
from bench.gpu.packed import Packed, Way, takes, usable
from bench.gpu.shapes import SHAPES, Family, save_seeded
from bench.gpu.steady import WARM_UPS, growth, random_rows, turn_by_turn
from bench.gpu.subjects import Subject, certified, verdict
from bench.gpu.torch_peer import TorchModel
from bench.peers import Peer, worst_cosine
from bench.rounds import Contender, Lap
from decant.embedders import (
    Attention,
    Bundle,
    CertificateCheck,
    CertificateEntry,
    ParityError,
    Pooling,
    Precision,
    ProviderError,
    Recipe,
    RecipeError,
    Role,
)
from decant.embedders.tokens import Tokens
from decant.export import verify
from tiny_shapes import TINY

CPU = "CPUExecutionProvider"


@pytest.fixture(scope="module")
def bundle(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the lean bundle of that folder, certified on the CPU."""
    target = tmp_path_factory.mktemp("lean") / "bundle"
    lean_bundle(seeded, target, [Precision.FP32], device=torch.device("cpu"), on_step=str)
    verify(target, provider="cpu")
    return target


# --- models with drawn weights


def test_the_same_seed_draws_the_same_weights_and_another_others(
    family: Family, tiny_model: Path, tmp_path: Path
) -> None:
    states = [
        AutoModel.from_pretrained(
            save_seeded(tmp_path / name, tiny_model, TINY[family], seed=seed)
        ).state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    first, same, other = states
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(torch.isfinite(weight).all() for weight in first.values())


def test_a_cut_in_depth_is_said_in_the_name() -> None:
    shape = SHAPES["qwen3-8b"]
    assert shape.name == "Qwen3-Embedding-8B shape"
    assert shape.cut(6).name == "Qwen3-Embedding-8B shape, 6 of 36 layers"
    assert shape.cut(99) == shape.cut(None) == shape


def test_large_models_are_written_in_several_shards(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.gpu.shapes._SHARD", 4000)
    shape = TINY[Family.QWEN3]
    folder = save_seeded(tmp_path / "model", tiny_model, shape, seed=0)
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    _, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_a_lean_bundle_holds_the_graph_asked_for_and_no_other(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert list(opened.manifest.graphs) == ["fp32"]
    (entry,) = opened.certificate().entries
    assert (entry.passed, entry.provider) == (True, CPU)


@pytest.mark.slow
def test_a_lean_bundle_can_do_without_fp32(seeded: Path, tmp_path: Path) -> None:
    lean_bundle(
        seeded, tmp_path / "half", [Precision.BF16], device=torch.device("cpu"), on_step=str
    )
    assert list(Bundle.open(tmp_path / "half").manifest.graphs) == ["bf16"]
    assert not (tmp_path / "half" / "onnx" / "model.onnx").exists()


# --- rows, and both sides on them


def test_rows_have_the_lengths_asked_for(bundle: Path, tiny_data: Path) -> None:
    tokenizer, corpus = Bundle.open(bundle).tokenizer(), load_corpus(tiny_data)
    found = draw_rows(tokenizer, corpus, {"32": 640, MIXED: 900}, seed=0)
    assert [len(found.rows[name].ids) for name in found.names["32"]] == [32] * 20
    mixed = [found.rows[name] for name in found.names[MIXED]]
    assert 900 <= sum(len(row.ids) for row in mixed) < 1200
    assert len({len(row.ids) for row in mixed}) > 1
    assert mixed == tokenizer(found.texts, role=Role.PASSAGE)


def test_rows_come_again_where_the_corpus_is_too_small(
    bundle: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.gpu.ready._POOL", 500)
    tokenizer, corpus = Bundle.open(bundle).tokenizer(), load_corpus(tiny_data)
    found = draw_rows(tokenizer, corpus, {"16": 160_000, MIXED: 4000}, seed=0)
    assert len(found.names["16"]) == 10_000
    assert len(set(found.texts)) < len(found.texts)


@pytest.mark.parametrize("way", [Way.SDPA, Way.ROWS])
def test_pytorch_gives_the_vectors_of_the_graph_in_the_order_of_the_rows(
    bundle: Path, seeded: Path, tiny_data: Path, way: Way
) -> None:
    subject = subject_of(bundle, seeded)
    tokenizer, corpus = subject.bundle.tokenizer(), load_corpus(tiny_data)
    rows = draw_rows(tokenizer, corpus, {"16": 64, MIXED: 900}, seed=0)
    names = [name for section in rows.names.values() for name in section]
    model = TorchModel(seeded, tokenizer.recipe, device=torch.device("cpu"), dtype=torch.float32)
    with ExitStack() as stack:
        (ours,) = open_ours(subject, rows.rows, CPU, (), stack)
        expected = ours.embed(names)
    assert worst_cosine(expected, np.roll(expected, 1, axis=0)) < 0.99  # rows can be told apart
    for batch in (1, 5, len(names)):
        assert worst_cosine(expected, model.embed(way, rows.rows)(names, batch)) > 0.9999


def test_pytorch_can_change_its_way_from_call_to_call(seeded: Path, bundle: Path) -> None:
    recipe = Bundle.open(bundle).manifest.recipe
    rows = {name: Tokens(ids=tuple(range(5, 5 + size)), counted=0) for name, size in
            (("a", 9), ("b", 3))}  # fmt: skip
    model = TorchModel(seeded, recipe, device=torch.device("cpu"), dtype=torch.float32)
    ways = [model.embed(way, rows) for way in (Way.SDPA, Way.ROWS)]
    found = [ways[turn % 2](["a", "b"], 2) for turn in range(4)]
    assert all(worst_cosine(found[0], other) > 0.9999 for other in found)


def test_packed_rows_begin_at_position_zero_where_their_bounds_say() -> None:
    rows = [Tokens(ids=(7, 8, 9), counted=0), Tokens(ids=(5,), counted=0)]
    packed = Packed.of(rows, torch.device("cpu"))
    assert packed.ids.tolist() == [[7, 8, 9, 5]]
    assert packed.positions.tolist() == [[0, 1, 2, 0]]
    assert packed.bounds.tolist() == [0, 3, 4]
    assert (packed.bounds.dtype, packed.longest) == (torch.int32, 3)


def test_a_recipe_that_pytorch_is_not_taught_is_refused(seeded: Path) -> None:
    recipe = Recipe(
        base="x", revision="y", pooling=Pooling.MAX, attention=Attention.BIDIRECTIONAL,
        max_tokens=64,
    )  # fmt: skip
    with pytest.raises(RecipeError, match="pool by max"):
        TorchModel(seeded, recipe, device=torch.device("cpu"), dtype=torch.float32)


def test_kernels_of_the_gpu_are_left_out_on_the_cpu_or_refused_where_named() -> None:
    cpu = torch.device("cpu")
    assert usable(None, cpu) == (Way.SDPA, Way.ROWS)
    with pytest.raises(ProviderError, match="flash attention does not run on cpu"):
        usable([Way.SDPA, Way.FLASH], cpu)
    assert not takes(Way.FLASH, "float32")
    assert takes(Way.VARLEN, "bfloat16")


def test_a_packed_kernel_with_other_values_is_found_before_models_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.gpu import packed

    cpu = torch.device("cpu")
    monkeypatch.setattr(packed, "_varlen", packed._rows)
    packed.check(Way.VARLEN, cpu)

    def blind(
        _module: nn.Module, query: torch.Tensor, _key: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, None]:
        return query.transpose(1, 2), None

    monkeypatch.setattr(packed, "_varlen", blind)
    with pytest.raises(ParityError, match="leave it out of --peers"):
        packed.check(Way.VARLEN, cpu)


# --- tables, with contenders and clocks that are made up


def entry(*, passed: bool) -> CertificateEntry:
    """Return a certificate's entry with two checks, one of which may have failed."""
    worst = 0.999993 if passed else 0.4
    checks = (
        CertificateCheck(name="one by one", cases=3, worst_cosine=0.999995, passed=True),
        CertificateCheck(name="left padding", cases=3, worst_cosine=worst, passed=passed),
    )
    return CertificateEntry(
        file="onnx/model.onnx", sha256="0", precision=Precision.FP32, provider=CPU,
        worst_cosine=worst, mean_cosine=max(worst, 0.5), max_abs_error=0, top10_overlap=1,
        batch_invariance=1,
        not_finite=0, longest=9, checks=checks, environment={}, date="",
    )  # fmt: skip


def subject_of(bundle: Path, model: Path, *, passed: bool = True) -> Subject:
    """Return a subject with an entry that is made up."""
    return Subject(
        title="tiny",
        model=model,
        bundle=Bundle.open(bundle),
        arithmetic=arithmetic(model),
        entries={Precision.FP32: entry(passed=passed)},
    )


def test_a_row_is_worth_its_operations_over_its_median_time() -> None:
    contenders = [Contender(name=name, settings="", run=str) for name in ("decant", "torch")]
    laps = {
        "decant": tuple(Lap(wall=wall, cpu=1) for wall in (1, 2, 9)),
        "torch": (Lap(wall=4, cpu=1),) * 3,
    }
    plain = section_of("t", [10, 30], contenders, laps)
    found = counted(plain, 8 * 10**12, peak=16e12, certificates={"decant": "1.0 passed"})
    ours, theirs = found.rows
    assert ours.compute is not None
    assert theirs.compute is not None
    assert (ours.compute.teraflops, ours.compute.share) == (4.0, 0.25)
    assert (theirs.compute.teraflops, theirs.compute.share) == (2.0, 0.125)
    assert (ours.compute.certificate, theirs.compute.certificate) == ("1.0 passed", "")
    assert ours.tokens_per_second == 20


def test_peers_run_at_the_batch_size_that_was_fastest() -> None:
    seen: list[int] = []

    def embed(_names: object, batch: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        seen.append(batch)
        for _ in range(20_000 * abs(batch - 4)):
            pass
        return np.zeros((1, 1), np.float32)

    peer = Peer(name="torch", threads="1", default_batch=1, batches=(1, 4, 8), embed=embed)
    ours = Contender(name="decant", settings="", run=str)
    contenders, laps = compete("t", [ours], [peer], ["a"], rounds=2, on_step=str)
    assert [each.name for each in contenders] == ["decant", "torch, batch 4"]
    assert "1: " in contenders[1].settings
    assert {name: len(found) for name, found in laps.items()} == {
        "decant": 2, "torch, batch 4": 2,
    }  # fmt: skip
    assert seen[-2:] == [4, 4]


def test_a_failed_certificate_is_shown_with_its_reason(bundle: Path, seeded: Path) -> None:
    bad = certified(subject_of(bundle, seeded, passed=False))
    assert verdict(entry(passed=False)) == "0.400000 FAILED"
    assert verdict(entry(passed=True)) == "0.999993 passed"
    assert (bad.figures[0].value, bad.targets[0].met) == (1, False)
    assert "left padding (worst cosine 0.400000)" in bad.figures[0].unit
    good = certified(subject_of(bundle, seeded))
    assert (good.figures[0].value, good.targets[0].met) == (0, True)


def test_queries_are_timed_turn_by_turn_by_the_clock() -> None:
    ticks: Iterator[int] = count()
    log: list[str] = []
    times = turn_by_turn(
        {"a": lambda: log.append("a"), "b": lambda: log.append("b")},
        count=3,
        clock=lambda: next(ticks) / 1000,
    )
    assert log == ["a", "b", "a", "b", "b", "a", "a", "b"]  # the first two warm up
    assert times == {"a": [pytest.approx(1)] * 3, "b": [pytest.approx(1)] * 3}


@pytest.mark.parametrize(("title", "tokens"), [("128", 100_000), (MIXED, 100_000)])
def test_a_run_has_the_tokens_that_take_its_seconds(title: str, tokens: int) -> None:
    counts = Arithmetic(weights=10**9, layers=1, width=0, causal=True)  # 2e9 a token
    assert sized(counts, title, 4e14, 1.0) == tokens
    assert sized(counts, title, 4e14, 1e-9) == 16_384
    assert sized(counts, title, 4e14, 1e9) == 400_000


@given(st.integers(0, 5), st.integers(1, 40), st.integers(0, 9))
def test_random_batches_begin_with_the_largest_and_stay_within_it(
    batches: int, longest: int, seed: int
) -> None:
    found = random_rows(batches, longest=longest, vocabulary=50, seed=seed)
    assert len(found) == WARM_UPS + batches
    shapes = [(len(rows), max(len(row.ids) for row in rows.values())) for rows in found]
    assert shapes[0] == (16, longest)
    assert all(1 <= rows <= 16 and 1 <= width <= longest for rows, width in shapes)
    every = [name for rows in found for name in rows]
    assert len(set(every)) == len(every)
    assert all(token < 50 for rows in found for row in rows.values() for token in row.ids)


def test_growth_is_what_the_batches_after_the_warm_up_add() -> None:
    held = [100 * 2**20]

    def run(names: Sequence[str]) -> None:
        held.append(2**20 if names == ("warm",) else 3 * 2**20)

    batches = [("warm",)] * WARM_UPS + [("leak",)] * 2
    after, added = growth("tiny", run, batches, lambda: sum(held))
    assert (after.value, after.unit) == (100 + WARM_UPS, "MiB")
    assert (added.value, added.unit) == (6, "MiB")
    assert "added by 2 batches" in added.name
