"""Two tenants call every public method at random, and nothing of one is seen or changed by another.

Each view is compared, call by call, with a collection of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    FieldType,
    Layout,
    PayloadIndex,
    Store,
    TenantError,
    Tenants,
    connect,
)
from qdrant_double import serve
from tenant_calls import CALLS, comparable, draw

TENANTS = ("acme", "globex")
INDEXED_ONLY = {"unindexed_filtering_retrieve": False, "unindexed_filtering_update": False}
MAKERS = {"adopt", "create", "open", "open_or_create"}
CHOOSING = {"tenant", "for_tenant"}
ADMINISTRATIVE = {
    "tenant_names", "set_search_defaults", "add_index", "relayout", "optimize", "bulk",
}  # fmt: skip
"""Methods that concern all tenants; a view refuses them."""
NEEDING_MORE = {"soft_tokens"}
"""Methods with a test of their own, because most collections refuse them."""
INDEXED = (PayloadIndex(key="n", type=FieldType.INTEGER),)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a tenant sees, and the model of it."""

    view: Collection
    model: Collection


@dataclass(frozen=True, slots=True)
class World:
    """A collection with tenants, and each tenant's view and model."""

    shared: Collection
    pairs: dict[str, Pair]

    @classmethod
    def of(cls, store: Store) -> World:
        encoder = HashEncoder(16)
        shared = Collection.create(
            store,
            "shared",
            encoder,
            settings=CollectionSettings(tenants=Tenants(), indexed=INDEXED),
        )
        alone = CollectionSettings(indexed=INDEXED)
        return cls(
            shared,
            {
                name: Pair(
                    shared.tenant(name), Collection.create(store, name, encoder, settings=alone)
                )
                for name in TENANTS
            },
        )

    def run(self, seed: int, calls: int) -> None:
        """Make random calls, and compare each answer, and at the end all that there is."""
        random = Random(seed)
        for number in range(calls):
            name = random.choice(TENANTS)
            call, pair = draw(random), self.pairs[name]
            got, expected = call.answer(pair.view), call.answer(pair.model)
            assert got == expected, f"seed {seed}, call {number} by {name}: {call}"
        for name, pair in self.pairs.items():
            everything = [comparable(side.each()) for side in (pair.view, pair.model)]
            assert everything[0] == everything[1], f"seed {seed}: what {name} has"

    def empty(self) -> None:
        """Begin anew."""
        for pair in self.pairs.values():
            pair.view.clear()
            pair.model.clear()


@pytest.fixture(params=["edge", "local", "strict server"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "strict server":
        with serve(INDEXED_ONLY, version="1.20.0") as store:
            yield World.of(store)
    else:
        yield World.of(request.getfixturevalue(request.param))


@pytest.mark.parametrize("seed", range(3))
def test_no_call_crosses_tenants(world: World, seed: int) -> None:
    world.run(seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_ten_thousand_sequences_cross_nothing(block: int) -> None:
    with connect(QdrantClient(":memory:")) as store:
        world = World.of(store)
        for number in range(1_000):
            world.run(1_000 * block + number, 4)
            if number % 10 == 9:  # the others begin with what is there
                world.empty()


def test_every_public_method_is_called_or_named_as_administrative() -> None:
    public = {
        name for name, held in inspect.getmembers(Collection, callable) if not name.startswith("_")
    }
    sync = CALLS.keys() | MAKERS | CHOOSING | ADMINISTRATIVE | NEEDING_MORE
    assert public == sync | {f"a{name}" for name in sync if hasattr(Collection, f"a{name}")}


@pytest.mark.parametrize("method", sorted(CALLS.keys() - {"keep_golden_vectors"}))
def test_without_a_tenant_nothing_is_read_or_changed(world: World, method: str) -> None:
    world.pairs["acme"].view.add([])
    arguments, options = CALLS[method](Random(0))
    with pytest.raises(TenantError, match=r'collection\.tenant\("…"\)'):
        comparable(getattr(world.shared, method)(*arguments, **options))


def test_a_view_refuses_what_concerns_all_tenants(edge: Store) -> None:
    world = World.of(edge)
    view = world.pairs["acme"].view
    refused = {
        "set_search_defaults": (None,),
        "add_index": (PayloadIndex(key="m"),),
        "relayout": (Layout(storage="int8"),),  # type: ignore[arg-type]
        "optimize": (),
        "tenant_names": (),
    }
    assert refused.keys() | {"bulk"} == ADMINISTRATIVE
    with pytest.raises(TenantError, match="that of all tenants"), view.bulk():
        pass
    for method, arguments in refused.items():
        with pytest.raises(TenantError):
            getattr(view, method)(*arguments)
    for method in CHOOSING:
        with pytest.raises(TenantError, match="leads to no other"):
            getattr(view, method)("globex")
    with pytest.raises(TenantError, match="concerns all tenants"):
        view.store.drop("shared")
    world.shared.optimize()
    world.shared.add_index(PayloadIndex(key="m"))
