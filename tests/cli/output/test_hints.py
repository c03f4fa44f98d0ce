"""What the command line says to do is a command, whatever the library's error says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.cli.output.hints import in_commands
from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Passage, connect
from decant.integrations.qdrant.points.passages import passage
from decant.integrations.qdrant.server.faults import Fault, FaultKind
from decant.integrations.qdrant.server.points import check_size
from decant.integrations.qdrant.stores.input_errors import absent, present
from decant.integrations.qdrant.stores.protocol import Point

PYTHON = re.compile(
    r"Collection\.|store\.|collection\.[a-z_]+\(|\w+\([^)]*[=\[]|=True|api_key=|Choices"
)
FOREIGN = "0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"


def lost_points(folder: Path) -> object:
    with connect(folder) as store:
        Collection.create(store, "docs", HashEncoder(8))
    for path in (folder / "docs" / "shard").glob("segments/*/*"):
        if path.is_file():
            path.unlink()
    with connect(folder) as store:
        return store.card("docs")


def lost_card(folder: Path) -> object:
    with connect(folder) as store:
        Collection.create(store, "docs", HashEncoder(8))
    (folder / "docs" / "collection.json").unlink()
    with connect(folder) as store:
        return store.card("docs")


def no_states(folder: Path) -> object:
    with connect(folder) as store:
        return Collection.create(store, "docs", HashEncoder(8)).soft_tokens(["a"])


def foreign(_folder: Path) -> Passage:
    return passage(Point(id=FOREIGN, payload={}))


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (lost_points, "`decant drop docs`"),
        (lost_card, "`decant drop docs`"),
        (no_states, "make it with `decant index --soft-tokens`"),
        (foreign, f"`decant delete --id {FOREIGN}`"),
    ],
)
def test_an_error_of_a_collection_names_the_command(
    tmp_path: Path, cause: Callable[[Path], object], said: str
) -> None:
    with pytest.raises(StoreError) as caught:
        cause(tmp_path / "index")
    shown = in_commands(str(caught.value))
    assert said in shown
    assert not PYTHON.search(shown), shown
    assert PYTHON.search(str(caught.value)), "there was nothing to say otherwise"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("grpc://host:6334", "it starts with http:// or https:// (for gRPC too, with --grpc)"),
        ("http://me:hush@host", "give the server's key as --api-key"),
        ("http://host?api_key=hush", "and give a key as --api-key"),
        (":memory:", "no store at ':memory:'; give a temporary folder"),
    ],
)
def test_a_wrong_place_is_answered_with_options(decant: Decant, place: str, said: str) -> None:
    ran = decant("list", "--store", place)
    assert ran.code == Exit.INPUT
    shown = " ".join(ran.err.split())
    assert shown.endswith(said)
    assert "grpc_port" not in shown


def test_faults_of_a_server_are_answered_with_options() -> None:
    encrypted = in_commands(str(Fault(kind=FaultKind.ENCRYPTION, text="cannot reach it")))
    assert encrypted.endswith("is trusted with --ca, the path of its PEM file")
    refused = in_commands(str(Fault(kind=FaultKind.UNAUTHENTICATED, text="no key")))
    assert refused == (
        "no key; give the server's key as --api-key or in the environment variable QDRANT_API_KEY"
    )
    point = Point(id=FOREIGN, payload={"text": "x" * 100})
    with pytest.raises(StoreError) as caught:
        check_size(point, largest=1)
    assert in_commands(str(caught.value)).endswith("or pass --grpc, which has no such limit")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ca", "none.pem"), "the file --ca 'none.pem' cannot be read"),
        (("--grpc",), "--grpc means port 6334 .*; leave --grpc out$"),
    ],
)
def test_settings_of_a_connection_are_options(
    decant: Decant, options: tuple[str, ...], said: str
) -> None:
    ran = decant("list", "--store", "https://localhost:7333", *options)
    assert ran.code in (Exit.INPUT, Exit.ENVIRONMENT)
    assert re.search(said, " ".join(ran.err.split()))
    ran = decant("list", "--store", "./index", *options)
    assert f"{options[0]} goes with an http(s) address only" in " ".join(ran.err.split())
    ran = decant("list", "--store", "http://localhost:7333", "--ca", "ca.pem")
    assert re.search("--ca goes with https:// only.*leave --ca out", " ".join(ran.err.split()))


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (str(absent("a", "b", [])), "it holds no collection yet. Make it with `decant index`"),
        (str(present("a", "b")), "already exists in b; `decant drop` deletes it"),
        (
            "or cut it all the same with allow_any_dim=True (--allow-any-dim)",
            "with --allow-any-dim",
        ),
        ("pass attention='causal' or so", "pass --attention causal or so"),
        ("pass max_tokens=512 or less, got 9", "pass --max-tokens 512 or less, got 9"),
        ("use another, or pass allow_uncertified=True", "use another"),
        (
            "VectorRanges.of(vectors, recipe=…), or run `decant calibrate-vectors`",
            "run `decant calibrate-vectors`",
        ),
        ("set Choices(query_prompt='{text}') or --query-prompt", "set --query-prompt"),
        ("nothing to change (here)", "nothing to change (here)"),
    ],
)
def test_advice_is_said_in_commands(message: str, shown: str) -> None:
    assert in_commands(message).endswith(shown)


def test_a_collection_that_is_not_there_is_made_by_a_command(decant: Decant) -> None:
    ran = decant("check", "--collection", "none")
    assert ran.code == Exit.INPUT
    assert "Make it with `decant index`" in ran.err
