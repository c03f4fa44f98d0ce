"""One process at a time holds the lease of a collection, and a dead one loses it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Document, RemoteStore
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.writing.lease import (
    LeaseNotes,
    LeaseTimes,
    RemoteLease,
    take_lease,
)
from qdrant_double import QdrantDouble, reached

ENCODER = HashEncoder(8)
DOCUMENTS = [Document(source="a", text="about the sea", root="r")]


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def times(clock: Clock) -> LeaseTimes:
    """Return times by that clock; the thread renews nothing while a test lasts."""
    return LeaseTimes(lapse=30, renewal=3_600, longest_wait=100, sleep=clock.sleep, clock=clock)


@pytest.fixture
def notes(double: QdrantDouble) -> Iterator[LeaseNotes]:
    with reached(double) as store:
        Collection.create(store, "docs", ENCODER)
        yield LeaseNotes("docs", store.requests.client, store.requests.ask)


def test_each_holder_has_a_larger_run_and_larger_versions(
    notes: LeaseNotes, times: LeaseTimes
) -> None:
    versions = []
    for mark in ("one", "two", "one"):
        lease = take_lease(notes, mark, times)
        versions += [lease.stamp(), lease.stamp()]
        lease.release()
        assert lease.stamp() is None
    assert versions == sorted({version for version in versions if version})


def test_who_waits_too_long_is_told_who_writes_and_since_when(
    notes: LeaseNotes, times: LeaseTimes, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    holder = take_lease(notes, "one", times)
    renewed = 0

    def sleep(seconds: float) -> None:
        nonlocal renewed
        clock.sleep(seconds)
        if clock.now // 20 > renewed:
            renewed += 1
            holder._renew()

    waiting = LeaseTimes(lapse=30, renewal=3_600, longest_wait=100, sleep=sleep, clock=clock)
    with pytest.raises(StoreError, match=r"process \d+ on .+ writes since 2\d{3}-.+100 s"):
        take_lease(notes, "two", waiting)
    assert holder.stamp() is not None
    assert "waiting to write to 'docs'" in caplog.text


def test_a_dead_holder_loses_the_lease_after_its_time(
    notes: LeaseNotes, times: LeaseTimes, clock: Clock
) -> None:
    dead = take_lease(notes, "one", times)
    next_one = take_lease(notes, "two", times)
    assert 30 <= clock.now < 31
    assert next_one.run == dead.run + 1
    with pytest.raises(StoreError, match="did not renew it for 30 s"):
        dead.stamp()


def test_a_holder_that_slept_goes_on_if_nobody_took_the_lease(
    notes: LeaseNotes, times: LeaseTimes, clock: Clock
) -> None:
    lease = take_lease(notes, "one", times)
    first = lease.stamp()
    clock.sleep(1_000)
    second = lease.stamp()
    assert first is not None
    assert second == first + 1


def test_the_same_process_takes_its_own_lease_at_once(
    notes: LeaseNotes, times: LeaseTimes, clock: Clock
) -> None:
    take_lease(notes, "one", times).release(StoreError("no answer"))
    again = take_lease(notes, "one", times)
    assert clock.now == 0
    again.release(StoreError("no answer"))
    take_lease(notes, "two", times)
    assert clock.now >= 30, "another one waits until the lease lapses"


def test_of_many_that_take_it_at_once_one_gets_it(notes: LeaseNotes) -> None:
    times = LeaseTimes(longest_wait=0)

    def take(number: int) -> RemoteLease | None:
        try:
            return take_lease(notes, f"process {number}", times)
        except StoreError:
            return None

    with ThreadPoolExecutor(6) as pool:
        taken = [lease for lease in pool.map(take, range(6)) if lease is not None]
    assert len(taken) == 1
    taken[0].release()


def test_another_process_is_refused_while_a_run_is_under_way(double: QdrantDouble) -> None:
    with reached(double) as store:
        docs = Collection.create(store, "docs", ENCODER)
        # By another name of this machine, so that this process takes it for another server.
        url = double.url.replace("127.0.0.1", "localhost")
        client = QdrantClient(url=url, check_compatibility=False)
        other = RemoteStore(Server(client, owned=True), lease=LeaseTimes(longest_wait=0))
        with other:
            others = Collection.open(other, "docs", ENCODER)
            refused: list[str] = []

            def delete(_report: object) -> None:
                with pytest.raises(StoreError) as caught:
                    others.delete_source("a")
                refused.append(str(caught.value))

            docs.index(DOCUMENTS, progress=delete)
            assert refused
            assert all("one process at a time indexes or deletes" in text for text in refused)
            assert others.delete_source("a") == 1
        assert docs.count() == 0


def test_a_deletion_within_a_run_of_the_same_process_does_not_wait(double: QdrantDouble) -> None:
    with reached(double) as store:
        docs = Collection.create(store, "docs", ENCODER)
        docs.index(DOCUMENTS)
        removed = []
        docs.index(
            [Document(source="b", text="about the sky", root="s")],
            progress=lambda _: removed.append(docs.delete_source("a")),
        )
        assert sum(removed) == 1
