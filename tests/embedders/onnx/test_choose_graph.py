"""What ``auto`` takes: certified first, fastest second, and why, without luck of the clock."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from decant.embedders import (
    Bundle,
    CertificateCheck,
    CertificateEntry,
    ExecutionOptions,
    GraphChoice,
    Precision,
    ProviderError,
    load,
    tune,
)
from decant.embedders.json_records import to_json
from decant.embedders.onnx import (
    Cause,
    Comparison,
    Speed,
    Tuning,
    find_provider,
    rank_choices,
    speed_bench,
)
from decant.embedders.onnx.providers import machine
from decant.embedders.onnx.providers.machine import machine_name
from decant.embedders.onnx.providers.options import Settled
from decant.embedders.onnx.tuning_file import keep_comparison, read_tuning

CPU, OPENVINO = "CPUExecutionProvider", "OpenVINO"
Rates = dict[tuple[str, Precision], float]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show a processor that multiplies in bfloat16, and OpenVINO installed."""
    monkeypatch.setattr(machine, "processor_features", lambda: frozenset({"avx512_bf16"}))
    show_installed(monkeypatch, CPU, OPENVINO)


def show_installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(
        "decant.embedders.onnx.choose_graph.installed_providers", lambda: list(names)
    )


def certify_on_openvino(
    bundle: Path, *precisions: Precision, change: Callable[..., CertificateEntry] = replace
) -> None:
    """Write entries that passed, as if OpenVINO had run here."""
    certificate = Bundle.open(bundle).certificate()
    (entry,) = (one for one in certificate.entries if one.provider == CPU)
    for precision in precisions:
        certificate = certificate.with_entry(
            change(entry, provider=OPENVINO, precision=precision, date="2026-11-30T00:00:00+00:00")
        )
    (bundle / "certificate.json").write_text(to_json(certificate), encoding="utf-8")


def with_worst_cosine(worst: float) -> Callable[..., CertificateEntry]:
    def change(entry: CertificateEntry, **said: object) -> CertificateEntry:
        check = CertificateCheck(name="one by one", cases=9, worst_cosine=worst, passed=True)
        figures = {"worst_cosine": worst, "batch_invariance": worst, "checks": (check,)}
        return replace(entry, **said, **figures)  # type: ignore[arg-type]

    return change


def measured(bundle: Path, rates: Rates) -> None:
    """Write a comparison whose first is the first of ``rates``."""
    opened = Bundle.open(bundle)
    base = next(iter(rates.values()))
    speeds = tuple(
        Speed(
            sha256=opened.manifest.files[
                opened.manifest.graphs[find_provider(name).graph_of(precision)]
            ],
            provider=name,
            machine=machine_name(name),
            precision=precision,
            tokens_per_second=rate,
            speedup=rate / base,
        )
        for (name, precision), rate in rates.items()
    )
    keep_comparison(
        opened, Comparison(machine=machine_name(CPU), workload="w", date="d", speeds=speeds)
    )


def choice(bundle: Path, *, provider: str = "auto", precision: str = "auto") -> GraphChoice:
    return rank_choices(Bundle.open(bundle), provider=provider, precision=precision).choices[0]


def runs(chosen: GraphChoice) -> tuple[str, Precision]:
    return chosen.provider, chosen.precision


def causes(chosen: GraphChoice) -> dict[tuple[str, Precision], Cause]:
    return {(one.provider, one.precision): one.cause for one in chosen.rejected}


@pytest.mark.usefixtures("with_bf16")
def test_without_its_certificate_bf16_is_not_taken_and_the_command_is_named(bundle: Path) -> None:
    found = choice(bundle)
    assert runs(found) == (CPU, Precision.FP32)
    assert causes(found)[OPENVINO, Precision.BF16] is Cause.NOT_CERTIFIED
    assert f"decant verify {bundle} --provider openvino" in found.advice
    assert "nothing else is certified" in str(found)


