"""The head-to-head benchmark: its options, its ratios, and another environment's process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import head_to_head
from bench.backends import BackendProcess
from bench.contest import DEFAULT, PEER, ratio, targets_of
from bench.report import Amount, Section, section
from bench.rounds import Contender, Lap, timed
from decant.embedders import MissingExtra


def section_of(seconds: dict[str, float]) -> Section:
    """Return a section of contenders that took so many seconds in each of three rounds."""
    contenders = [Contender(name=name, settings="", run=lambda: None) for name in seconds]
    laps = {name: (Lap(wall=value, cpu=value),) * 3 for name, value in seconds.items()}
    return section("mixed", contenders, laps, dict.fromkeys(laps, Amount(chunks=1, tokens=1)))


def test_a_ratio_is_that_of_our_fastest_provider_to_their_fastest_batch() -> None:
    found = section_of(
        {"decant fp32 cpu": 2.0, "decant fp32 openvino": 1.0, f"{PEER}, batch 4": 3.0, DEFAULT: 5.0}
    )
    assert ratio(found, "decant fp32", PEER) == pytest.approx(3)
    assert ratio(found, "decant fp32", DEFAULT) == pytest.approx(5)


def test_another_form_of_a_system_is_not_taken_for_it() -> None:
    found = section_of(
        {"decant fp32 cpu": 1.0, f"{PEER}, batch 4": 3.0, f"{PEER} bfloat16, batch 4": 2.0}
    )
    assert ratio(found, "decant fp32", PEER) == pytest.approx(3)
    assert ratio(found, "decant fp32", f"{PEER} bfloat16") == pytest.approx(2)


def test_what_this_processor_does_not_run_is_no_target() -> None:
    found = section_of({"decant fp32 cpu": 1.0, DEFAULT: 3.0})
    aims = targets_of("minilm", found, found)
    assert [(aim.wanted, aim.measured) for aim in aims] == [(1.5, 3.0), (2.0, 3.0)]


def test_a_lap_of_another_process_counts_as_it_was_measured_there() -> None:
    lap = Lap(wall=7.0, cpu=9.0)
    assert timed(lambda: lap) is lap


@pytest.mark.slow
def test_an_environment_that_does_not_load_the_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "work").mkdir()
    with pytest.raises(MissingExtra, match="backend='onnx'"):
        BackendProcess(Path(sys.executable), tmp_path / "model", "onnx", tmp_path / "work")


def test_models_and_environments_are_options() -> None:
    options = head_to_head.parse(
        ["--keep", "there", "--models", "minilm", "--onnx-python", "python"]
    )
    assert (options.models, options.keep) == (("minilm",), Path("there"))
    assert options.pythons == {"onnx": Path("python")}
    assert not options.prepare
