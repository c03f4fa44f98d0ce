"""A forked child neither uses nor harms what its parent has open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Record, connect

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def filled(scratch: Path) -> Path:
    """Return a folder with a collection of one record, which nobody has open."""
    with connect(scratch / "index") as store:
        Collection.create(store, "docs", HashEncoder(16)).add([Record(id="1", text="one")])
    return scratch / "index"


def run(folder: Path, name: str) -> list[str]:
    """Run a function of ``fork_child.py``, and return the lines that it says."""
    script = Path(__file__).with_name("fork_child.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(folder), name],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_every_method_of_an_inherited_store_is_refused(filled: Path) -> None:
    assert run(filled, "every_method") == ["ended 0", "count 51"]


def test_children_that_end_in_any_way_do_not_touch_the_parents_files(filled: Path) -> None:
    assert run(filled, "both_write_and_close") == ["ended 0 0 0 0", "count 101 found 101"]


def test_a_child_connects_anew_once_the_parent_has_closed(filled: Path) -> None:
    opening, dropping, *others = run(filled, "connect_in_the_child")
    assert "is locked, because another process has it open" in opening
    assert "is locked, because another process has it open" in dropping
    assert others == ["child 2 1", "ended 0", "count 2 docs other"]


def test_a_child_does_not_keep_locked_what_its_parent_has_closed(filled: Path) -> None:
    assert run(filled, "lock_of_a_closed_parent") == ["count 1", "ended 0"]


def test_forked_workers_of_a_pool_use_stores_of_their_own(filled: Path) -> None:
    assert run(filled, "multiprocessing_pool") == ["pool 1 True 1 True 1 True 1 True", "count 1"]
