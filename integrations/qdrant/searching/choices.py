"""The ways of searching a collection among which one is chosen, and the rankings that they make.

Each branch alone, the three fusions at equal weights, and the two that read scores with more or
less weight on dense vectors. They are few on purpose: of many, some query favours each by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..stores.queries import SearchMode
from ..stores.search_defaults import Fusion, FusionMethod, SearchDefaults
from .candidates import Rankings
from .fusion import fuse

_RRF_KS = (1, 2, 60)
_DENSE_WEIGHTS = (0.3, 0.5, 0.7)


def candidates(
    branches: Sequence[SearchMode], present: SearchDefaults
) -> tuple[SearchDefaults, ...]:
    """Return the ways to search a collection, the present one first, each once.

    Args:
        branches: The modes in which one ranking alone is made, as the collection has them.
        present: How it is searched now.
    """
    fusions = [Fusion.dbsf(), Fusion.relative(), *(Fusion.rrf(k=k) for k in _RRF_KS)]
    for dense in _DENSE_WEIGHTS:
        others = [mode for mode in branches if mode is not SearchMode.DENSE]
        other = round((1 - dense) / max(1, len(others)), 6)
        if other == dense:
            continue  # the same ranking as without weights
        weights = {SearchMode.DENSE.value: dense} | {mode.value: other for mode in others}
        fusions += [Fusion.relative(weights=weights), Fusion.dbsf(weights=weights)]
    found = [SearchDefaults(mode=mode) for mode in branches]
    if len(branches) > 1:
        found += [SearchDefaults(mode=SearchMode.HYBRID, fusion=fusion) for fusion in fusions]
    return (present, *(one for one in found if not is_same(one, present)))


def is_same(one: SearchDefaults, other: SearchDefaults) -> bool:
    """Return whether two ways to search give the same rankings, because they mean the same."""
    return one.mode == other.mode and _formula(one.fusion) == _formula(other.fusion)


def _formula(fusion: Fusion | None) -> tuple[object, ...]:
    """Return what a fusion depends on, with the defaults written out."""
    fusion = fusion or Fusion()
    k = fusion.k if fusion.method is FusionMethod.RRF else None
    weights = {name: weight for name, weight in fusion.weights.items() if weight != 1.0}
    return fusion.method, k, weights, fusion.depth


def ranked_ids(candidate: SearchDefaults, rankings: Rankings) -> list[str]:
    """Return the ids that a way of searching finds, best first.

    Args:
        candidate: The way of searching.
        rankings: All that the collection has.
    """
    if candidate.mode is not SearchMode.HYBRID:
        return [identity for identity, _ in rankings.named.get(candidate.mode.value, ())]
    fusion = candidate.fusion or Fusion()
    cut = {name: ranking[: fusion.depth] for name, ranking in rankings.named.items()}
    ended = {name for name in rankings.ended if len(cut[name]) < fusion.depth}
    return [identity for identity, _ in fuse(cut, fusion, ended=ended)]
