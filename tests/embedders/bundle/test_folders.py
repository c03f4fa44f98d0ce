"""What a killed process left of a bundle goes; what a living one makes stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from decant.embedders import BundleError
from decant.embedders.bundle import fresh_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks there")

MAKER = """
import sys
from pathlib import Path
from decant.embedders.bundle import fresh_folder
with fresh_folder(Path(sys.argv[1]), replace=True) as making:
    (making / "weights").write_bytes(b"half")
    print("making", flush=True)
    sys.stdin.read()
"""
REPLACER = """
import os, signal, sys
from pathlib import Path
from decant.embedders.bundle import fresh_folder
rename = Path.rename
def killed(self, target):
    if self.name.startswith(".") and target == Path(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = killed
with fresh_folder(Path(sys.argv[1]), replace=True) as making:
    (making / "decant.json").write_text("new")
"""


def begun(target: Path) -> subprocess.Popen[bytes]:
    """Start a process that makes ``target``; return it when it has begun."""
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert maker.stdout is not None
    assert maker.stdout.readline() == b"making\n"
    return maker


def make(target: Path) -> None:
    with fresh_folder(target) as making:
        (making / "decant.json").write_text("whole")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with begun(tmp_path / "bundle") as maker:
        maker.send_signal(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert (left / "weights").exists()
    make(tmp_path / "other")
    assert left.exists()
    make(tmp_path / "bundle")
    assert names(tmp_path) == ["bundle", "other"]


def test_what_a_living_process_makes_stays(tmp_path: Path) -> None:
    with begun(tmp_path / "bundle") as maker:
        (making,) = tmp_path.iterdir()
        make(tmp_path / "bundle")
        assert (making / "weights").exists()
        maker.communicate(b"")
    assert maker.returncode == 0
    assert names(tmp_path) == ["bundle"]
    assert names(tmp_path / "bundle") == ["weights"]


def test_a_bundle_that_was_being_replaced_is_put_back(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    script = [sys.executable, "-c", REPLACER, str(tmp_path / "bundle")]
    assert subprocess.run(script, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(BundleError, match="already holds a bundle"):
        make(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "decant.json").read_text() == "whole"


def test_folders_of_other_names_are_not_ours(tmp_path: Path) -> None:
    kept = [".bundle-abcdefgh", ".bundle.making-mine", ".bundles.making-abcdefgh", "bundle.making"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".bundle.making-abcdefgh").write_text("a file")
    make(tmp_path / "bundle")
    assert names(tmp_path) == sorted([*kept, ".bundle.making-abcdefgh", "bundle"])
