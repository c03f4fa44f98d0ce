"""``decant migrate``: to another model or layout, back, and for good; and what `list` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    Tenants,
    connect,
    summarize,
)

TEXTS = ("the cat sat on the mat", "a dog barks", "rain falls on the hills", "ships sail")


@pytest.fixture
def filled(decant: Decant) -> Decant:
    """Return the command, in a folder whose ``./index`` holds a collection."""
    with connect("./index") as store:
        docs = Collection.create(store, "docs", HashEncoder(8))
        docs.add([Record(id=str(place), text=text) for place, text in enumerate(TEXTS)])
    return decant


def test_a_collection_gets_another_model_goes_back_and_forth_and_drops_the_old_one(
    filled: Decant, tiny_bundle: Path
) -> None:
    task = ("migrate", "./index", "docs", "--provider", "cpu")
    ran = filled(*task, "--to", tiny_bundle, "--yes")
    assert ran.code == Exit.OK, ran.err
    assert "4 texts embedded" in ran.err
    assert "are the same" in ran.err
    assert ran.out.startswith("the name 'docs' means 'docs__")
    listed = filled("list").out
    assert "alias of" in listed
    assert "can be rolled back to" in listed
    assert "already" in filled(*task, "--to", tiny_bundle, "--yes").err
    found = filled("search", tiny_bundle, "cat", "--provider", "cpu", "--json").json
    assert found
    assert "'docs' in" in filled(*task, "--rollback").out
    with connect("./index") as store:
        assert Collection.open(store, "docs", HashEncoder(8)).count() == len(TEXTS)
    shown = filled(*task, "--to", tiny_bundle, "--yes", "--json").json
    assert shown["source"] == "docs"
    kept = filled(*task, "--drop-old", "--yes")
    assert kept.code == Exit.ENVIRONMENT
    assert "are kept until" in kept.err
    assert "deleted the old vectors" in filled(*task, "--drop-old", "--keep", "0d", "--yes").out
    with connect("./index") as store:
        assert store.aliases.all() == {"docs": shown["target"]}


def test_a_collection_with_tenants_is_migrated_as_a_whole(
    decant: Decant, tiny_bundle: Path
) -> None:
    with connect("./index") as store:
        docs = Collection.create(
            store, "docs", HashEncoder(8), settings=CollectionSettings(tenants=Tenants())
        )
        for tenant in ("acme", "globex"):
            docs.tenant(tenant).add([Record(id="1", text=f"the cat of {tenant}")])
    ran = decant("migrate", "./index", "docs", "--to", tiny_bundle, "--provider", "cpu", "--yes")
    assert ran.code == Exit.OK, ran.err
    assert "2 texts embedded" in ran.err
    with connect("./index") as store:
        assert summarize(store, "docs").tenants == ("acme", "globex")
    found = decant(
        "search", tiny_bundle, "cat", "--provider", "cpu", "--tenant", "acme", "--json",
        "--collection", "docs",
    )  # fmt: skip
    assert found.code == Exit.OK, found.err
    hits = cast("list[Any]", found.json["hits"])
    assert [hit["text"] for hit in hits] == ["the cat of acme"]
    rolled = decant("migrate", "./index", "docs", "--rollback")
    assert "'docs' in" in rolled.out, rolled.err


def test_without_an_answer_the_name_stays_and_the_same_command_goes_on(
    filled: Decant, tiny_bundle: Path
) -> None:
    task = ("migrate", "./index", "docs", "--to", tiny_bundle, "--provider", "cpu")
    ran = filled(*task)
    assert ran.code == Exit.INPUT
    assert "--yes" in ran.err
    with connect("./index") as store:
        assert Collection.open(store, "docs", HashEncoder(8)).count() == len(TEXTS)
    ran = filled(*task, "--yes")
    assert "0 texts embedded" in ran.err
    assert ran.code == Exit.OK


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give one of these three"),
        (("--rollback", "--drop-old"), "give one of these three"),
        (("--drop-old", "--keep", "7 weeks"), "is no duration"),
        (("--to", "x", "--queries", "q.txt"), "--from"),
    ],
)
def test_what_contradicts_itself_is_refused(
    filled: Decant, options: tuple[str, ...], said: str
) -> None:
    ran = filled("migrate", "./index", "docs", *options)
    assert ran.code == Exit.INPUT
    assert said in " ".join(ran.err.split())
