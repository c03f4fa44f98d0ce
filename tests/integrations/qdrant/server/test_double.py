"""The double of a server answers what a Qdrant 1.19 server was recorded to answer."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_double import QdrantDouble
from qdrant_double.json_reading import read_float
from qdrant_double.paths import displayed

# What no two servers answer alike, and positions in a body that only its parser knows.
_OWN = {"time", "operation_id", "version", "commit", "usage"}
_POSITION = re.compile(r" at line \d+ column \d+")
# decant sends no batches of queries and no groups, so the double has no such routes.
_UNKNOWN = {"/points/query/batch", "/points/query/groups"}
_LIMITS: dict[str, dict[str, Any]] = {
    "filter on a field without index, read": {"unindexed_filtering_retrieve": False},
    "filter on a field without index, delete": {"unindexed_filtering_update": False},
    "HasId needs no index": {"unindexed_filtering_retrieve": False},
    "max_query_limit 100": {"max_query_limit": 100},
    "upsert_max_batchsize 2": {"upsert_max_batchsize": 2},
    "search_allow_exact false, count": {"search_allow_exact": False},
    "search_allow_exact false, search": {"search_allow_exact": False},
    "condition_max_size 2": {"condition_max_size": 2},
    "filter_max_conditions 1": {"filter_max_conditions": 1},
    "search_max_hnsw_ef 10": {"search_max_hnsw_ef": 10},
    "max_payload_index_count 1": {"max_payload_index_count": 1},
    "read_rate_limit 1": {"read_rate_limit": 1},
    "write_rate_limit 1": {"write_rate_limit": 1},
}


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with QdrantDouble() as double:
        yield double


@pytest.fixture(scope="session")
def recorded(data: Path) -> list[dict[str, Any]]:
    """Return what was recorded: requests and a live server's answers, in order."""
    path = data.parent / "live" / "exchanges.jsonl"
    if not path.is_file():
        pytest.skip(f"no recorded exchanges at {path}")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def ask(double: QdrantDouble, exchange: dict[str, Any], key: str | None = None) -> httpx.Response:
    body = exchange["body"]
    if isinstance(body, str):
        size = re.fullmatch(r"<(\d+) bytes>", body)
        body = body if size is None else "x" * int(size[1])
    elif body is not None:
        body = json.dumps(body)
    headers = {} if key is None else {"api-key": key}
    return send(exchange["method"], double.url + exchange["path"], content=body, headers=headers)


def send(method: str, url: str, **options: Any) -> httpx.Response:
    # Certificates, which no request here needs, take most of the time to load.
    return httpx.request(method, url, verify=False, **options)


def assert_equal(answer: httpx.Response, exchange: dict[str, Any]) -> None:
    case = exchange["case"]
    assert answer.status_code == exchange["status"], case
    assert answer.headers.get("content-type") == exchange["headers"].get("content-type"), case
    assert answer.headers.get("retry-after") == exchange["headers"].get("retry-after"), case
    theirs = exchange["answer"]
    if isinstance(theirs, str):
        assert answer.text == theirs, case
    elif theirs is None:
        assert answer.text == "", case
    else:
        assert comparable(answer.json()) == comparable(theirs), case


def comparable(value: Any) -> Any:
    match value:
        case dict():
            return {name: comparable(held) for name, held in value.items() if name not in _OWN}
        case list():
            return [comparable(item) for item in value]
        case float():
            return pytest.approx(value, abs=1e-6)
        case str():
            return _POSITION.sub("", value)
        case _:
            return value


def alias(double: QdrantDouble, name: str, of: str) -> None:
    action = {"create_alias": {"collection_name": of, "alias_name": name}}
    answer = send("POST", f"{double.url}/collections/aliases", json={"actions": [action]})
    assert answer.json()["result"] is True


def make(double: QdrantDouble, name: str) -> None:
    assert send("PUT", f"{double.url}/collections/{name}", json={"vectors": {}}).is_success


def put(double: QdrantDouble, name: str, *ids: int) -> None:
    points = {"points": [{"id": identity, "vector": {}} for identity in ids]}
    assert send("PUT", f"{double.url}/collections/{name}/points", json=points).is_success


