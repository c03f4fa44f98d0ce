"""A restoring process that is killed with -9: what it left opens for nobody, and is completed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from decant.embedders import StoreError
from decant.integrations.qdrant import Collection, connect, dump, restore
from dump_scene import ENCODER, assert_same_points, held_points, made

SUPPORT = Path(__file__).parents[3] / "support"


def test_what_a_killed_restore_left_is_completed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 10)
    file, index = scratch / "docs.dump", scratch / "other"
    with connect(scratch / "index") as store:
        made(store)
        wanted = held_points(store, "docs")
        dump(store, "docs", file)
    paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kill_child.py")), str(file), str(index)],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert child.stdout is not None
    with child.stdout as said:
        assert [said.readline() for _ in range(3)] == ["10\n", "20\n", "30\n"]
        child.kill()
    assert child.wait(30) != 0
    with connect(index) as store:
        with pytest.raises(StoreError, match="is being restored from a dump"):
            Collection.open(store, "copy", ENCODER)
        report = restore(file, store, "copy")
        assert report.written <= len(wanted) - 30
        assert_same_points(held_points(store, "copy"), wanted)
        assert len(Collection.open(store, "copy", ENCODER).search("the year", limit=5)) == 5
