"""Token vectors on the command line: ``index --token-vectors`` and ``search --late``."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import Choices, Pooling
from decant.export import export
from late_models import TOKEN_WIDTH, save_colbert

pytestmark = pytest.mark.slow  # exports a model; tests of the library are in tests/integrations


@pytest.fixture(scope="module")
def colbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a model of ColBERT's kind."""
    folder = tmp_path_factory.mktemp("colbert")
    export(save_colbert(folder / "model"), folder / "bundle", choices=Choices(pooling=Pooling.MEAN))
    return folder / "bundle"


@pytest.mark.parametrize(
    ("option", "most"), [(("--token-vectors",), None), (("--pool-tokens", 4), 4)]
)
def test_hits_are_ordered_by_the_vectors_of_their_tokens(
    decant: Decant, colbert: Path, notes: Path, option: tuple[object, ...], most: int | None
) -> None:
    ran = decant("index", colbert, notes, *option, "--max-tokens-per-chunk", 30)
    assert ran.code == Exit.OK, ran.err
    listed = decant("list", "--json").json["collections"]
    assert isinstance(listed, list)
    assert listed[0]["token_vectors"] == {"dim": TOKEN_WIDTH, "pool_to": most}
    ran = decant("search", colbert, "the ferry", "--late", "--json")
    assert ran.code == Exit.OK, ran.err
    hits = ran.json["hits"]
    assert isinstance(hits, list)
    branches = [{branch["name"]: branch for branch in hit["branches"]} for hit in hits]
    assert [branch["late"]["rank"] for branch in branches] == [*range(1, len(hits) + 1)]
    assert [branch["late"]["score"] for branch in branches] == [hit["score"] for hit in hits]
    shown = decant("search", colbert, "the ferry", "--late", "--explain")
    assert "late" in shown.out


def test_a_collection_without_them_says_how_to_get_them(
    decant: Decant, colbert: Path, notes: Path
) -> None:
    assert decant("index", colbert, notes, "--max-tokens-per-chunk", 30).code == Exit.OK
    ran = decant("search", colbert, "the ferry", "--late")
    assert ran.code != Exit.OK
    assert "--token-vectors" in ran.err
