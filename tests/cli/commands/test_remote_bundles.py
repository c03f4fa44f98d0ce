"""Where a bundle is opened for encoding, the address of a server does as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder, HashReranker, Role
from decant.serving import ApiKeys, ServedModel, ServedReranker, create_app
from served_encoder import listening

KEY = "a-key-of-some-length"
LOCAL = HashEncoder(dim=16)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = create_app([ServedModel(name="m", encoder=LOCAL)], keys=ApiKeys.of([KEY]))
    with listening(app) as found:
        yield found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_API_KEY", KEY)


def test_texts_are_embedded_by_the_server(decant: Decant, url: str) -> None:
    done = decant("embed", url, "--role", "passage", "-o", "out.npy", typed="a river\na hill\n")
    assert done.code == Exit.OK, done.err
    wanted = LOCAL.encode(["a river", "a hill"], role=Role.PASSAGE).dense
    np.testing.assert_array_equal(np.load("out.npy"), wanted)
    bits = ("--quantize", "ubinary", "-o", "bits.npy")
    assert decant("embed", url, "--role", "passage", *bits, typed="a river\n").code == Exit.OK
    np.testing.assert_array_equal(np.load("bits.npy"), np.packbits(wanted[:1] > 0, axis=1))


def test_a_folder_is_indexed_and_searched_with_the_encoder_of_a_server(
    decant: Decant, url: str, notes: Path
) -> None:
    indexed = decant("index", url, notes, "--json")
    assert indexed.code == Exit.OK, indexed.err
    assert indexed.json["documents"] == 3
    found = decant("search", f"{url}/models/m", "when does the ferry leave", "--json")
    assert found.code == Exit.OK, found.err
    assert "ferry.txt" in found.out


@pytest.fixture(scope="module")
def ranker() -> Iterator[str]:
    app = create_app(
        [ServedReranker(name="ranker", reranker=HashReranker())], keys=ApiKeys.of([KEY])
    )
    with listening(app) as found:
        yield found


def test_passages_are_ranked_by_the_reranker_of_a_server(decant: Decant, ranker: str) -> None:
    asked = ("a river", "--json")
    found = decant("rerank", ranker, *asked, typed="a hill\na river\n")
    assert found.code == Exit.OK, found.err
    wanted = decant("rerank", "hash", *asked, typed="a hill\na river\n")
    assert found.json["passages"] == wanted.json["passages"]
    digest = HashReranker().recipe.digest()
    facts = {"model": "hash", "digest": digest, "precision": "fp32", "provider": "HashReranker"}
    assert found.json["reranker"] == facts


def test_the_hits_of_a_search_are_ranked_by_the_reranker_of_a_server(
    decant: Decant, url: str, ranker: str, notes: Path
) -> None:
    assert decant("index", url, notes).code == Exit.OK
    query = ("search", url, "when does the ferry leave", "--json", "--rerank")
    found, wanted = decant(*query, ranker), decant(*query, "hash")
    assert found.code == Exit.OK, found.err
    assert found.json["hits"] == wanted.json["hits"]


def test_the_facts_of_a_served_reranker_are_shown(decant: Decant, ranker: str) -> None:
    shown = decant("inspect", ranker)
    assert shown.code == Exit.OK, shown.err
    assert HashReranker().recipe.digest() in shown.out
    assert "fp32 on HashReranker" in shown.out
    assert decant("inspect", ranker, "--json").json["reranker"]


def test_the_facts_of_a_server_are_shown(decant: Decant, url: str) -> None:
    shown = decant("inspect", url)
    assert shown.code == Exit.OK, shown.err
    assert LOCAL.recipe.digest() in shown.out
    assert "fp32 on HashEncoder" in shown.out
    data = decant("inspect", url, "--json").json
    assert data["address"] == url
    assert KEY not in shown.out + shown.err


@pytest.mark.parametrize(
    "words",
    [("verify",), ("tune",), ("convert",), ("calibrate-vectors",), ("serve",)],
    ids=lambda words: str(words[0]),
)
def test_what_needs_the_files_of_a_bundle_says_so(
    words: tuple[str, ...], decant: Decant, url: str, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("a\nb\n", encoding="utf-8")
    more = {
        "convert": ("int8",),
        "calibrate-vectors": ("--texts", "texts.txt"),
    }
    done = decant(*words, url, *more.get(words[0], ()))
    assert done.code == Exit.INPUT, done.err
    assert "works on the files of a bundle" in " ".join(done.err.split())


def test_a_wrong_key_or_address_is_the_environments_fault(
    decant: Decant, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANT_API_KEY", "wrong-" + KEY)
    done = decant("embed", url, "--role", "query", typed="a\n")
    assert done.code == Exit.ENVIRONMENT
    assert "DECANT_API_KEY" in done.err
    assert KEY not in done.err
