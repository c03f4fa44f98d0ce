"""The experiments run from end to end at a miniature size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from decant.embedders import Bundle
from repository import ROOT


@pytest.mark.slow
def test_every_training_method_runs_on_a_model_made_from_scratch(
    data: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, str(ROOT / "experiments/methods.py"), "--scratch", "tiny", "--minutes",
        "0.1", "--data", str(data), "--out", str(tmp_path), "--max-steps", "2", "--rows", "64",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    names = [line.split(" | ")[0].removeprefix("| ") for line in rows[1:]]
    assert names == [
        "untrained", "contrastive", "mntp", "llm2vec", "compress", "align", "gen",
    ]  # fmt: skip
    for name in names:
        assert Bundle.open(tmp_path / "bundles" / name).certificate().passed
