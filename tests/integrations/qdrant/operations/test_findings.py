"""What is judged of replicas, precisions and disks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decant.embedders.doctor import Health
from decant.integrations.qdrant import CollectionState, Filling, ShardReplica
from decant.integrations.qdrant.edge.disk_space import MARGIN
from decant.integrations.qdrant.operations.findings import (
    judge_folder,
    judge_precisions,
    judge_replicas,
)

FOLDER = CollectionState(
    points=100,
    indexed_vectors=0,
    segments=1,
    vectors=(),
    payload_indexes=(),
    disk_bytes=MARGIN,
    free_bytes=3 * MARGIN,
)


def replicas(*states: str, shards: int = 1) -> list[ShardReplica]:
    return [
        ShardReplica(shard=place % shards, peer=place, state=state)
        for place, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("found", "health", "said"),
    [
        (replicas("Active", "Active"), Health.GOOD, "1 shards, 2 replicas, all active"),
        (replicas("Active", "Dead"), Health.PROBLEM, "shard 0 on peer 1 is Dead"),
        (replicas("Active", "Partial"), Health.NOTE, "shard 0 on peer 1 is Partial"),
        (replicas("Active", "Recovery", shards=2), Health.PROBLEM, "no active replica"),
    ],
)
def test_replicas_are_judged_by_what_still_answers(
    found: list[ShardReplica], health: Health, said: str
) -> None:
    (finding,) = judge_replicas("docs", found)
    assert (finding.name, finding.health) == ("docs: replicas", health)
    assert said in finding.detail


def test_nothing_is_said_of_replicas_that_are_not_known() -> None:
    assert not [*judge_replicas("docs", [])]


def test_several_precisions_are_a_note_and_unknown_ones_do_not_count() -> None:
    fp32, int8 = Filling("fp32", "CPU"), Filling("int8", "CPU")
    given = Filling("given")
    assert judge_precisions("docs", [fp32, given]).health is Health.GOOD
    mixed = judge_precisions("docs", [fp32, int8])
    assert mixed.health is Health.NOTE
    assert "fp32 on CPU, int8 on CPU" in mixed.detail


@pytest.mark.parametrize(
    ("free", "health"),
    [(3 * MARGIN, Health.GOOD), (2 * MARGIN - 1, Health.NOTE), (MARGIN - 1, Health.PROBLEM)],
)
def test_a_disk_is_judged_by_what_the_next_write_needs(free: int, health: Health) -> None:
    (finding,) = judge_folder("docs", replace(FOLDER, free_bytes=free))
    assert finding.health is health


def test_a_large_folder_without_a_vector_index_is_a_note() -> None:
    index, _ = judge_folder("docs", replace(FOLDER, points=60_000, indexed_vectors=10))
    assert index.health is Health.NOTE
    assert "10 vectors of 60,000 points" in index.detail
