"""An indexing process that is killed with -9 loses nothing: the next run completes its work."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Field,
    FieldIn,
    Select,
    Store,
    connect,
    read_documents,
)
from decant.integrations.qdrant.stores.protocol import each

SMALL = Chunking(max_tokens=8)
SECONDS_A_TEXT = 0.002


def version(*sources: int, salt: int = 0) -> dict[str, str]:
    """Return documents whose chunks partly repeat, within one and among several."""
    return {
        f"doc-{number}": "\n\n".join(
            f"paragraph {part} of the topic t{(number * part + salt) % 7} and more"
            for part in range(number % 5)
        )
        for number in sources
    }


def contents(store: Store) -> dict[str, tuple[object, object]]:
    """Return every point of the collection, markers too, with payload and vector."""
    everything = FieldIn(Field.KIND, ["chunk", "record", "document"])
    return {
        point.id: (point.payload, None if point.dense is None else point.dense.tolist())
        for page in each(store, "docs", everything, Select(dense=True))
        for point in page
    }


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Texts to index, the index to begin with, and what an undisturbed run makes of them."""

    texts: Path
    begun: Path
    expected: dict[str, tuple[object, object]]
    seconds: float

    def copy(self, folder: Path) -> Path:
        """Return a copy of the index to begin with."""
        shutil.copytree(self.begun, folder)
        return folder


def start(texts: Path, index: Path) -> subprocess.Popen[str]:
    """Start indexing in a process of its own, and return when it has begun."""
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kill_child.py")), str(texts), str(index),
         str(SECONDS_A_TEXT)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir()
    for source, text in texts.items():
        (folder / source).write_text(text)


def index_now(texts: Path, index: Path) -> dict[str, tuple[object, object]]:
    """Index without delay and return what is there."""
    with connect(index) as store:
        collection = Collection.open_or_create(store, "docs", HashEncoder(16))
        collection.index(read_documents(texts, root="r"), chunking=SMALL)
        return contents(store)


@pytest.fixture(params=["changed", pytest.param("new", marks=pytest.mark.slow)])
def scene(request: pytest.FixtureRequest, scratch: Path) -> Scene:
    """Return an index that is empty, and one whose texts have changed."""
    old, new = version(*range(300)), version(*range(20, 320), salt=3)
    write(scratch / "old", {name: text + f"\n\nend of {name}" for name, text in old.items()})
    write(scratch / "new", {name: text + f"\n\nlast of {name}" for name, text in new.items()})
    begun = scratch / "begun"
    if request.param == "new":
        begun.mkdir()
    else:
        index_now(scratch / "old", begun)
    shutil.copytree(begun, scratch / "timed")
    child = start(scratch / "new", scratch / "timed")
    started = time.perf_counter()
    assert child.wait(120) == 0
    seconds = time.perf_counter() - started
    expected = index_now(scratch / "new", scratch / "expected")
    assert child.stdout is not None
    child.stdout.close()
    return Scene(texts=scratch / "new", begun=begun, expected=expected, seconds=seconds)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_next_run_ends_like_an_undisturbed_one(
    scene: Scene, scratch: Path, kills: int
) -> None:
    interrupted = 0
    for moment in range(kills):
        index = scene.copy(scratch / f"killed-{moment}")
        child = start(scene.texts, index)
        time.sleep(random.uniform(0, scene.seconds))
        child.kill()
        assert child.stdout is not None
        interrupted += child.stdout.read() == ""
        child.stdout.close()
        child.wait(20)
        assert index_now(scene.texts, index) == scene.expected
        shutil.rmtree(index)
    assert interrupted >= 2, "most of the runs were killed before they ended"


@pytest.mark.slow
def test_killed_again_and_again_it_still_ends_like_an_undisturbed_one(
    scene: Scene, scratch: Path
) -> None:
    index = scene.copy(scratch / "killed")
    for _ in range(3):
        child = start(scene.texts, index)
        time.sleep(random.uniform(0, scene.seconds / 2))
        child.kill()
        child.wait(20)
        assert child.stdout is not None
        child.stdout.close()
    assert index_now(scene.texts, index) == scene.expected