@pytest.mark.usefixtures("with_bf16")
def test_with_it_bf16_comes_before_float32_and_the_cpu_is_tried_next(bundle: Path) -> None:
    certify_on_openvino(bundle, Precision.FP32, Precision.BF16)
    ranking = rank_choices(Bundle.open(bundle))
    assert [runs(one) for one in ranking.choices] == [
        (OPENVINO, Precision.BF16),
        (CPU, Precision.FP32),
    ]
    assert "not measured on this machine" in ranking.choices[0].reason
    assert f"decant tune {bundle}" in ranking.choices[0].advice
    assert causes(ranking.choices[0])[CPU, Precision.FP32] is Cause.LATER


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(("worst", "taken"), [(0.99989, False), (0.9999, True)])
def test_a_precision_that_nobody_exported_is_taken_only_where_it_loses_almost_nothing(
    bundle: Path, worst: float, taken: bool
) -> None:
    certify_on_openvino(bundle, Precision.BF16, change=with_worst_cosine(worst))
    found = choice(bundle)
    assert (runs(found) == (OPENVINO, Precision.BF16)) is taken
    if not taken:
        assert causes(found)[OPENVINO, Precision.BF16] is Cause.LOSES
        assert "its worst cosine is 0.999890" in str(found.rejected[0])


@pytest.mark.usefixtures("with_bf16")
def test_a_certificate_that_failed_counts_as_none(bundle: Path) -> None:
    certify_on_openvino(bundle, Precision.BF16, change=with_worst_cosine(0.9))
    found = choice(bundle)
    assert runs(found) == (CPU, Precision.FP32)
    assert causes(found)[OPENVINO, Precision.BF16] is Cause.FAILED


def test_without_the_instructions_bf16_is_not_of_this_machine(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "processor_features", lambda: frozenset({"avx2"}))
    show_installed(monkeypatch, CPU, OPENVINO)
    certify_on_openvino(bundle, Precision.BF16)
    found = choice(bundle)
    assert runs(found) == (CPU, Precision.FP32)
    assert causes(found)[OPENVINO, Precision.BF16] is Cause.NOT_HERE
    assert found.advice == ""


