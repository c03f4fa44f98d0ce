"""Fusing rankings: against naive formulas, and what weights, ties and pages promise."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import StoreError
from decant.integrations.qdrant import BranchScore, Fusion, FusionMethod
from decant.integrations.qdrant.searching.candidates import Rankings
from decant.integrations.qdrant.searching.fusion import (
    fuse,
)
from decant.integrations.qdrant.stores.protocol import Ranking

NAMES = ("dense", "sparse", "words")
FUSIONS = [Fusion(method=method) for method in FusionMethod] + [Fusion.rrf(k=1)]


@st.composite
def rankings(draw: st.DrawFn) -> dict[str, Ranking]:
    """Return up to three rankings of few ids, with scores that are often equal."""
    found: dict[str, Ranking] = {}
    for name in draw(st.sets(st.sampled_from(NAMES), min_size=1)):
        ids = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8))
        scores = draw(
            st.lists(
                st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(-50, 50)),
                min_size=len(ids),
                max_size=len(ids),
            )
        )
        found[name] = list(zip(ids, sorted(scores, reverse=True), strict=True))
    return found


def naive(rankings: Mapping[str, Ranking], fusion: Fusion, ended: set[str]) -> dict[str, float]:
    """Return the fused scores, formula by formula, as the papers write them."""
    total: dict[str, float] = {}
    for name, ranking in rankings.items():
        values = np.array([score for _, score in ranking], np.float64)
        if fusion.method is FusionMethod.DBSF and name in ended:
            others = {one for other in rankings.values() for one, _ in other}
            values = np.append(values, np.zeros(len(others) - len(values)))
        for place, (identity, score) in enumerate(ranking):
            if fusion.method is FusionMethod.RRF:
                part = 1 / (fusion.k + place + 1)
            elif len(values) == 1 or values.std(ddof=1) == 0:
                part = 0.5 if fusion.method is FusionMethod.DBSF else 1.0
            elif fusion.method is FusionMethod.DBSF:
                low = values.mean() - 3 * values.std(ddof=1)
                high = values.mean() + 3 * values.std(ddof=1)
                part = max(0.0, float((score - low) / (high - low)))
            else:
                part = float((score - values.min()) / (values.max() - values.min()))
            total[identity] = total.get(identity, 0.0) + fusion.weights.get(name, 1.0) * part
    return total


@given(
    rankings(),
    st.sampled_from(FUSIONS),
    st.floats(0, 4),
    st.sets(st.sampled_from(["sparse", "words"])),
)
def test_scores_are_those_of_the_formulas(
    found: dict[str, Ranking], fusion: Fusion, weight: float, ended: set[str]
) -> None:
    weighted = Fusion(method=fusion.method, k=fusion.k, weights={"words": weight})
    expected = naive(found, weighted, ended)
    fused = dict(fuse(found, weighted, ended=ended))
    assert fused.keys() == expected.keys()
    for identity, score in fused.items():
        assert math.isclose(score, expected[identity], rel_tol=1e-6, abs_tol=1e-6)


@given(rankings(), st.sampled_from(FUSIONS))
def test_the_best_come_first_and_equal_ones_by_id(
    found: dict[str, Ranking], fusion: Fusion
) -> None:
    order = [(-score, identity) for identity, score in fuse(found, fusion)]
    assert order == sorted(order)
    turned = dict(reversed(found.items()))
    assert fuse(turned, fusion) == fuse(found, fusion)


@given(rankings(), st.sampled_from(FUSIONS), st.sampled_from(NAMES))
def test_doubling_a_weight_never_lowers_what_only_this_branch_ranks_higher(
    found: dict[str, Ranking], fusion: Fusion, favoured: str
) -> None:
    before = [identity for identity, _ in fuse(found, fusion)]
    doubled = Fusion(method=fusion.method, k=fusion.k, weights={favoured: 2.0})
    after = [identity for identity, _ in fuse(found, doubled)]
    places = {identity: place for place, (identity, _) in enumerate(found.get(favoured, []))}
    for one, place in places.items():
        for other in before:
            higher = place < places.get(other, len(places))
            if higher and before.index(one) < before.index(other):
                assert after.index(one) < after.index(other)


def test_a_weight_outweighs_the_other_branch() -> None:
    """Qdrant's own formula gives the order of the branch with the smaller weight here."""
    found = {"dense": [(name, 1.0) for name in "abcde"], "words": [(name, 1.0) for name in "edcba"]}
    for k in (1, 20, 60):
        assert fuse(found, Fusion.rrf(k=k, weights={"dense": 3}))[0][0] == "a"
        assert fuse(found, Fusion.rrf(k=k, weights={"words": 3}))[0][0] == "e"


@given(rankings())
def test_every_hit_says_what_its_branches_thought(found: dict[str, Ranking]) -> None:
    for hit, _ in fuse(found, Fusion()):
        assert {*Rankings(named=found).branches(hit)} == {
            BranchScore(name=name, rank=place, score=score)
            for name, ranking in found.items()
            for place, (identity, score) in enumerate(ranking, 1)
            if identity == hit
        }


@pytest.mark.parametrize("wrong", [{"k": 0}, {"depth": 0}, {"weights": {"words": -1.0}}])
def test_an_impossible_fusion_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(StoreError, match=r"at least|from 1"):
        Fusion(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_few_passages_that_hold_a_name_come_before_those_that_resemble_it(count: int) -> None:
    found: dict[str, Ranking] = {
        "dense": [(f"near-{place:03}", 0.4 - place / 1_000) for place in range(100)],
        "words": [(f"named-{place}", 8.0 - place) for place in range(count)],
    }
    best = [identity for identity, _ in fuse(found, Fusion(), ended={"words"})]
    assert best[:count] == [f"named-{place}" for place in range(count)]
