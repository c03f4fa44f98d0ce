"""Judge the state of a collection: replicas, the vector index, precisions, disk space.

What a server alone has (strict mode, payload indexes, widths) is judged in ``server_health.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from decant.embedders import StoreError
from decant.embedders.doctor import Finding, Health

from ..edge.disk_space import MARGIN
from ..points.provenance import Filling, read_fillings
from ..stores.protocol import Store
from .state import CollectionState, ShardReplica

_MANY = 50_000  # points above which comparing a query with all of them takes long on Edge
_MIB = 2**20


def judge_replicas(name: str, replicas: Sequence[ShardReplica]) -> Iterator[Finding]:
    """Yield what is found of the replicas of a collection; nothing if they are not known."""
    if not replicas:
        return
    topic = f"{name}: replicas"
    shards = {one.shard for one in replicas}
    alive = {one.shard for one in replicas if one.is_active}
    failed = [one for one in replicas if not one.is_active]
    shown = ", ".join(f"shard {one.shard} on peer {one.peer} is {one.state}" for one in failed)
    if not failed:
        said = f"{len(shards)} shards, {len(replicas)} replicas, all active"
        yield _finding(topic, Health.GOOD, said)
    elif shards - alive:
        advice = "start the nodes that are down; searches and writes fail until then"
        yield _finding(topic, Health.PROBLEM, f"a shard has no active replica: {shown}", advice)
    elif any(one.state == "Dead" for one in failed):
        advice = "start the node, or see its log; the other replicas answer meanwhile"
        yield _finding(topic, Health.PROBLEM, shown, advice)
    else:
        yield _finding(topic, Health.NOTE, f"{shown}: the server is moving or restoring it")


def find_precisions(store: Store, name: str) -> Finding:
    """Read the notes of what filled a collection, and judge them."""
    try:
        return judge_precisions(name, read_fillings(store, store.find(name).name))
    except StoreError as error:
        return _finding(f"{name}: precisions", Health.NOTE, f"cannot be read: {error}")


def judge_precisions(name: str, fillings: Sequence[Filling]) -> Finding:
    """Return what is found of the precisions of the vectors that are compared with each other."""
    topic = f"{name}: precisions"
    precisions = sorted({one.precision for one in fillings if one.is_known})
    if len(precisions) > 1:
        return _finding(
            topic,
            Health.NOTE,
            f"its vectors are of several: {', '.join(map(str, fillings))}",
            "they are comparable, and differ by rounding; index all documents into a new "
            "collection in one precision if that matters",
        )
    shown = ", ".join(map(str, fillings)) or "nothing was written yet, or by an older decant"
    return _finding(topic, Health.GOOD, f"filled by {shown}" if fillings else shown)


def judge_folder(name: str, state: CollectionState) -> Iterator[Finding]:
    """Yield what is found of the vector index and the disk of a collection in a folder."""
    if state.points >= _MANY and state.indexed_vectors < state.points:
        yield _finding(
            f"{name}: vector index",
            Health.NOTE,
            f"{state.indexed_vectors:,} vectors of {state.points:,} points are in it; searches "
            "compare the others one by one",
            "collection.optimize() builds it",
        )
    assert state.free_bytes is not None, "the state of a folder has it"
    assert state.disk_bytes is not None, "the state of a folder has it"
    held, free = state.disk_bytes, state.free_bytes
    topic, said = f"{name}: disk", f"it takes {_mib(held)}, and {_mib(free)} are free"
    if free < MARGIN:
        advice = f"free some: below {_mib(MARGIN)} every write is refused"
        yield _finding(topic, Health.PROBLEM, said, advice)
    elif free < MARGIN + held:
        advice = "free some: optimizing and changing the layout rewrite the whole collection"
        yield _finding(topic, Health.NOTE, said, advice)
    else:
        yield _finding(topic, Health.GOOD, said)


def _mib(count: int) -> str:
    return f"{count / _MIB:,.1f} MiB"


def _finding(name: str, health: Health, detail: str, advice: str = "") -> Finding:
    return Finding(topic="store", name=name, health=health, detail=detail, advice=advice)
