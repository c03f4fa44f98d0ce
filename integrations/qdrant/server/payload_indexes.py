"""The payload indexes of a collection on a server: find missing ones, and make them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from qdrant_client import models

from decant.embedders import StoreError

from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import FieldType
from ..stores.input_errors import ReadOnlyError
from ..stores.protocol import TENANT, TEXT
from .naming.aliases import INDEXES
from .refusals import FORBIDDEN, Refusal
from .words.text_index import lacks_text_index, text_params

IndexSchema: TypeAlias = (
    models.PayloadSchemaType | models.TextIndexParams | models.KeywordIndexParams
)

_TOGETHER = 8  # requests


def missing_indexes(
    card: CollectionMetadata, info: models.CollectionInfo
) -> dict[str, IndexSchema]:
    """Return the indexes that a collection should have and the server does not list, by path.

    A server lists ``metadata."größe"`` without the quotes, so paths are compared by their names.

    Args:
        card: The collection's metadata of decant's.
        info: What the server says of it.
    """
    shown = {names_of(path) for path in info.payload_schema}
    missing: dict[str, IndexSchema] = {
        path: models.PayloadSchemaType(str(kind))
        for path, kind in recorded_indexes(info).items()
        if names_of(path) not in shown
    }
    if card.tenants is not None and (TENANT,) not in shown:
        missing[TENANT] = models.KeywordIndexParams(
            type=models.KeywordIndexType.KEYWORD, is_tenant=True
        )
    if card.words is not None and lacks_text_index(card, info):
        missing[TEXT] = text_params(card.words)
    return missing


def recorded_indexes(info: models.CollectionInfo) -> dict[str, str]:
    """Return the types of the fields that a collection's metadata list as indexed, by path."""
    noted = (info.config.metadata or {}).get(INDEXES) or {}
    return {path: str(kind) for path, kind in noted.items()}


def shown_schema(schema: IndexSchema) -> str:
    """Return the type of an index, for messages."""
    if isinstance(schema, models.PayloadSchemaType):
        return str(schema.value)
    if isinstance(schema, models.KeywordIndexParams):
        return "keyword, by tenant"
    return "text, with BM25 scores"


def names_of(path: str) -> tuple[str, ...]:
    """Return the names in a path into the payload.

    >>> names_of('metadata."a.b".c')
    ('metadata', 'a.b', 'c')
    """
    return tuple(name.strip('"') for name in re.findall(r'"[^"]*"|[^."]+', path))


def make_together(
    indexes: Mapping[str, IndexSchema], make: Callable[[str, IndexSchema], None]
) -> None:
    """Make several indexes in parallel: each takes a server milliseconds, and a cluster much more.

    Raises:
        StoreError: One of them failed; all were tried.
    """
    if not indexes:
        return
    with ThreadPoolExecutor(min(_TOGETHER, len(indexes)), "decant-index") as pool:
        made = [pool.submit(make, path, kind) for path, kind in indexes.items()]
    for each in made:
        each.result()


def is_not_allowed(error: StoreError) -> bool:
    """Return whether an index is refused for good: for this key, for all, or by the store."""
    if isinstance(error, ReadOnlyError):
        return True
    refusal = Refusal.of(error)
    return refusal.status == FORBIDDEN or refusal.has_too_many_indexes


def without_index(error: StoreError) -> StoreError:
    """Return the message for a filter that strict mode refuses because an index is missing."""
    wanted = Refusal.of(error).missing_index
    if wanted is None:
        return error
    path, types = wanted
    names = names_of(path)
    key: object = names[1] if len(names) == 2 else names[1:]
    if names[0] != "metadata":
        advice = "ask for another condition"
    else:
        kind = next((FieldType(name) for name in types if name in set(FieldType)), None)
        given = f", type=FieldType.{kind.name}" if kind not in (None, FieldType.KEYWORD) else ""
        entry = f"PayloadIndex(key={key!r}{given})"
        advice = f"index it with collection.add_index({entry})"
        is_plain = isinstance(key, str) and "." not in key
        written = key if is_plain else path.removeprefix("metadata.")
        option = shlex.quote(f"{written}:{(kind or FieldType.KEYWORD).value}")
        advice += f" (`decant index … --payload-index {option}`)"
        advice += f", or when the collection is made with CollectionSettings(indexed=({entry},))"
    said = f"the server's strict mode takes no filter on {path!r}, which has no payload index"
    return StoreError(f"{str(error).split(' was refused:')[0]} was refused: {said}; {advice}")


def too_many(error: StoreError) -> StoreError:
    """Return the message for an index that strict mode refuses because there are too many."""
    return StoreError(
        f"{error}. decant itself indexes source, root, kind, text_sha256 and the words "
        "of texts; raise "
        "max_payload_index_count in the collection's strict mode, or delete an index"
    )
