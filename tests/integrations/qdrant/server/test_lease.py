"""One process at a time holds the lease of a collection, and a dead one loses it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    RemoteStore,
    Store,
    Tenants,
)
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.writing.lease import (
    LeaseNotes,
    LeaseTimes,
    RemoteLease,
    take_lease,
)
from decant.integrations.qdrant.stores.changes import LEASE_ID, Owner
from decant.integrations.qdrant.tenants.tenant_ids import TenantIds
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


@pytest.fixture(params=["", "acme"])
def tenant(request: pytest.FixtureRequest) -> str:
    """Return whose collection it is: nobody's, and a tenant's."""
    found: str = request.param
    return found


def made(store: Store, tenant: str) -> Collection:
    """Make a collection, and return the view of a tenant, if one is given."""
    settings = CollectionSettings(tenants=Tenants() if tenant else None)
    docs = Collection.create(store, "docs", ENCODER, settings=settings)
    return docs.for_tenant(tenant or None)


def notes_of(store: RemoteStore, tenant: str) -> LeaseNotes:
    """Return what reads and replaces the note that a collection, or a tenant in it, has."""
    owner = Owner()
    if tenant:
        ids = TenantIds(store.card("docs").tenant_key, tenant)
        owner = Owner(tenant=tenant, lease_id=ids.stored(LEASE_ID))
    return LeaseNotes("docs", store.requests.client, store.requests.ask, owner)


@pytest.fixture
def notes(double: QdrantDouble, tenant: str) -> Iterator[LeaseNotes]:
    with reached(double) as store:
        made(store, tenant)
        yield notes_of(store, tenant)


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
    assert f"waiting to write to {notes}: process" in caplog.text


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


def test_another_process_is_refused_while_a_run_is_under_way(
    double: QdrantDouble, tenant: str
) -> None:
    with reached(double) as store:
        docs = made(store, tenant)
        # By another name of this machine, so that this process takes it for another server.
        url = double.url.replace("127.0.0.1", "localhost")
        client = QdrantClient(url=url, check_compatibility=False)
        other = RemoteStore(Server(client, owned=True), lease=LeaseTimes(longest_wait=0))
        with other:
            others = Collection.open(other, "docs", ENCODER).for_tenant(tenant or None)
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


def test_no_tenant_waits_for_another(double: QdrantDouble) -> None:
    with reached(double) as store:
        acme = made(store, "acme")
        url = double.url.replace("127.0.0.1", "localhost")
        client = QdrantClient(url=url, check_compatibility=False)
        other = RemoteStore(Server(client, owned=True), lease=LeaseTimes(longest_wait=0))
        with other:
            docs = Collection.open(other, "docs", ENCODER)
            done: list[int] = []

            def index(_report: object) -> None:
                """Write as another process for another tenant, while this one holds its lease."""
                globex = docs.tenant("globex")
                done.append(globex.index(DOCUMENTS).documents)
                with pytest.raises(StoreError, match="'docs' of the tenant 'acme' was not free"):
                    docs.tenant("acme").delete_source("a")

            acme.index(DOCUMENTS, progress=index)
            assert done
            assert notes_of(store, "acme").read() != notes_of(store, "globex").read()
            assert notes_of(store, "").read() is None
            assert acme.count() == docs.tenant("globex").count() == 1
            assert docs.tenant("globex").check().is_sound


def test_a_dedicated_shard_holds_the_lease_of_its_tenant(double: QdrantDouble) -> None:
    settings = CollectionSettings(tenants=Tenants(dedicated=("acme",)))
    with reached(double, lease=LeaseTimes(longest_wait=0)) as store:
        docs = Collection.create(store, "docs", ENCODER, settings=settings)
        acme = docs.tenant("acme")
        double.asked.clear()
        acme.index(DOCUMENTS)
        assert acme.delete_source("a") == 1
        taken = [
            asked.body
            for asked in double.asked
            if asked.body
            and any(one["payload"].get("note") == "writer" for one in _points(asked.body))
        ]
        assert len(taken) >= 4
        assert {body["shard_key"]["target"] for body in taken} == {"acme"}
        note = notes_of(store, "acme").read()
        assert note is not None
        assert note.run == 2


def _points(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in body.get("points", []) if isinstance(one, dict)]


def test_a_deletion_within_a_run_of_the_same_process_does_not_wait(
    double: QdrantDouble, tenant: str
) -> None:
    with reached(double) as store:
        docs = made(store, tenant)
        docs.index(DOCUMENTS)
        removed = []
        docs.index(
            [Document(source="b", text="about the sky", root="s")],
            progress=lambda _: removed.append(docs.delete_source("a")),
        )
        assert sum(removed) == 1