def test_requests_in_the_order_recorded_are_answered_alike(
    double: QdrantDouble, recorded: list[dict[str, Any]]
) -> None:
    replayed = 0
    for exchange in recorded:
        if exchange["case"].startswith(("strict:", "key ", "create of a name")):
            continue
        if exchange["case"] == "alias: open" and "live" not in double.engine.aliases:
            alias(double, "live", "docs")
        if not exchange["path"].endswith(tuple(_UNKNOWN)):
            assert_equal(ask(double, exchange), exchange)
            replayed += 1
    assert replayed == 55


def test_limits_of_strict_mode_are_refused_with_the_sentences_recorded(
    double: QdrantDouble, recorded: list[dict[str, Any]]
) -> None:
    docs = next(it for it in recorded if it["path"] == "/collections/docs" and it["body"])
    seen = set()
    for exchange in recorded:
        case = exchange["case"].removeprefix("strict: ")
        if case not in _LIMITS:
            continue
        seen.add(case)
        if "docs" in double.engine.held:
            assert send("DELETE", f"{double.url}/collections/docs").is_success
        assert ask(double, docs).is_success
        for field in ("source", "kind"):
            index = {"field_name": field, "field_schema": "keyword"}
            send("PUT", f"{double.url}/collections/docs/index", json=index)
            if "max_payload_index_count" in case:
                break
        double.limit("docs", **_LIMITS[case])
        assert_equal(ask(double, exchange), exchange)
    assert seen == {*_LIMITS}


def test_a_read_that_would_pass_later_says_when(
    double: QdrantDouble, recorded: list[dict[str, Any]]
) -> None:
    make(double, "d")
    put(double, "d", 1, 2)
    double.limit("d", read_rate_limit=3)
    double.engine.held["d"].strict.reads.clock = lambda: 0.0
    (exchange,) = (it for it in recorded if "second read" in it["case"])
    assert ask(double, exchange).is_success
    assert_equal(ask(double, exchange), exchange)


def test_keys_are_asked_for_as_recorded(
    double: QdrantDouble, recorded: list[dict[str, Any]]
) -> None:
    for name in ("a", "b"):
        make(double, name)
    put(double, "a", 1)
    double.keys, double.read_only_keys = {"all"}, {"reads"}
    given = {"none": None, "wrong": "other", "read-only": "reads"}
    replayed = 0
    for exchange in recorded:
        if key := re.match(r"key (\S+):", exchange["case"]):
            assert_equal(ask(double, exchange, given[key[1]]), exchange)
            replayed += 1
    assert replayed == 17


def test_a_name_that_is_taken_is_a_conflict(
    double: QdrantDouble, recorded: list[dict[str, Any]]
) -> None:
    make(double, "d")
    assert_equal(ask(double, recorded[88]), recorded[88])


def test_a_majority_needs_every_replica(double: QdrantDouble) -> None:
    make(double, "d")
    double.nodes_down = 1
    read = {"ids": [1]}
    url = f"{double.url}/collections/d/points"
    assert send("POST", url, json=read).is_success
    refused = send("POST", url, json=read, params={"consistency": "majority"})
    assert refused.status_code == 500
    assert "1 of 3 read operations failed" in refused.text


def test_one_in_ten_doubles_comes_back_a_unit_off() -> None:
    drawn = random.Random(1)
    values = [drawn.uniform(-1e6, 1e6) for _ in range(2_000)]
    read = [read_float(repr(value)) for value in values]
    off = sum(a != b for a, b in zip(values, read, strict=True))
    assert 100 < off < 300  # 173 of 2,000 at a live server
    assert read == pytest.approx(values, rel=3e-16)
    assert [read_float(digits) for digits in ("0.1", "-2.5", "1e3")] == [0.1, -2.5, 1000]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ('metadata."größe"', "metadata.größe"),
        ('metadata."a b".c', 'metadata."a b".c'),
        ('metadata."a.b"', 'metadata."a.b"'),
        ("source", "source"),
        ("a[].b", "a[].b"),
    ],
)
def test_paths_are_shown_in_the_server_s_spelling(path: str, shown: str) -> None:
    assert displayed(path) == shown
