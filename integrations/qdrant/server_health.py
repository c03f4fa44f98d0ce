"""Examine the collections of a server: status, vectors, payload indexes, limits of strict mode.

Nothing is changed: a collection is looked at without opening it, since opening makes missing
indexes. Every result is a finding, and a collection that cannot be examined stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from decant.embedders import StoreError
from decant.embedders.doctor import Finding, Health

from .operations.findings import judge_replicas
from .operations.server_state import read_replicas
from .server.bulk.deferred_index import is_noted
from .server.limits import Limits
from .server.naming.aliases import CARD
from .server.payload_indexes import missing_indexes, names_of, recorded_indexes, shown_schema
from .server.refusals import Refusal
from .server.requests import Requests
from .server.words.text_index import StoredWords, WordsIndex, can_score_texts
from .stores.collection_metadata import CollectionMetadata
from .stores.collection_settings import FieldType
from .stores.input_errors import absent
from .stores.protocol import DENSE, PREFIX, SPARSE, STATES, TOKENS

if TYPE_CHECKING:
    from qdrant_client import models

_PAGE, _WRITES, _VALUES, _CONDITIONS = 1_000, 128, 256, 8  # what decant sends at most, as a rule
_NEARLY_FULL = 0.9
_STATUS = {
    "green": (Health.GOOD, "", ""),
    "yellow": (
        Health.NOTE,
        ": the server is still building the index",
        "collection.optimize() waits for it",
    ),
    "grey": (
        Health.PROBLEM,
        ": the optimizers wait for the next write, as after a restart of the server",
        "collection.optimize() starts them, and waits for them",
    ),
    "red": (
        Health.PROBLEM,
        ": an operation failed on the server",
        "see the server's log, and start the server again",
    ),
}


def examine(
    requests: Requests, name: str | None = None, *, precisions: Callable[[str], Finding]
) -> Iterator[Finding]:
    """Yield what is found of a server and its collections.

    Args:
        requests: Sends the requests, all of which read.
        name: The only collection to examine, which may be an alias; None: all, those of other
            programs included.
        precisions: Examines what filled a collection of decant.

    Raises:
        StoreError: The server does not answer, or there is no collection of this name.
    """
    client = requests.client
    if not requests.is_local:
        info = requests.ask("looking at the server", client.info)
        yield _finding("server", Health.GOOD, f"Qdrant {info.version} at {requests.place}")
    if name is not None:
        # A key may be limited to this collection, so the others are not listed without need.
        if not requests.ask(f"looking for {name!r}", partial(client.collection_exists, name)):
            raise absent(name, requests.place, _names(requests))
        yield from _collection(requests, name, precisions, is_wanted=True)
        return
    names = _names(requests)
    if not names:
        yield _finding("collections", Health.NOTE, "there are none")
    for each in names:
        yield from _collection(requests, each, precisions, is_wanted=False)


def _names(requests: Requests) -> list[str]:
    listed = requests.ask("listing the collections", requests.client.get_collections)
    return sorted(item.name for item in listed.collections)


def _collection(
    requests: Requests, name: str, precisions: Callable[[str], Finding], *, is_wanted: bool
) -> Iterator[Finding]:
    look = partial(requests.client.get_collection, name)
    try:
        info = requests.ask(f"looking at {name!r}", look)
    except StoreError as error:
        if Refusal.of(error).status is None:
            raise  # the server does not answer, so it would not for the next collection
        yield _finding(name, Health.PROBLEM, str(error))
        return
    metadata = info.config.metadata or {}
    if CARD not in metadata:
        yield _foreign(name, is_wanted=is_wanted)
        return
    try:
        card = CollectionMetadata.from_json(str(metadata[CARD]), where=f"collection {name!r}")
        card.checked_complete(name, requests.place)
    except StoreError as error:
        yield _finding(name, Health.PROBLEM, str(error))
        return
    held = f"{card.recipe.base}, recipe {card.recipe.digest()}, {info.points_count or 0:,} points"
    yield _finding(name, Health.GOOD, held)
    yield _status(name, info)
    yield from _deferral(name, info) if is_noted(metadata) else _vector_index(name, info)
    yield from judge_replicas(name, read_replicas(requests, name))
    yield _vectors(name, info.config.params, card)
    yield precisions(name)
    if not requests.is_local:  # local mode has no payload indexes
        yield _indexes(name, card, info)
        yield from _words(requests, name, card, info)
    yield from _strict_mode(name, info)
    for warning in getattr(info, "warnings", None) or ():
        yield _finding(f"{name}: warning", Health.NOTE, f"the server warns: {warning.message}")


def _foreign(name: str, *, is_wanted: bool) -> Finding:
    said = "decant did not make it, and never writes to it"
    if is_wanted:
        return _finding(name, Health.PROBLEM, said, "choose the name of another collection")
    return _finding(name, Health.NOTE, said)


def _status(name: str, info: models.CollectionInfo) -> Finding:
    topic = f"{name}: status"
    if (failed := getattr(info.optimizer_status, "error", None)) is not None:
        return _finding(
            topic,
            Health.PROBLEM,
            f"the optimizers failed: {failed}",
            "what is stored is safe; see the server's log",
        )
    counts = f"{info.indexed_vectors_count or 0:,} vectors of {info.points_count or 0:,} points"
    health, said, advice = _STATUS[info.status.value]
    return _finding(topic, health, f"{info.status.value}{said}; {counts} are in the index", advice)


def _deferral(name: str, info: models.CollectionInfo) -> Iterator[Finding]:
    """Name a vector index that a bulk load has deferred."""
    yield _finding(
        f"{name}: vector index",
        Health.NOTE,
        f"a bulk load has turned it off, and searches compare {info.points_count or 0:,} points "
        "one by one",
        "its end turns the index on; if its process was killed, collection.optimize() or the next "
        "collection.index() does",
    )


def _vector_index(name: str, info: models.CollectionInfo) -> Iterator[Finding]:
    """Note that a server at rest has left out vectors that it would search faster in its index."""
    points, indexed = info.points_count or 0, info.indexed_vectors_count or 0
    params = info.config.params.vectors
    dense = (params.get(PREFIX) or params.get(DENSE)) if isinstance(params, dict) else None
    threshold = info.config.optimizer_config.indexing_threshold  # KB of vectors in a segment
    if dense is None or info.status.value != "green" or indexed >= points:
        return
    if threshold == 0:
        advice = "raise indexing_threshold in its optimizers' settings; 0 turns the index off"
    elif 4 * dense.size * points / max(1, info.segments_count) <= (threshold or 20_000) * 1024:
        return  # so few that the server compares them one by one
    else:
        advice = "collection.optimize() waits for it, and says why it does not come"
    said = f"{indexed:,} of some {points:,} vectors are in it; the others are compared one by one"
    yield _finding(f"{name}: vector index", Health.NOTE, said, advice)


def _vectors(name: str, params: models.CollectionParams, card: CollectionMetadata) -> Finding:
    found = params.vectors if isinstance(params.vectors, dict) else {}
    wrong: list[str] = []
    tokens = None if card.token_vectors is None else card.token_vectors.dim
    widths = {DENSE: card.dim, PREFIX: card.prefix, STATES: card.soft_tokens, TOKENS: tokens}
    for vector, width in widths.items():
        if not width:
            continue
        if (there := found.get(vector)) is None:
            wrong.append(f"the vector {vector!r} is missing")
        elif there.size != width:
            wrong.append(f"{vector!r} is {there.size} wide, and the recipe's vectors are {width}")
        elif vector not in (STATES, TOKENS) and there.distance.value != "Cosine":
            wrong.append(f"{vector!r} is compared by {there.distance.value}, not by Cosine")
    if card.sparse and SPARSE not in (params.sparse_vectors or {}):
        wrong.append(f"the vector {SPARSE!r} is missing")
    if not wrong:
        return _finding(f"{name}: vectors", Health.GOOD, f"{card.dim} wide, as the recipe says")
    advice = "another program has changed it: make the collection again, and index into that"
    return _finding(f"{name}: vectors", Health.PROBLEM, "; ".join(wrong), advice)


def _indexes(name: str, card: CollectionMetadata, info: models.CollectionInfo) -> Finding:
    topic = f"{name}: payload indexes"
    schema = info.payload_schema
    noted, missing = recorded_indexes(info), missing_indexes(card, info)
    if missing:
        shown = ", ".join(f"{path} ({shown_schema(kind)})" for path, kind in missing.items())
        strict = info.config.strict_mode_config
        most = strict.max_payload_index_count if strict and strict.enabled else None
        advice = "Collection.open with a key that may write makes them, and so does `decant check`"
        if most is not None and len(schema) >= most:
            advice = f"raise max_payload_index_count={most} in the collection's strict mode first"
        return _finding(topic, Health.PROBLEM, f"missing: {shown}; filters are slower", advice)
    kinds = {names_of(path): str(index.data_type.value) for path, index in schema.items()}
    wrong = [
        f"{path} is indexed as {kinds[names_of(path)]}, not as {kind}"
        for path, kind in noted.items()
        if kinds[names_of(path)] != kind
    ]
    if wrong:
        advice = "collection.add_index(PayloadIndex(key=…, type=…)) makes the index again"
        return _finding(topic, Health.PROBLEM, "; ".join(wrong), advice)
    return _finding(topic, Health.GOOD, f"all {len(noted)} are there")


def _words(
    requests: Requests, name: str, card: CollectionMetadata, info: models.CollectionInfo
) -> Iterator[Finding]:
    if (stored := StoredWords.of(card, info)) is None:
        return
    topic, said = f"{name}: words", f"ranked by a {stored.index}"
    if stored.index is WordsIndex.TEXT and not can_score_texts(requests.version):
        said += ", which this server or the installed qdrant-client cannot score"
        yield _finding(topic, Health.PROBLEM, said, "upgrade the one that is older than 1.20")
    else:
        yield _finding(topic, Health.GOOD, said)


def _strict_mode(name: str, info: models.CollectionInfo) -> Iterator[Finding]:
    strict = info.config.strict_mode_config
    if strict is None or not strict.enabled:
        return
    bind = 0
    for limit, detail, health in _binding(strict, info):
        bind += 1
        advice = ""
        if limit == "unindexed_filtering_retrieve":
            advice = (
                "index what filters need with collection.add_index(PayloadIndex(key=…, type=…)), "
                f"or `decant index … --payload-index KEY:TYPE`; types are {', '.join(FieldType)}"
            )
        elif health is Health.PROBLEM:
            advice = f"raise {limit} in the collection's strict mode"
        yield _finding(f"{name}: {limit}", health, detail, advice)
    if not bind:
        yield _finding(f"{name}: strict mode", Health.GOOD, "on, and no limit of it binds")


def _binding(
    strict: models.StrictModeConfigOutput, info: models.CollectionInfo
) -> Iterator[tuple[str, str, Health]]:
    """Yield each limit that changes what decant sends or that refuses something, and how."""
    limits, points = Limits.of(strict), info.points_count or 0
    if strict.unindexed_filtering_retrieve is False:
        paths = [path for path in info.payload_schema if names_of(path)[0] == "metadata"]
        indexed = ", ".join(".".join(names_of(path)[1:]) for path in paths) or "nothing"
        said = f"filters on metadata need a payload index; indexed of it: {indexed}"
        yield "unindexed_filtering_retrieve", said, Health.NOTE
    smaller = (
        ("max_query_limit", limits.page, _PAGE, "points a request: long lists take several"),
        ("upsert_max_batchsize", strict.upsert_max_batchsize, _WRITES, "points a write"),
        ("condition_max_size", limits.values, _VALUES, "values a condition"),
        ("filter_max_conditions", strict.filter_max_conditions, _CONDITIONS, "conditions a filter"),
        ("search_max_batchsize", limits.searches, 2, "searches a request"),
    )
    for limit, value, usual, what in smaller:
        if value is not None and value < usual:
            yield limit, f"{value} {what}, where decant sends up to {usual}", Health.NOTE
    for limit, value in (
        ("read_rate_limit", strict.read_rate_limit),
        ("write_rate_limit", strict.write_rate_limit),
    ):
        if value is not None:
            yield limit, f"{value} a minute: indexing and searching may wait", Health.NOTE
    if not limits.exact:
        yield "search_allow_exact", "counting reads all ids, page by page", Health.NOTE
    for limit, most, held, what in (
        ("max_points_count", strict.max_points_count, points, "points"),
        ("max_payload_index_count", strict.max_payload_index_count, len(info.payload_schema),
         "payload indexes"),
    ):  # fmt: skip
        if most is not None and held >= most * _NEARLY_FULL:
            full = held >= most and what == "points"
            health = Health.PROBLEM if full else Health.NOTE
            yield limit, f"{held:,} of at most {most:,} {what} are there", health


def _finding(name: str, health: Health, detail: str, advice: str = "") -> Finding:
    return Finding(topic="store", name=name, health=health, detail=detail, advice=advice)
