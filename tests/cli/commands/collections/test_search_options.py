"""What ``decant search`` can be asked for beside its page, and conditions with orders."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.cli.input.conditions import read_condition
from decant.embedders import load
from decant.integrations.qdrant import (
    And,
    Collection,
    CollectionSettings,
    Condition,
    Equals,
    Field,
    FieldIn,
    Not,
    Range,
    Record,
    StartsWith,
    Words,
    connect,
)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("year=2020", Equals("year", 2020)),
        ('year="2020"', Equals("year", "2020")),
        ("name=a=b", Equals("name", "a=b")),
        ("name=a>=b", Equals("name", "a>=b")),
        ("draft!=true", Not(Equals("draft", True))),
        ("year>=2020", Range("year", gte=2020)),
        ("ratio<0.5", Range("ratio", lt=0.5)),
        ("date>2025-01-31", Range("date", gt=datetime.date(2025, 1, 31))),
        (
            "date<=2025-01-31T10:00:00+00:00",
            Range("date", lte=datetime.datetime(2025, 1, 31, 10, tzinfo=datetime.UTC)),
        ),
        ("path^=docs/", StartsWith("path", "docs/")),
        ("author.name=Le Guin", Equals(("author", "name"), "Le Guin")),
        ("author.born>=1929", Range(("author", "born"), gte=1929)),
        ('"a.b"=1', Equals("a.b", 1)),
        ('"a=b".c.d!="x"', Not(Equals(("a=b", "c", "d"), "x"))),
        ("a b=x", Equals("a b", "x")),
        ("source=a.md", FieldIn(Field.SOURCE, ["a.md"])),
        ('source="a.md"', FieldIn(Field.SOURCE, ["a.md"])),
        ("source=2020", FieldIn(Field.SOURCE, ["2020"])),
        ("source!=a.md", Not(FieldIn(Field.SOURCE, ["a.md"]))),
        ("source^=docs/", StartsWith(Field.SOURCE, "docs/")),
        ('"source"=a.md', Equals("source", "a.md")),
        ("a.source=b", Equals(("a", "source"), "b")),
    ],
)
def test_conditions_are_read(text: str, condition: Condition) -> None:
    assert read_condition([text], []) == And([condition])


def test_sources_are_alternatives_and_nothing_states_nothing() -> None:
    assert read_condition([], []) is None
    assert read_condition([], ["a", "b"]) == And([FieldIn(Field.SOURCE, ["a", "b"])])


@pytest.mark.parametrize(
    "text", ["year", "=3", "year>soon", "year>=true", "path^=", "", "source>a", "source^="]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_condition([text], [])


@pytest.mark.parametrize("text", ["a..b=1", ".a=1", "a.=1", '"a".=1', 'a"b"=1', '""=1'])
def test_a_key_that_is_none_is_answered_with_how_to_write_it(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"author\.name .*'\"a\.b\"'"):
        read_condition([text], [])


@pytest.fixture
def filled(decant: Decant, tiny_bundle: Path) -> Decant:
    """Return the command where ten records of three sources with words are stored."""
    with connect("./index") as store, load(tiny_bundle) as encoder:
        Collection.create(store, "docs", encoder, settings=CollectionSettings(words=Words())).add(
            [
                Record(
                    id=str(n),
                    text=f"a cat of kind {n % 5}",
                    source=f"{n % 3}.md",
                    metadata={
                        "date": f"2025-01-{n + 1:02}",
                        "stars": n,
                        "author": {"born": 1900 + n},
                        "a.b": n % 2,
                    },
                )
                for n in range(10)
            ]
        )
    return decant


def test_options_reach_the_search(filled: Decant, tiny_bundle: Path) -> None:
    def hits(*options: str) -> list[dict[str, Any]]:
        found = filled("search", tiny_bundle, "cat", "--limit", "50", "--json", *options)
        assert isinstance(found.json["hits"], list)
        return found.json["hits"]

    whole = hits()
    assert len(whole) == 10
    assert len(hits("--per-document", "1")) == 3
    assert len(hits("--distinct")) == 5
    assert len(hits("--where", "date>=2025-01-04", "--where", "stars<9")) == 6
    assert len(hits("--where", "author.born>1906", "--where", '"a.b"=1')) == 2
    assert len(hits("--where", "source!=1.md")) == 7
    born = hits("--boost", "author.born=0.1", "--boost", '"a.b"=1')
    assert all(hit["boost"] > 0 for hit in born)
    raised = {hit["id"]: hit["boost"] for hit in hits("--boost", "stars=0.5", "--recent", "date=9")}
    assert raised["9"] > raised["1"] > 0
    assert hits("--exact") == whole == hits("--ef", "64")
    assert len(hits("--mmr", "0.5")) == 10
    least = whole[4]["branches"][0]["score"]
    cut = hits("--mode", "dense", "--threshold", str(least))
    assert all(hit["score"] >= least for hit in cut)
    assert hits("--threshold", f"dense={least}")
    shown = filled("search", tiny_bundle, "cat", "--boost", "stars=0.5", "--explain").out
    assert "boost" in shown


def test_a_boost_by_an_entry_that_nothing_has_is_a_warning(
    filled: Decant, tiny_bundle: Path
) -> None:
    ran = filled("search", tiny_bundle, "cat", "--boost", "star=0.5", "--json")
    assert ran.code == Exit.OK
    assert len(ran.json["hits"]) == 5  # type: ignore[arg-type]
    said = " ".join(ran.err.split())
    assert "warning: no candidate" in said
    assert "the metadata entry star, so the boost by it has no effect; they have stars, " in said


@pytest.mark.parametrize(
    "options",
    [
        ("--threshold", "0.5"),
        ("--threshold", "dense"),
        ("--recent", "date"),
        ("--boost", "=2"),
        ("--exact", "--ef", "9"),
        ("--mmr", "2"),
        ("--per-document", "2", "--mmr", "0.5"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(
    filled: Decant, tiny_bundle: Path, options: tuple[str, ...]
) -> None:
    ran = filled("search", tiny_bundle, "cat", *options)
    assert ran.code == Exit.INPUT, ran.err
    assert "Traceback" not in ran.err
