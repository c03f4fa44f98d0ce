"""How a server keeps a collection that another program made: all that a new one like it is made of.

Vectors, indexes, layout and metadata are taken as the server reports them, and decant's metadata
are replaced. What belongs to one place alone stays there: decant's notes of migrations and of bulk
loads. Invariant: the program that made the first finds in the second what it looks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError
from qdrant_client import models

from decant.embedders import StoreError

from ..server.bulk.deferred_index import deferred_links
from ..server.naming.aliases import CARD, INDEXES
from ..server.payload_indexes import is_not_allowed, make_together
from ..server.requests import Requests
from ..stores.collection_metadata import CollectionMetadata
from ..stores.input_errors import StoreInputError

_OWN = f"{CARD}_"  # what the other keys of decant's in a collection's metadata begin with
_REPLACED = ("on_disk", "always_ram")  # by `memory`, next to which newer servers report them
_SCHEMAS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, models.PayloadFieldSchema])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredCollection:
    """The settings of a collection on a server.

    Args:
        settings: What a request to make such a collection says, decant's metadata left out.
        indexes: The payload indexes, by their paths.
    """

    settings: models.CreateCollection
    indexes: Mapping[str, models.PayloadFieldSchema]

    @classmethod
    def read(cls, requests: Requests, name: str) -> Self:
        """Return the settings of a collection as the server reports them.

        Raises:
            StoreInputError: Its points lie in shards that the program chooses by keys.
        """
        look = partial(requests.client.get_collection, name)
        info = requests.ask(f"looking at {name!r}", look)
        config, where = info.config, f"the collection {name!r} at {requests.place}"
        if config.params.sharding_method is models.ShardingMethod.CUSTOM:
            raise StoreInputError(
                f"{where} has shards that its program chooses by keys, which a dump does not hold; "
                "back it up with `decant snapshot`"
            )
        graph = _shown(config.hnsw_config)
        if (links := deferred_links(info, where=where)) is not None:
            graph |= {"m": links.m, "payload_m": links.payload_m}
        metadata = {
            key: value
            for key, value in (config.metadata or {}).items()
            if key == INDEXES or not (key == CARD or key.startswith(_OWN))
        }
        wanted = {
            **_fitting(_shown(config.params), models.CreateCollection),
            "hnsw_config": _fitting(graph, models.HnswConfigDiff),
            "optimizers_config": _fitting(
                _shown(config.optimizer_config), models.OptimizersConfigDiff
            ),
            "quantization_config": _shown(config.quantization_config) or None,
            "strict_mode_config": _fitting(
                _shown(config.strict_mode_config), models.StrictModeConfig
            )
            or None,
            "metadata": metadata,
        }
        indexes = {
            path: held.data_type if held.params is None else held.params
            for path, held in info.payload_schema.items()
        }
        return cls(
            settings=models.CreateCollection.model_validate(_without_replaced(wanted)),
            indexes=indexes,
        )

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        shown = {
            "settings": _shown(self.settings),
            "indexes": _SCHEMAS.dump_python(
                dict(self.indexes), mode="json", exclude_none=True, warnings=False
            ),
        }
        return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            StoreError: It is damaged, or this qdrant-client does not know a setting.
        """
        try:
            held = json.loads(text)
            return cls(
                settings=models.CreateCollection.model_validate(held["settings"]),
                indexes=_SCHEMAS.validate_python(_without_replaced(held["indexes"])),
            )
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise StoreError(
                f"{where} cannot be read ({error!r}); if a newer qdrant-client wrote it, upgrade "
                "qdrant-client"
            ) from error

    def make(self, requests: Requests, name: str, card: CollectionMetadata) -> None:
        """Make an empty collection with these settings, its indexes, and metadata of decant's.

        Raises:
            StoreError: There is one of this name, or the server has no such settings.
        """
        held = self.settings
        request = partial(
            requests.client.create_collection,
            name,
            vectors_config=held.vectors,
            sparse_vectors_config=held.sparse_vectors,
            shard_number=held.shard_number,
            replication_factor=held.replication_factor,
            write_consistency_factor=held.write_consistency_factor,
            on_disk_payload=held.on_disk_payload,
            hnsw_config=held.hnsw_config,
            optimizers_config=held.optimizers_config,
            quantization_config=held.quantization_config,
            strict_mode_config=held.strict_mode_config,
            metadata={**(held.metadata or {}), CARD: card.to_json()},
        )
        requests.ask(f"making the collection {name!r}", request)

    def make_indexes(self, requests: Requests, name: str) -> None:
        """Make the payload indexes that a collection lacks; local mode has none.

        Raises:
            StoreError: The server refuses one, but for one that its limits do not allow.
        """
        if requests.is_local:
            return
        look = partial(requests.client.get_collection, name)
        there = requests.ask(f"looking at {name!r}", look).payload_schema
        missing = {path: kind for path, kind in self.indexes.items() if path not in there}

        def make(path: str, kind: models.PayloadFieldSchema) -> None:
            index = requests.client.create_payload_index
            one = partial(index, name, path, field_schema=kind)
            requests.ask(f"indexing {path!r} in {name!r}", one)

        try:
            make_together(missing, make)  # type: ignore[arg-type]
        except StoreError as error:
            if not is_not_allowed(error):
                raise


def _shown(model: Any) -> dict[str, Any]:  # noqa: ANN401 - a model of the client, or None
    """Return a model as JSON data without what is not set."""
    if model is None:
        return {}
    found: dict[str, Any] = model.model_dump(mode="json", exclude_none=True, warnings=False)
    return found


def _fitting(data: Mapping[str, Any], kind: Any) -> dict[str, Any]:  # noqa: ANN401 - likewise
    """Return the entries that a model has, with a value: a report may have more."""
    return {
        key: value for key, value in data.items() if key in kind.model_fields and value is not None
    }


def _without_replaced(value: Any) -> Any:  # noqa: ANN401 - JSON data
    """Return JSON data without the older words for where something lies, where both are given."""
    if isinstance(value, dict):
        old = _REPLACED if value.get("memory") is not None else ()
        return {key: _without_replaced(one) for key, one in value.items() if key not in old}
    return [_without_replaced(one) for one in value] if isinstance(value, list) else value
