"""Tuning: what is tried, what is kept, where it is believed, and that vectors stay the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decant.cli.commands.tune import described
from decant.embedders import (
    Bundle,
    BundleError,
    ExecutionOptions,
    ProviderError,
    Role,
    TextError,
    load,
    tune,
)
from decant.embedders.json_records import to_json
from decant.embedders.onnx import Session, Tuned, Tuning, read_tuning, roofline, speed_bench
from decant.embedders.onnx.providers.machine import machine_name
from decant.embedders.onnx.providers.options import Settled
from decant.embedders.onnx.providers.table import CPU
from decant.embedders.onnx.speed_bench import make_texts
from decant.embedders.tokens import TokenBatch

TEXTS = [f"text number {number} " * (number % 7 + 1) for number in range(150)]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tuner", "providers.options", "providers.machine"):
        monkeypatch.setattr(f"decant.embedders.onnx.{module}.available_cores", lambda: 4)
    monkeypatch.setattr(speed_bench, "_TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(roofline, "_ROUND_SECONDS", 0.0)


def speeds(monkeypatch: pytest.MonkeyPatch, rates: dict[tuple[int, int], float]) -> None:
    """Stand in for the clock: tokens per second by (workers, token budget)."""

    def rate(_: object, settings: Settled, __: int) -> float:
        return rates.get((settings.workers, settings.token_budget), 100.0)

    monkeypatch.setattr("decant.embedders.onnx.speed_bench.SpeedBench.rate", rate)


@pytest.mark.usefixtures("four_cores")
def test_what_wins_clearly_is_kept_and_taken_by_load(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds(monkeypatch, {(2, 512): 120.0, (2, 2048): 130.0})
    with load(bundle) as encoder:
        assert str(encoder.runtime) == "4 workers x 1 thread, 512 tokens"
        before = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    told: list[str] = []
    report = tune(bundle, provider="cpu", on_step=told.append)
    tried = [trial.settings for trial in report.trials]
    assert [(item.workers, item.threads) for item in tried[:3]] == [(4, 1), (2, 2), (1, 4)]
    assert [item.token_budget for item in tried[3:]] == [128, 256, 512, 1024, 2048, 4096]
    assert all((item.workers, item.threads) == (2, 2) for item in tried[3:])
    assert told[-2:] == [
        "comparing the best with the defaults",
        "measuring the products of the model's shapes alone",
    ]
    assert (report.kept.workers, report.kept.token_budget) == (2, 2048)
    assert report.kept.over_default == 1.3
    with load(bundle) as encoder:
        assert str(encoder.runtime) == "2 workers x 2 threads, 2,048 tokens"
        after = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    assert np.abs(before - after).max() < 1e-5
    with load(bundle, runtime=ExecutionOptions(workers=3)) as encoder:
        assert encoder.runtime == Settled(device=0, workers=3, threads=1, token_budget=512)


@pytest.mark.usefixtures("four_cores")
def test_what_wins_by_noise_only_is_not_kept(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds(monkeypatch, {(4, 1024): 102.9})
    report = tune(bundle)
    assert (report.kept.workers, report.kept.token_budget) == (4, 512)
    assert report.kept.over_default == 1.0


def test_tuning_really_runs_and_counts_tokens(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_bench, "_TRIAL_SECONDS", 0.02)
    monkeypatch.setattr(roofline, "_ROUND_SECONDS", 0.0)
    report = tune(bundle, texts=TEXTS)
    assert all(trial.tokens_per_second > 0 and not trial.failure for trial in report.trials)
    assert report.kept.machine == machine_name(CPU)
    assert report.kept.workload.startswith("texts of ")
    (entry,) = read_tuning(Bundle.open(bundle)).entries
    assert entry == report.kept
    assert report.ceiling is not None
    assert not report.no_ceiling


def test_settings_are_believed_only_for_their_graph_provider_and_machine(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    (file,) = opened.manifest.graphs.values()
    ours = Tuned(
        sha256=opened.manifest.files[file],
        provider=CPU,
        machine=machine_name(CPU),
        workers=5,
        threads=1,
        token_budget=64,
        tokens_per_second=1.0,
        over_default=2.0,
        workload="texts",
        date="2026-11-21T00:00:00+00:00",
    )
    strangers = [
        replace(ours, sha256="of another graph"),
        replace(ours, provider="CUDAExecutionProvider"),
        replace(ours, machine="another, 64 cores"),
    ]
    for entries, expected in ((strangers, 512), ([*strangers, ours], 64)):
        (bundle / "tuning.json").write_text(to_json(Tuning(entries=tuple(entries))), "utf-8")
        with load(bundle, provider="cpu") as encoder:
            assert encoder.runtime.token_budget == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON|Expecting"), ('{"format": 2, "entries": []}', "format 2"), ('{"a": 1}', "a")],
)
def test_a_damaged_file_is_an_error_that_names_it(bundle: Path, text: str, message: str) -> None:
    (bundle / "tuning.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=message):
        load(bundle)


def test_texts_are_checked(bundle: Path) -> None:
    with pytest.raises(TextError, match="no text to tune with"):
        tune(bundle, texts=[])
    with pytest.raises(TextError, match="text 1"):
        tune(bundle, texts=["a", ""])
    assert not (bundle / "tuning.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("four_cores")
def test_settings_that_do_not_run_are_passed_over_and_named(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Session.outputs_of

    def run(session: Session, batch: TokenBatch, names: Sequence[str]) -> object:
        if batch.input_ids.size > 1024:
            raise MemoryError("Failed to allocate memory for requested buffer")
        return original(session, batch, names)

    monkeypatch.setattr(Session, "outputs_of", run)
    monkeypatch.setattr(speed_bench, "_TRIAL_SECONDS", 100.0)
    monkeypatch.setattr(speed_bench, "_TEXTS", 600)
    report = tune(bundle, texts=TEXTS)
    failed = {trial.settings.token_budget for trial in report.trials if trial.failure}
    assert failed == {2048, 4096}
    assert report.kept.over_default is not None
    monkeypatch.setattr(Session, "outputs_of", lambda *_: 1 / 0)
    with pytest.raises(ProviderError, match="does not run on CPUExecutionProvider: division"):
        tune(bundle)


@pytest.mark.usefixtures("four_cores")
def test_where_the_defaults_do_not_run_what_does_is_kept(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Session.outputs_of

    def run(session: Session, batch: TokenBatch, names: Sequence[str]) -> object:
        if batch.input_ids.size > 300:
            raise MemoryError("Failed to allocate memory for requested buffer")
        return original(session, batch, names)

    monkeypatch.setattr(Session, "outputs_of", run)
    monkeypatch.setattr(speed_bench, "_TRIAL_SECONDS", 100.0)
    monkeypatch.setattr(speed_bench, "_TEXTS", 300)
    report = tune(bundle, texts=iter(TEXTS))
    assert report.kept.over_default is None
    assert report.kept.token_budget in (128, 256)
    assert "where the defaults do not run" in described(report.kept)
    with load(bundle) as encoder:
        assert encoder.runtime == report.kept.settled()


def test_made_up_texts_fit_and_are_always_the_same() -> None:
    texts = make_texts(50, longest=30)
    assert texts == make_texts(50, longest=30)
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 16
    assert max(lengths) <= 30


def test_the_file_is_plain_json(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_bench, "_TRIAL_SECONDS", 0.0)
    tune(bundle)
    data = json.loads((bundle / "tuning.json").read_text("utf-8"))
    assert data["format"] == 1
    assert set(data["entries"][0]) >= {"workers", "threads", "token_budget", "machine", "date"}
