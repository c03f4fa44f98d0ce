"""How the options of a search are read."""

from __future__ import annotations

import pytest
import typer

from decant.cli.input.search_options import read_fusion, read_mode
from decant.integrations.qdrant import Fusion, FusionMethod, SearchDefaults, SearchMode

STORED = SearchDefaults(mode=SearchMode.HYBRID, fusion=Fusion.relative(weights={"dense": 0.7}))


@pytest.mark.parametrize(
    ("name", "weights", "defaults", "fusion"),
    [
        (None, [], None, None),
        (None, [], STORED, None),
        (None, ["words=2"], None, Fusion.dbsf(weights={"words": 2})),
        (None, ["words=2"], STORED, Fusion.relative(weights={"dense": 0.7, "words": 2})),
        ("rrf", ["words=2"], STORED, Fusion.rrf(weights={"words": 2})),
        ("dbsf", [], STORED, Fusion.dbsf()),
    ],
)
def test_a_weight_alone_changes_the_fusion_that_is_stored(
    name: str | None,
    weights: list[str],
    defaults: SearchDefaults | None,
    fusion: Fusion | None,
) -> None:
    assert read_fusion(name, weights, defaults) == fusion


def test_unknown_names_are_refused() -> None:
    assert read_mode("words") is SearchMode.WORDS
    with pytest.raises(typer.BadParameter, match="sum"):
        read_fusion("sum", [], None)
    with pytest.raises(typer.BadParameter, match="best"):
        read_mode("best")
    assert {*FusionMethod} == {"rrf", "dbsf", "relative"}
