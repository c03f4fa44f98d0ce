"""What the double does with points: qdrant-client's local mode, asked and answered in JSON.

Invariant: every check of the server stands before the first change, except in a batch, which is
carried out up to the operation that is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter
from qdrant_client import QdrantClient, models

from .answers import Refused, missing, wrong
from .held import Held, check_config, each_vector
from .paths import names_of
from .strict import Bucket, Strict, conditions_in
from .text_ranking import rank, text_of, without_scoring

_STRUCTS = TypeAdapter(list[models.PointStruct])
_LARGEST = 2**31 - 1


class Engine:
    """Collections and aliases; one thread at a time.

    Args:
        strict: The limits that every new collection gets.
        version: The version of the server, which may change while it runs.
    """

    def __init__(self, strict: Mapping[str, Any], version: str = "1.19.0") -> None:
        self.version = version
        self.client = QdrantClient(":memory:")
        self.held: dict[str, Held] = {}
        self.aliases: dict[str, str] = {}
        self.strict = dict(strict)
        self.clock: Callable[[], float] = time.monotonic

    def named(self, name: str) -> tuple[str, Held]:
        """Return a collection by its name or an alias of it, and its name."""
        real = self.aliases.get(name, name)
        if real not in self.held:
            raise missing(name)
        return real, self.held[real]

    def create(self, name: str, body: Any) -> bool:
        """Make a collection."""
        check_config(body)
        if name in self.held:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        if name in self.aliases:
            raise wrong(
                f"Can't create collection with name {name}. Alias with the same name exists"
            )
        created = models.CreateCollection.model_validate(body)
        self.client.create_collection(
            name,
            vectors_config=created.vectors or {},
            sparse_vectors_config=created.sparse_vectors,
        )
        limits = dict(self.strict) | (body.get("strict_mode_config") or {})
        strict = Strict(limits, reads=Bucket(self.clock), writes=Bucket(self.clock))
        self.held[name] = Held(body, strict)
        return True

    def update(self, name: str, body: Any) -> bool:
        """Merge settings: metadata by their top-level keys, limits of strict mode."""
        _, held = self.named(name)
        if body.get("metadata"):
            held.config["metadata"] = (held.config.get("metadata") or {}) | body["metadata"]
        if body.get("strict_mode_config"):
            held.strict.limits |= body["strict_mode_config"]
        held.config |= body.get("params") or {}
        changed = {key: it for key, it in (body.get("hnsw_config") or {}).items() if it is not None}
        held.config["hnsw_config"] = (held.config.get("hnsw_config") or {}) | changed
        if body.get("quantization_config"):
            held.config["quantization_config"] = _enabled(body["quantization_config"])
        for vector, change in (body.get("vectors") or {}).items():
            if vector not in held.vectors:
                raise wrong(f"Not existing vector name error: {vector}")
            held.vectors[vector] |= change
            if "quantization_config" in change:
                held.vectors[vector]["quantization_config"] = _enabled(
                    change["quantization_config"]
                )
        return True

    def drop(self, name: str) -> bool:
        """Delete a collection by its own name; an alias stays, with what it names."""
        if name not in self.held:
            return False
        del self.held[name]
        self.aliases = {alias: real for alias, real in self.aliases.items() if real != name}
        return self.client.delete_collection(name)

    def change_aliases(self, body: Any) -> bool:
        """Make and delete aliases."""
        for action in body["actions"]:
            if made := action.get("create_alias"):
                self.named(made["collection_name"])
                self.aliases[made["alias_name"]] = made["collection_name"]
            elif gone := action.get("delete_alias"):
                self.aliases.pop(gone["alias_name"], None)
        return True

    def info(self, name: str) -> dict[str, Any]:
        """Return what there is to tell of a collection."""
        real, held = self.named(name)
        records, _ = self.client.scroll(real, limit=_LARGEST)
        points = {
            path: sum(_holds(record.payload, names_of(path)) for record in records)
            for path in held.indexes
        }
        return held.info(len(records), points)

    def cluster(self, name: str) -> dict[str, Any]:
        """Return where the shards lie: on this node alone, but for ``elsewhere``."""
        real, held = self.named(name)
        count = self.client.count(real).count
        return {
            "peer_id": 1,
            "shard_count": 1,
            "local_shards": [{"shard_id": 0, "points_count": count, "state": "Active"}],
            "remote_shards": list(held.elsewhere),
            "shard_transfers": [],
        }

    @property
    def scores_texts(self) -> bool:
        """Whether the server can rank by a text index."""
        return tuple(int(part) for part in self.version.split(".")[:2]) >= (1, 20)

    def add_index(self, name: str, path: str, schema: Any) -> dict[str, Any]:
        """Make a payload index; servers before 1.20 drop its scoring without a word."""
        _, held = self.named(name)
        held.add_index(path, schema if self.scores_texts else without_scoring(schema))
        return held.done()

    def add_shard_key(self, name: str, key: str) -> bool:
        """Make a shard for a key; points are stored together all the same."""
        _, held = self.named(name)
        if held.config.get("sharding_method") != "custom":
            raise wrong(f"Shard Key {key} cannot be created with Auto sharding method")
        keys = held.config.setdefault("shard_keys", [])
        if key in keys:
            raise wrong(f"Sharding key {key} already exists for collection {name}")
        keys.append(key)
        return True

    def drop_index(self, name: str, path: str) -> dict[str, Any]:
        """Delete a payload index."""
        _, held = self.named(name)
        held.drop_index(path)
        return held.done()

    def upsert(self, name: str, body: Any) -> dict[str, Any]:
        """Store points; those that are there only if a filter holds and the mode allows it."""
        real, held = self.named(name)
        points = body["points"]
        held.strict.check_number(len(points), "upsert_max_batchsize", "upsert limit")
        held.strict.pay_write(len(points))
        held.strict.check_filter(body.get("update_filter"), held.indexes, update=True)
        held.check_points(points)
        condition = body.get("update_filter")
        self.client.upsert(
            real,
            _STRUCTS.validate_python(points),
            update_filter=condition and models.Filter.model_validate(condition),
            update_mode=body.get("update_mode"),
        )
        return held.done()

    def change(self, name: str, body: Any) -> list[dict[str, Any]]:
        """Carry out a batch of changes, in order, until one is refused."""
        return [self._change(name, operation) for operation in body["operations"]]

    def _change(self, name: str, operation: Any) -> dict[str, Any]:
        match operation:
            case {"set_payload": body}:
                return self.set_payload(name, body)
            case {"upsert": body}:
                return self.upsert(name, body)
            case {"delete": body}:
                return self.delete(name, body)
            case _:
                raise wrong(f"the double knows no operation {[*operation]}")

    def set_payload(self, name: str, body: Any) -> dict[str, Any]:
        """Set fields of points that are there, by their ids or by a filter."""
        real, held = self.named(name)
        if "filter" in body:
            held.strict.check_filter(body["filter"], held.indexes, update=True)
            chosen = models.Filter.model_validate(body["filter"])
            self.client.set_payload(real, body["payload"], points=chosen)
            return held.done()
        held.strict.pay_write(len(body["points"]))
        there = {record.id for record in self.client.retrieve(real, body["points"])}
        for identity in body["points"]:
            if identity not in there:
                raise Refused(404, f"Not found: No point with id {identity} found")
        self.client.set_payload(real, body["payload"], points=body["points"])
        return held.done()

    def delete(self, name: str, body: Any) -> dict[str, Any]:
        """Delete points by their ids or by a filter."""
        real, held = self.named(name)
        if "filter" in body:
            held.strict.check_filter(body["filter"], held.indexes, update=True)
            chosen = models.Filter.model_validate(body["filter"])
            self.client.delete(real, models.FilterSelector(filter=chosen))
        else:
            held.strict.pay_write(len(body["points"]))
            self.client.delete(real, models.PointIdsList(points=body["points"]))
        return held.done()

    def retrieve(self, name: str, body: Any) -> list[dict[str, Any]]:
        """Return points by their ids."""
        real, held = self.named(name)
        held.strict.pay_read(len(body["ids"]))
        records = self.client.retrieve(real, body["ids"], **_wanted(body, payload=True))
        return [_shown(record, body) for record in records]

    def scroll(self, name: str, body: Any) -> dict[str, Any]:
        """Return points in the order of their ids."""
        real, held = self.named(name)
        limit = body.get("limit", 10)
        self._check(held, body, limit)
        held.strict.pay_read(1 + conditions_in(body.get("filter")))
        records, following = self.client.scroll(
            real, _filter(body), limit=limit, offset=body.get("offset"),
            **_wanted(body, payload=True),
        )  # fmt: skip
        return {"points": [_shown(record, body) for record in records],
                "next_page_offset": following}  # fmt: skip

    def count(self, name: str, body: Any) -> dict[str, int]:
        """Return how many points match."""
        real, held = self.named(name)
        held.strict.check_filter(body.get("filter"), held.indexes)
        _check_paths(body.get("filter"))
        held.strict.check_exact(body.get("exact", True))
        held.strict.pay_read(1 + conditions_in(body.get("filter")))
        return {"count": self.client.count(real, _filter(body)).count}

    def query(self, name: str, body: Any) -> dict[str, Any]:
        """Return the points that fit a query best."""
        real, held = self.named(name)
        text = text_of(body.get("query")) if self.scores_texts else None
        request = _query(body) if text is None else None
        limit = body.get("limit", 10)
        for part in body.get("prefetch") or []:
            self._check(held, part, part.get("limit", 10))
        self._check(held, body, limit)
        held.strict.check_exact((body.get("params") or {}).get("exact"))
        held.strict.check_number(
            (body.get("params") or {}).get("hnsw_ef") or 0, "search_max_hnsw_ef", "hnsw_ef"
        )
        for using, vector in each_vector(body):
            held.check_query(using, vector)
        held.strict.pay_read(1 + conditions_in(body.get("filter")))
        corpus = self._corpus(held, body)
        if request is None:
            return {"points": self._rank_texts(real, held, body, text, corpus)}
        within = None
        if corpus is not None:
            within = models.SearchParams(idf=models.IdfCorpusParams(corpus=corpus))
        found = self.client.query_points(
            real, request.query, using=request.using, prefetch=request.prefetch,
            query_filter=request.filter, limit=limit, offset=body.get("offset") or 0,
            search_params=within, **_wanted(body, payload=False),
        )  # fmt: skip
        return {"points": [_shown(item, body) for item in found.points]}

    def _corpus(self, held: Held, body: Any) -> models.Filter | None:
        """Return whose words the statistics of a query are of; older servers drop the setting."""
        scope = (body.get("params") or {}).get("idf")
        if not self.scores_texts or not isinstance(scope, dict):
            return None
        held.strict.check_filter(scope["corpus"], held.indexes)
        return models.Filter.model_validate(scope["corpus"])

    def _rank_texts(
        self, real: str, held: Held, body: Any, text: Any, corpus: models.Filter | None
    ) -> list[dict[str, Any]]:
        """Return the points that share a word with a query, best first."""
        field = (body.get("using") or "").removeprefix("payload.")
        records, _ = self.client.scroll(real, corpus, limit=_LARGEST, with_payload=[field])
        payloads = {str(record.id): record.payload or {} for record in records}
        texts = {name: str(it[field]) for name, it in payloads.items() if it.get(field)}
        matching, _ = self.client.scroll(real, _filter(body), limit=_LARGEST, with_payload=False)
        allowed = {str(record.id) for record in matching}
        ranked = rank(texts, body.get("using"), held.schemas, text)
        start = body.get("offset") or 0
        page = [it for it in ranked if it[0] in allowed][start : start + body.get("limit", 10)]
        found = self.client.retrieve(
            real, [identity for identity, _ in page], **_wanted(body, payload=False)
        )
        records_by_id = {str(record.id): record for record in found}
        return [
            _shown(records_by_id[identity], body, scored=True) | {"version": 0, "score": score}
            for identity, score in page
        ]

    def query_batch(self, name: str, body: Any) -> list[dict[str, Any]]:
        """Return what each of several searches finds."""
        _, held = self.named(name)
        searches = body["searches"]
        held.strict.check_number(len(searches), "search_max_batchsize", "search batch size")
        return [self.query(name, search) for search in searches]

    def _check(self, held: Held, body: Any, limit: int) -> None:
        if limit < 1:
            raise Refused(
                422,
                f"Validation error in JSON body: [internal.limit: value {limit} invalid, must be "
                "1 or larger]",
            )
        held.strict.check_number(limit, "max_query_limit", "limit")
        held.strict.check_filter(body.get("filter"), held.indexes)
        _check_paths(body.get("filter"))


def _enabled(quantization: Any) -> Any:
    return None if quantization == "Disabled" else quantization


def _query(body: Any) -> models.QueryRequest:
    if isinstance(body.get("query"), dict) and {*body["query"]} == {"text"}:
        raise Refused(
            400,
            "Format error in JSON body: Expected some form of vector, id, or a type of query at "
            "line 1 column 1",
        )
    return models.QueryRequest.model_validate(body)


def _filter(body: Any) -> models.Filter | None:
    given = body.get("filter")
    return None if given is None else models.Filter.model_validate(given)


def _check_paths(given: Any) -> None:
    if isinstance(given, dict):
        for name, value in given.items():
            if name == "key":
                names_of(value)
            else:
                _check_paths(value)
    elif isinstance(given, list):
        for item in given:
            _check_paths(item)


def _wanted(body: Any, *, payload: bool) -> dict[str, Any]:
    return {
        "with_payload": body.get("with_payload", payload),
        "with_vectors": body.get("with_vector", False),
    }


def _shown(
    record: models.Record | models.ScoredPoint, body: Any, *, scored: bool = False
) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": record.id}
    if isinstance(record, models.ScoredPoint):
        shown |= {"version": 0, "score": float(np.float32(record.score))}
    scored = scored or isinstance(record, models.ScoredPoint)
    if body.get("with_payload", not scored):
        shown["payload"] = record.payload or {}
    if body.get("with_vector"):
        held = record.vector
        if isinstance(held, list):  # the vector has no name
            shown["vector"] = held
        else:
            shown["vector"] = {name: _plain(vector) for name, vector in (held or {}).items()}
    return shown


def _plain(vector: Any) -> Any:
    return vector.model_dump() if isinstance(vector, BaseModel) else vector


def _holds(payload: Any, names: tuple[str, ...]) -> bool:
    for name in names:
        if not isinstance(payload, dict) or name not in payload:
            return False
        payload = payload[name]
    return payload is not None