@pytest.mark.usefixtures("with_bf16")
def test_without_the_package_the_command_that_installs_it_is_named(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_installed(monkeypatch, CPU)
    certify_on_openvino(bundle, Precision.FP32, Precision.BF16)
    found = choice(bundle)
    assert runs(found) == (CPU, Precision.FP32)
    assert causes(found) == {(OPENVINO, Precision.BF16): Cause.NOT_INSTALLED}
    assert "pip install 'decant-qdrant[openvino]'" in found.advice


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(
    ("float32", "expected"),
    [(150.0, CPU), (102.9, OPENVINO), (60.0, OPENVINO)],
)
def test_what_was_measured_clearly_faster_is_taken_and_noise_is_not(
    bundle: Path, float32: float, expected: str
) -> None:
    certify_on_openvino(bundle, Precision.BF16)
    measured(bundle, {(OPENVINO, Precision.BF16): 100.0, (CPU, Precision.FP32): float32})
    found = choice(bundle)
    assert found.provider == expected
    assert list(causes(found).values()).count(Cause.SLOWER) == 1
    if expected == CPU:
        assert "measured fastest of 2 on this machine: 150 tokens/s, 1.50 x bf16" in str(found)
    else:
        assert "none of 2 measured on this machine is clearly faster" in str(found)


@pytest.mark.usefixtures("with_bf16")
def test_what_was_certified_after_the_measurement_is_taken_by_the_order(bundle: Path) -> None:
    measured(bundle, {(CPU, Precision.FP32): 100.0})
    certify_on_openvino(bundle, Precision.BF16)
    assert runs(choice(bundle)) == (OPENVINO, Precision.BF16)


@pytest.mark.usefixtures("with_bf16")
def test_a_measurement_of_another_machine_or_graph_decides_nothing(bundle: Path) -> None:
    certify_on_openvino(bundle, Precision.BF16)
    measured(bundle, {(OPENVINO, Precision.BF16): 100.0, (CPU, Precision.FP32): 500.0})
    (ours,) = read_tuning(Bundle.open(bundle)).comparisons
    others = [
        replace(ours, machine="another, 64 cores"),
        replace(ours, speeds=tuple(replace(one, sha256="other") for one in ours.speeds)),
    ]
    for other in others:
        (bundle / "tuning.json").write_text(to_json(Tuning(comparisons=(other,))), "utf-8")
        assert runs(choice(bundle)) == (OPENVINO, Precision.BF16)


@pytest.mark.usefixtures("with_bf16")
def test_a_provider_or_a_precision_that_is_named_is_taken(bundle: Path) -> None:
    certify_on_openvino(bundle, Precision.FP32, Precision.BF16)
    assert runs(choice(bundle, provider="cpu")) == (CPU, Precision.FP32)
    assert runs(choice(bundle, precision="fp32")) == (CPU, Precision.FP32)
    assert runs(choice(bundle, provider="openvino")) == (OPENVINO, Precision.BF16)
    assert runs(choice(bundle, provider="openvino", precision="fp32")) == (OPENVINO, "fp32")


@pytest.mark.usefixtures("with_bf16")
def test_what_does_not_open_is_left_and_named_and_the_log_says_what_runs(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certify_on_openvino(bundle, Precision.BF16)

    def refuse(*_: object, **__: object) -> None:
        raise ProviderError("no such device")

    monkeypatch.setattr("decant.embedders.onnx.session.OpenVinoSession", refuse)
    with caplog.at_level(logging.INFO, "decant"), load(bundle) as encoder:
        assert (encoder.provider, encoder.precision) == (CPU, Precision.FP32)
        assert causes(encoder.choice)[OPENVINO, Precision.BF16] is Cause.NOT_OPENED
        assert f"runs {encoder.choice}" in caplog.text
        with pickle.loads(pickle.dumps(encoder)) as again:
            assert (again.provider, again.precision) == (CPU, Precision.FP32)


def inject(monkeypatch: pytest.MonkeyPatch, rates: Rates) -> list[tuple[str, Precision]]:
    """Stand in for the clock, and return the list of what had its settings tried."""
    tried: list[tuple[str, Precision]] = []

    def rate(bench: speed_bench.SpeedBench, settings: Settled, _: int) -> float:
        key = (bench.provider, bench.precision)
        if settings.token_budget == 128 and key not in tried:
            tried.append(key)
        return rates[key] if settings.token_budget != 1024 else 1.2 * rates[key]

    monkeypatch.setattr(speed_bench.SpeedBench, "rate", rate)
    monkeypatch.setattr(speed_bench.SpeedBench, "fitting_count", lambda *_: 1)
    monkeypatch.setattr(speed_bench.SpeedBench, "lone_milliseconds", lambda *_: 7.5)
    return tried


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(
    ("bfloat16", "expected"), [(300.0, OPENVINO), (90.0, CPU), (100.0, OPENVINO)]
)
def test_tune_compares_all_that_auto_may_take_and_load_takes_the_fastest(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, bfloat16: float, expected: str
) -> None:
    certify_on_openvino(bundle, Precision.BF16)
    pairs = [(OPENVINO, Precision.BF16), (CPU, Precision.FP32)]
    tried = inject(monkeypatch, {pairs[0]: bfloat16, pairs[1]: 100.0})
    steps: list[str] = []
    report = tune(bundle, texts=["one text", "another"], on_step=steps.append)
    assert tried == (pairs if bfloat16 < 200 else pairs[:1])  # what is far behind is left
    assert [(one.provider, one.precision) for one in report.speeds] == pairs
    assert report.choice is not None
    assert report.provider == report.choice.provider == expected
    assert choice(bundle).provider == expected
    assert report.kept.token_budget == 1024
    alone = {one.provider: one.lone_milliseconds for one in report.speeds}
    assert alone[expected] == 7.5
    assert any("one text alone" in step for step in steps)


@pytest.mark.usefixtures("with_bf16")
def test_tune_with_a_named_provider_changes_only_its_settings(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify_on_openvino(bundle, Precision.BF16)
    inject(monkeypatch, {(CPU, Precision.FP32): 100.0})
    report = tune(bundle, provider="cpu", texts=["one text"])
    assert (report.provider, report.choice, report.speeds) == (CPU, None, ())
    assert read_tuning(Bundle.open(bundle)).comparisons == ()
    assert runs(choice(bundle)) == (OPENVINO, Precision.BF16)


def test_an_encoder_says_why_it_runs_what_it_runs(bundle: Path) -> None:
    runtime = ExecutionOptions(workers=1)
    with load(bundle, provider="cpu", precision="fp32", runtime=runtime) as encoder:
        assert str(encoder.choice) == f"fp32 on {CPU}: precision fp32 was asked for"


def test_old_measurements_without_comparisons_are_read(bundle: Path) -> None:
    (bundle / "tuning.json").write_text('{"format": 1, "entries": []}', encoding="utf-8")
    assert read_tuning(Bundle.open(bundle)) == Tuning()
