"""Commands on a server: payload indexes, keys, and what strict mode refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import load
from decant.integrations.qdrant import Collection, Record, connect
from qdrant_double import QdrantDouble

KEY = "quite-secret"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantDouble]:
    """Return a double that needs a key, which the environment holds."""
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    with QdrantDouble() as double:
        double.keys = {KEY}
        yield double


def indexes(double: QdrantDouble) -> dict[str, str]:
    return {
        path.removeprefix("metadata."): kind
        for path, kind in double.engine.held["docs"].indexes.items()
        if path.startswith("metadata.")
    }


def test_payload_indexes_are_made_with_a_collection_and_added_to_one(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path, notes: Path
) -> None:
    options = ("--store", double.url, "--payload-index")
    assert decant("index", tiny_bundle, notes, *options, "year:integer").code == Exit.OK
    assert indexes(double) == {"year": "integer"}
    assert len(double.requests("PUT", "/index")) == 5
    more = [part for key in ("a:b", "c.d", '"e.f"') for part in (*options[2:], f"{key}:keyword")]
    ran = decant("index", tiny_bundle, notes, *options, "year:integer", *more)
    assert ran.code == Exit.OK
    others = dict.fromkeys(('"a:b"', "c.d", '"e.f"'), "keyword")
    assert indexes(double) == {"year": "integer", **others}


def test_payload_indexes_are_made_in_a_folder(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    for _ in range(2):
        ran = decant("index", tiny_bundle, notes, "--payload-index", "year:integer")
        assert ran.code == Exit.OK


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["year:number"], "types are keyword, integer, float, bool, datetime, text"),
        (["year"], "'year' is not KEY:TYPE, as in year:integer"),
        ([":integer"], "':integer' is not KEY:TYPE"),
        (["a:text", "a:bool"], "'a' is given with two types, text and bool"),
    ],
)
def test_what_is_no_payload_index_is_refused(
    decant: Decant, tiny_bundle: Path, notes: Path, given: list[str], said: str
) -> None:
    options = [part for text in given for part in ("--payload-index", text)]
    ran = decant("index", tiny_bundle, notes, *options)
    assert ran.code == Exit.INPUT
    assert said in " ".join(ran.err.split())
    assert not Path("index").exists()


def test_a_filter_that_strict_mode_refuses_is_answered_with_the_command(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path, notes: Path
) -> None:
    with load(tiny_bundle) as encoder, connect(double.url) as store:
        docs = Collection.create(store, "docs", encoder)
        docs.add([Record(id="a", text="a cat sat", metadata={"year": 1999, "a b": "x"})])
    double.limit("docs", unindexed_filtering_retrieve=False)
    search = ("search", tiny_bundle, "cat", "--store", double.url, "--where")
    ran = decant(*search, "year=1999")
    assert ran.code == Exit.ENVIRONMENT
    shown = " ".join(ran.err.split())
    assert shown.endswith("index it with `decant index … --payload-index year:float`")
    assert "'a b:keyword'" in " ".join(decant(*search, "a b=x").err.split())
    options = ("--store", double.url, "--payload-index", "year:integer")
    assert decant("index", tiny_bundle, notes, *options).code == Exit.OK
    assert decant(*search, "year=1999").code == Exit.OK


def test_a_key_is_given_or_in_the_environment_and_never_shown(
    decant: Decant, double: QdrantDouble
) -> None:
    assert decant("list", "--store", double.url).code == Exit.OK
    ran = decant("list", "--store", double.url, "--api-key", "mistaken")
    assert ran.code == Exit.ENVIRONMENT
    assert "--api-key or in the environment variable QDRANT_API_KEY" in " ".join(ran.err.split())
    assert "mistaken" not in ran.out + ran.err
    assert KEY not in ran.out + ran.err


def test_a_check_names_the_indexes_that_a_key_may_not_make(
    decant: Decant,
    double: QdrantDouble,
    tiny_bundle: Path,
    notes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ("--store", double.url)
    assert decant("index", tiny_bundle, notes, *options).code == Exit.OK
    del double.engine.held["docs"].indexes["root"]
    double.read_only_keys = {"only-reads"}
    monkeypatch.setenv("QDRANT_API_KEY", "only-reads")
    ran = decant("check", *options)
    assert ran.code == Exit.OK
    assert "payload indexes are missing: root" in ran.err
    assert "nothing is wrong with what is stored" in ran.err
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    assert "missing: " not in decant("check", *options).err
    assert "root" in double.engine.held["docs"].indexes
