"""A migrating process that is killed with -9 at any moment: the next one completes its work."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from decant.integrations.qdrant import Collection, Store, Tenants, connect
from migration_scene import (
    NEW,
    OLD,
    SETTINGS,
    Contents,
    contents,
    contents_of,
    documents,
    fill,
    migrate_now,
    records,
)

SECONDS_A_TEXT = 0.02
SUPPORT = Path(__file__).parents[3] / "support"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A collection to migrate, and what an undisturbed migration makes of it."""

    begun: Path
    expected: Contents
    names: list[str]
    seconds: float


def start(index: Path) -> subprocess.Popen[str]:
    """Start a migration in a process of its own, and return when it has begun."""
    paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kill_child.py")), str(index),
         str(SECONDS_A_TEXT)],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    return child


def end(child: subprocess.Popen[str]) -> bool:
    """Wait for the end of a process, and return whether it had finished its work."""
    assert child.stdout is not None
    said = child.stdout.read()
    child.stdout.close()
    child.wait(30)
    return said == "ended\n"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("migrations")
    with connect(folder / "begun") as store:
        fill(Collection.create(store, "docs", OLD, settings=SETTINGS), count=30)
    shutil.copytree(folder / "begun", folder / "timed")
    child = start(folder / "timed")
    started = time.perf_counter()
    assert child.stdout is not None
    assert child.stdout.readline() == "ended\n"
    seconds = time.perf_counter() - started
    end(child)
    with connect(folder / "timed") as store:
        yield Scene(
            begun=folder / "begun",
            expected=contents(store, "docs"),
            names=store.names(),
            seconds=seconds,
        )


def kill_at(moment: float, scene: Scene, index: Path) -> bool:
    """Kill a migration at a moment, complete it, and return whether it was not over before."""
    child = start(index)
    time.sleep(moment)
    child.kill()
    was_killed = not end(child)
    with connect(index) as store:
        migrate_now(store)
        assert contents(store, "docs") == scene.expected
        assert store.names() == scene.names
        docs = Collection.open(store, "docs", NEW)
        assert docs.check().is_sound
        assert docs.search("the record 7 of the year 7", limit=1)[0].id == "record-7"
    return was_killed


def check_moments(count: int, scene: Scene, scratch: Path) -> None:
    killed = 0
    for number in range(count):
        index = scratch / f"killed-{number}"
        shutil.copytree(scene.begun, index)
        killed += kill_at(random.uniform(0, scene.seconds), scene, index)
        shutil.rmtree(index)
    assert killed >= count // 4, "most of the runs were killed before they ended"


@pytest.mark.slow
def test_killed_at_random_moments_the_next_one_ends_like_an_undisturbed_one(
    scene: Scene, scratch: Path
) -> None:
    check_moments(4, scene, scratch)


@pytest.mark.slow
def test_killed_at_fifty_random_moments(scene: Scene, scratch: Path) -> None:
    check_moments(50, scene, scratch)


def of_tenants(store: Store) -> dict[str, Contents]:
    """Return what each tenant has; the ids of their points differ by the key of each collection."""
    return {tenant: contents_of(store, tenant) for tenant in ("acme", "globex")}


@pytest.mark.slow
def test_with_tenants_killed_at_fifty_random_moments(scratch: Path) -> None:
    with connect(scratch / "begun") as store:
        docs = Collection.create(store, "docs", OLD, settings=replace(SETTINGS, tenants=Tenants()))
        fill(docs.tenant("acme"), count=30)
        docs.tenant("globex").add(records(*range(30, 90)))
        docs.tenant("globex").index(documents(*range(12), salt=3))
    shutil.copytree(scratch / "begun", scratch / "whole")
    started = time.perf_counter()
    assert end(start(scratch / "whole"))
    seconds = time.perf_counter() - started
    with connect(scratch / "whole") as store:
        expected, names = of_tenants(store), store.names()
    killed = 0
    for number in range(50):
        index = scratch / f"killed-{number}"
        shutil.copytree(scratch / "begun", index)
        child = start(index)
        time.sleep(random.uniform(0, seconds))
        child.kill()
        killed += not end(child)
        with connect(index) as store:
            migrate_now(store)
            assert of_tenants(store) == expected
            assert store.names() == names
            view = Collection.open(store, "docs", NEW).tenant("globex")
            assert view.check().is_sound
        shutil.rmtree(index)
    assert killed >= 12


def test_killed_again_and_again_it_still_ends_like_an_undisturbed_one(
    scene: Scene, scratch: Path
) -> None:
    index = scratch / "killed"
    shutil.copytree(scene.begun, index)
    for _ in range(3):
        child = start(index)
        time.sleep(random.uniform(0, scene.seconds / 2))
        child.kill()
        end(child)
    with connect(index) as store:
        migrate_now(store)
        assert contents(store, "docs") == scene.expected
        assert store.names() == scene.names
