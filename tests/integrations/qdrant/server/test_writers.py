"""Several processes that index, delete and search one collection on a server leave it whole.

It is a collection of nobody's, or what one of two tenants has in it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import writer_child
from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    RemoteStore,
    Select,
    Store,
    Tenants,
)
from decant.integrations.qdrant.server.writing.lease import LeaseTimes
from decant.integrations.qdrant.stores.filters import Field, FieldIn
from decant.integrations.qdrant.stores.protocol import each
from qdrant_double import QdrantDouble, reached
from writer_child import SMALL, documents

CHILD = Path(writer_child.__file__)
ENCODER = HashEncoder(8)
SLOW = pytest.mark.slow
EVERYTHING = FieldIn(Field.KIND, ["chunk", "record", "document"])


@pytest.fixture(params=["", pytest.param("acme", marks=SLOW)])
def tenant(request: pytest.FixtureRequest) -> str:
    """Return whose collection it is: nobody's, and a tenant's."""
    found: str = request.param
    return found


def made(store: Store, tenant: str) -> Collection:
    """Make a collection; with a tenant, it is the tenant's view, and another one has the same."""
    if not tenant:
        return Collection.create(store, "docs", ENCODER)
    settings = CollectionSettings(tenants=Tenants())
    docs = Collection.create(store, "docs", ENCODER, settings=settings)
    docs.tenant("globex").index(documents("v1"), chunking=SMALL)
    return docs.tenant(tenant)


def contents(store: Store) -> dict[str, tuple[Any, Any]]:
    """Return what a collection holds for its users."""
    pages = each(store, "docs", EVERYTHING, Select(dense=True))
    return {point.id: (point.payload, point.dense) for page in pages for point in page}


def assert_equal(found: dict[str, tuple[Any, Any]], expected: dict[str, tuple[Any, Any]]) -> None:
    """See that two collections hold the same; vectors that were copied are normalised again."""
    assert {name: one[0] for name, one in found.items()} == {
        name: one[0] for name, one in expected.items()
    }
    for name, (_, vector) in found.items():
        wanted = expected[name][1]
        assert (vector is None) == (wanted is None)
        assert vector is None or np.abs(vector - wanted).max() < 1e-6


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[Any, Any]]:
    """Return the contents of a collection that one process indexed, once."""
    with QdrantDouble() as double, reached(double) as store:
        Collection.create(store, "docs", ENCODER).index(documents("v2"), chunking=SMALL)
        return contents(store)


@contextmanager
def child(double: QdrantDouble, work: str, tenant: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that has the collection open and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), double.url, work, tenant],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_indexers_and_a_deleter_leave_a_whole_collection(
    double: QdrantDouble, server: RemoteStore, tenant: str, expected: dict[str, tuple[Any, Any]]
) -> None:
    docs = made(server, tenant)
    with ExitStack() as stack:
        works = ("v1", "v2", "delete")
        children = [stack.enter_context(child(double, work, tenant)) for work in works]
        for process in children:
            start(process)
        while any(process.poll() is None for process in children):
            for hit in docs.search("a long paragraph about v1", limit=20):
                words = {"v1": ("sea", "sky", "v1"), "v2": ("v2", "sky", "tide", "sun")}
                version = str(hit.metadata["version"])
                assert hit.text.rpartition(" ")[2] in words[version]
        assert [process.returncode for process in children] == [0, 0, 0]
    assert docs.check().is_sound
    docs.index(documents("v2"), chunking=SMALL)
    assert_equal(contents(docs.store), expected)
    assert docs.check().is_sound


def test_a_tenant_indexes_while_another_process_indexes_for_another(
    double: QdrantDouble, server: RemoteStore, expected: dict[str, tuple[Any, Any]]
) -> None:
    acme = made(server, "acme")
    codes: list[int] = []

    def let_it_index(_report: object) -> None:
        """Wait within a run, which holds the lease, for a whole run of another process."""
        if not codes:
            start(process)
            codes.append(process.wait(60))

    with child(double, "v2", "globex") as process:
        acme.index(documents("v2"), chunking=SMALL, progress=let_it_index)
    assert codes == [0]
    globex = Collection.open(server, "docs", ENCODER).tenant("globex")
    for view in (acme, globex):
        assert_equal(contents(view.store), expected)
        assert view.check().is_sound


@pytest.mark.parametrize(
    "requests", [2, pytest.param(5, marks=SLOW), 9, pytest.param(12, marks=SLOW)]
)
def test_a_killed_indexer_loses_the_lease_and_another_completes_its_work(
    double: QdrantDouble, tenant: str, expected: dict[str, tuple[Any, Any]], requests: int
) -> None:
    with reached(double, lease=LeaseTimes(lapse=0.3, renewal=0.1, interval=0.05)) as store:
        docs = made(store, tenant)
        docs.index(documents("v1"), chunking=SMALL)
        with child(double, "v2", tenant) as process:
            left = requests

            def kill(_method: str, _path: str) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    process.kill()

            double.before = kill
            start(process)
            process.wait()
            double.before = lambda _method, _path: None
        docs.index(documents("v2"), chunking=SMALL)
        assert_equal(contents(docs.store), expected)
        assert docs.check().is_sound
