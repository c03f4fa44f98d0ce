"""``--tenant`` of commands about passages: one tenant's are shown and changed, not others'."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit

NEEDS = "needs a tenant"


@pytest.fixture
def shared(decant: Decant, tiny_bundle: Path, notes: Path) -> Decant:
    """Return the command, in a folder where two tenants have documents of the same names."""
    assert decant("index", tiny_bundle, notes, "--tenant", "acme").code == Exit.OK
    (notes / "ferry.txt").write_text("The ferry is for sale, and globex buys it.\n")
    (notes / "peps.txt").unlink()
    assert decant("index", tiny_bundle, notes, "--tenant", "globex").code == Exit.OK
    return decant


def passages(decant: Decant, *tenant: str) -> int:
    (one,) = cast("list[Any]", decant("list", "--json", *tenant).json["collections"])
    return int(one["passages"])


def test_each_tenant_searches_its_own_documents(shared: Decant, tiny_bundle: Path) -> None:
    for tenant, words in (("acme", "leaves at seven"), ("globex", "globex buys it")):
        ran = shared("search", tiny_bundle, "ferry", "--tenant", tenant, "--limit", 9, "--json")
        texts = [hit["text"] for hit in ran.json["hits"]]  # type: ignore[attr-defined]
        assert [words in text for text in texts].count(True) == 1
        assert len(texts) == passages(shared, "--tenant", tenant)


def test_list_shows_the_tenants_or_what_one_has(shared: Decant) -> None:
    (one,) = cast("list[Any]", shared("list", "--json").json["collections"])
    assert one["tenants"] == ["acme", "globex"]
    counts = [passages(shared, "--tenant", name) for name in ("acme", "globex")]
    assert 0 not in counts
    assert passages(shared) == sum(counts)
    assert passages(shared, "--tenant", "nobody") == 0
    assert "2 tenants: acme, globex" in shared("list").out


def test_without_a_tenant_the_commands_about_passages_refuse(
    shared: Decant, tiny_bundle: Path, notes: Path
) -> None:
    before = passages(shared)
    for words in (
        ("index", tiny_bundle, notes),
        ("search", tiny_bundle, "ferry"),
        ("check",),
        ("delete", "--source", "ferry.txt", "--yes"),
    ):
        ran = shared(*words)
        assert ran.code not in {Exit.OK, Exit.FINDING}
        assert NEEDS in " ".join(ran.err.split())
    assert passages(shared) == before


def test_deleting_and_checking_concern_one_tenant(shared: Decant) -> None:
    acme, globex = (passages(shared, "--tenant", name) for name in ("acme", "globex"))
    words = ("delete", "--source", "ferry.txt", "--yes", "--tenant", "globex")
    assert shared(*words).code == Exit.OK
    assert 0 < passages(shared, "--tenant", "globex") < globex
    assert passages(shared, "--tenant", "acme") == acme
    assert shared("check", "--tenant", "acme").code == Exit.OK


def test_create_makes_an_empty_collection_with_tenants(decant: Decant, tiny_bundle: Path) -> None:
    ran = decant("create", "./index", "docs", "--model", tiny_bundle, "--tenants")
    assert ran.code == Exit.OK
    assert NEEDS in " ".join(decant("search", tiny_bundle, "ferry").err.split())


def test_a_tenant_of_a_collection_without_tenants_is_refused(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    ran = decant("search", tiny_bundle, "ferry", "--tenant", "acme")
    assert "has no tenants" in " ".join(ran.err.split())
    assert decant("list", "--tenant", "acme", "--json").json["collections"] == []
