"""The collections of a server: list, create, open, index and delete them.

decant stores in a collection's metadata its own :class:`CollectionMetadata` and the payload indexes
that the collection should have. Invariant: a collection without such metadata is never written to
or deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from qdrant_client import models

from decant.embedders import StoreError
from decant.embedders.json_records import encode, parse

from ..foreign_payloads.payload_layout import SOURCE
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import (
    CollectionSettings,
    FieldType,
    Layout,
    StoredLayout,
)
from ..stores.input_errors import absent, is_alias, present
from ..stores.protocol import KEYWORDS, SPARSE, TEXT
from ..stores.search_defaults import SearchDefaults
from ..words.bm25 import BM25
from .layouts.from_server import stored_layout
from .layouts.to_server import check_layout, strict_mode, vector_changes, vector_params
from .limits import Limits
from .naming.aliases import CARD, INDEXES, OWN_NAME, RemoteAliases
from .payload_indexes import (
    IndexSchema,
    is_not_allowed,
    make_together,
    missing_indexes,
    too_many,
)
from .refusals import NOT_FOUND, Refusal
from .requests import Requests
from .tenants.shard_keys import check_tenants, hnsw_of, make_shard_keys, sharding_of
from .words.text_index import StoredWords, WordsIndex, can_score_texts

_SEARCH = "decant_search"
LENGTH = "decant_average_length"
_TOGETHER = 8  # requests


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCollection:
    """A collection that was opened.

    Args:
        name: Its own name.
        card: Its metadata.
        words: How its words are indexed, if they are.
    """

    name: str
    card: CollectionMetadata
    words: StoredWords | None


class RemoteCatalog:
    """The collections of one server.

    Args:
        requests: Sends requests, and remembers the limits of opened collections.

    Attributes:
        aliases: The aliases of the server, and the notes of migrations.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self.aliases = RemoteAliases(
            requests.client, requests.ask, requests.place, is_local=requests.is_local
        )
        self._client = requests.client
        self._ask = requests.ask
        self._layouts: dict[str, StoredLayout] = {}

    @property
    def place(self) -> str:
        """The address, for messages."""
        return self._requests.place

    @property
    def can_score_texts(self) -> bool:
        """Whether the server and the client can rank by a text index."""
        return can_score_texts(self._requests.version)

    def names(self) -> list[str]:
        """Return the names of collections that decant made, and their aliases, sorted.

        A server lists names alone, so each collection there costs one request, eight at a time.
        """
        listed = self._listed()
        if self._requests.is_local or not listed:
            made = {name for name in listed if self._is_ours(name)}
        else:
            with ThreadPoolExecutor(min(_TOGETHER, len(listed)), "decant-names") as pool:
                ours = pool.map(self._is_ours, listed)
                made = {name for name, is_ours in zip(listed, ours, strict=True) if is_ours}
        if not made:
            return []
        return sorted(
            made | {alias for alias, name in self.aliases.of_server().items() if name in made}
        )

    def create(
        self, name: str, card: CollectionMetadata, settings: CollectionSettings
    ) -> OpenCollection:
        """Create an empty collection with its metadata and its indexes."""
        check_layout(settings, self._requests.version, self.place)
        check_tenants(settings, self._requests.version, self.place)
        if self._has(name):
            raise self._present(name)
        words_index = WordsIndex.TEXT if self.can_score_texts else WordsIndex.SPARSE
        indexes = dict.fromkeys(KEYWORDS, FieldType.KEYWORD)
        indexes |= {item.path: item.type for item in settings.indexed}
        request = partial(
            self._client.create_collection,
            name,
            vectors_config=vector_params(card, settings, self._requests.version),
            sparse_vectors_config=_sparse_params(card, words_index) or None,
            hnsw_config=hnsw_of(settings),
            sharding_method=sharding_of(card),
            shard_number=settings.shards,
            replication_factor=settings.replicas,
            write_consistency_factor=settings.write_consistency,
            strict_mode_config=strict_mode(settings),
            metadata={
                CARD: card.to_json(),
                OWN_NAME: name,
                INDEXES: {path: kind.value for path, kind in indexes.items()},
            },
        )
        try:
            self._ask(f"making the collection {name!r}", request)
        except StoreError:
            # If an answer got lost, the next attempt finds that the collection exists, with our
            # mark.
            if not self._has(name):
                raise
        info = self._info(name)
        if self._read_card(name, info).mark != card.mark:
            raise self._present(name)
        try:
            make_shard_keys(self._client, name, card, self._ask)
        except StoreError:
            self._delete(name)
            raise
        try:
            self._complete(name, card, info)
        except StoreError as error:
            if not is_not_allowed(error):
                raise  # opening the collection makes them
            self._delete(name)
            raise (too_many(error) if Refusal.of(error).has_too_many_indexes else error) from error
        return OpenCollection(name=name, card=card, words=StoredWords.of(card, info))

    def open(self, name: str) -> OpenCollection:
        """Open a collection, and make missing indexes as far as the server allows."""
        return self._opened(name, self._existing(name))

    def _opened(self, name: str, info: models.CollectionInfo) -> OpenCollection:
        card = self._read_card(name, info)
        try:
            self._complete(name, card, info)
        except StoreError as error:
            if not is_not_allowed(error):
                raise
        return OpenCollection(name=name, card=card, words=StoredWords.of(card, info))

    def find(self, name: str) -> OpenCollection:
        """Open the collection that a name means."""
        if not self._has(name):
            if (real := self.aliases.lost(name, listed := self._listed())) is not None:
                return self.find(real)
            raise absent(name, self._requests.place, listed)
        info = self._info(name)
        if (real := self.aliases.follow(name, info.config.metadata or {})) == name:
            return self._opened(name, info)
        return self.find(real)

    def adopt(self, name: str, card: CollectionMetadata) -> OpenCollection:
        """Give a collection that another program made its metadata; points stay as they are.

        Raises:
            StoreError: It has metadata of decant, or there is none of this name.
        """
        assert card.payload_layout is not None
        info = self._existing(name)
        if CARD in (info.config.metadata or {}):
            raise StoreError(
                f"the collection {name!r} at {self._requests.place} has metadata of decant "
                "already; open it with Collection.open"
            )
        indexes = {card.payload_layout.path([SOURCE]): FieldType.KEYWORD.value}
        metadata = {CARD: card.to_json(), INDEXES: indexes}
        note = partial(self._client.update_collection, name, metadata=metadata)
        self._ask(f"adopting {name!r}", note)
        return self.open(name)

    def layout(self, name: str) -> StoredLayout:
        """Return the layout of a collection, as the server reports it now."""
        return stored_layout(self._existing(name))

    def known_layout(self, name: str) -> StoredLayout:
        """Return the layout of a collection when it was last looked at."""
        return self._layouts.get(name) or self.layout(name)

    def relayout(self, name: str, layout: Layout) -> None:
        """Request another layout, if the collection has not got it; the server then builds it."""
        check_layout(layout, self._requests.version, self.place)
        info = self._existing(name)
        if self._read_card(name, info).payload_layout is not None:
            raise StoreError(f"{name!r} was adopted; change its layout with a client of the server")
        held = stored_layout(info)
        held.check_change(layout, f"{name!r} at {self.place}")
        if held.after(layout) == held:
            return
        # A quantization of the whole collection, which another program set, would apply, too.
        everywhere = info.config.quantization_config is not None and layout.storage is not None
        change = partial(
            self._client.update_collection,
            name,
            vectors_config=vector_changes(held, layout, self._requests.version),
            quantization_config=models.Disabled.DISABLED if everywhere else None,
            collection_params=None
            if layout.write_consistency is None
            else models.CollectionParamsDiff(write_consistency_factor=layout.write_consistency),
            strict_mode_config=strict_mode(layout),
        )
        self._ask(f"changing the layout of {name!r}", change)
        self._info(name)

    def words(self, name: str) -> StoredWords | None:
        """Return how a collection indexes words; None if it does not."""
        return self.open(name).words

    def missing_indexes(self, name: str) -> list[str]:
        """Return the paths of the indexes that a collection should have and lacks."""
        if self._requests.is_local:
            return []
        info = self._existing(name)
        return [*missing_indexes(self._read_card(name, info), info)]

    def drop(self, name: str) -> None:
        """Delete a collection."""
        info = self._existing(name)
        if (means := self.aliases.follow(name, info.config.metadata or {})) != name:
            raise is_alias(name, means, self._requests.place)
        self._card_text(name, info)
        self.aliases.forget(name, info.config.metadata or {})
        # A server answers False for an alias, and if a request whose answer got lost deleted it.
        if self._delete(name) or not self._has(name):
            return
        raise StoreError(
            f"the collection {name!r} at {self._requests.place} was not deleted, and the server "
            "did not say why; look at its log"
        )

    def average_length(self, name: str) -> float | None:
        """Return how many words the texts of a collection have on average, as was noted."""
        noted = (self._info(name).config.metadata or {}).get(LENGTH)
        return None if noted is None else float(noted)

    def note_average_length(self, name: str, length: float) -> None:
        """Note how many words the first texts of a collection have on average."""
        note = partial(self._client.update_collection, name, metadata={LENGTH: length})
        self._ask(f"noting the length of texts in {name!r}", note)

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults in a collection's metadata; None removes them."""
        self._card_text(name, self._existing(name))
        # As text, because clients differ in whether they send a null within metadata.
        text = json.dumps(encode(defaults))
        note = partial(self._client.update_collection, name, metadata={_SEARCH: text})
        self._ask(f"keeping how {name!r} is searched", note)

    def add_index(self, name: str, path: str, kind: FieldType) -> None:
        """Make an index, then record it: a record without an index would stay for ever."""
        info = self._info(name)
        try:
            self._index(name, path, models.PayloadSchemaType(kind.value))
        except StoreError as error:
            if Refusal.of(error).has_too_many_indexes:
                raise too_many(error) from error
            raise
        indexes = {**(info.config.metadata or {})[INDEXES], path: kind.value}
        noted = partial(self._client.update_collection, name, metadata={INDEXES: indexes})
        self._ask(f"indexing {path!r} in {name!r}", noted)

    def _complete(self, name: str, card: CollectionMetadata, info: models.CollectionInfo) -> None:
        if self._requests.is_local:
            return  # local mode has no payload indexes, and warns at every attempt
        missing = missing_indexes(card, info)
        if not self.can_score_texts:
            missing.pop(TEXT, None)  # a search by words says so
        make_together(missing, partial(self._index, name))

    def _index(self, name: str, path: str, schema: IndexSchema) -> None:
        if self._requests.is_local:
            return
        request = partial(self._client.create_payload_index, name, path, field_schema=schema)
        self._ask(f"indexing {path!r} in {name!r}", request)

    def _info(self, name: str) -> models.CollectionInfo:
        info = self._ask(f"opening {name!r}", partial(self._client.get_collection, name))
        self._requests.remember(name, Limits.of(info.config.strict_mode_config))
        self._layouts[name] = stored_layout(info)
        self.aliases.saw(name, info.config.metadata or {})
        return info

    def _existing(self, name: str) -> models.CollectionInfo:
        if not self._has(name):
            raise absent(name, self._requests.place, self._listed())
        return self._info(name)

    def _read_card(self, name: str, info: models.CollectionInfo) -> CollectionMetadata:
        where = f"collection {name!r} at {self._requests.place}"
        card = CollectionMetadata.from_json(self._card_text(name, info), where=where)
        noted = (info.config.metadata or {}).get(_SEARCH)
        if noted is None:
            return card
        data = parse(str(noted), where=f"the search defaults of {where}", error=StoreError)
        return replace(card, search=SearchDefaults.from_json(data, where=where))

    def _card_text(self, name: str, info: models.CollectionInfo) -> str:
        if CARD not in (metadata := info.config.metadata or {}):
            raise StoreError(
                f"the collection {name!r} at {self._requests.place} has no metadata of decant, "
                "so it was not made by decant; choose another name"
            )
        return str(metadata[CARD])

    def _is_ours(self, name: str) -> bool:
        request = partial(self._client.get_collection, name)
        try:
            info = self._ask(f"looking at {name!r}", request)
        except StoreError as error:
            if Refusal.of(error).status != NOT_FOUND:
                raise
            return False  # the collection was deleted since they were listed
        metadata = info.config.metadata or {}
        return CARD in metadata or self.aliases.is_signpost(metadata)

    def _delete(self, name: str) -> bool:
        deleted = self._ask(f"deleting {name!r}", partial(self._client.delete_collection, name))
        self._requests.remember(name, None)
        self._layouts.pop(name, None)
        return deleted

    def _has(self, name: str) -> bool:
        return self._ask(f"looking for {name!r}", partial(self._client.collection_exists, name))

    def _listed(self) -> Sequence[str]:
        found = self._ask("listing the collections", self._client.get_collections)
        return sorted(item.name for item in found.collections)

    def _present(self, name: str) -> StoreError:
        if (real := self.aliases.of_server().get(name)) is None:
            return present(name, self._requests.place)
        return StoreError(
            f"a collection {name!r} already exists in {self._requests.place}, as an alias of "
            f"{real!r}; open it with Collection.open, or delete the alias with a client of the "
            "server"
        )


def _sparse_params(
    card: CollectionMetadata, index: WordsIndex
) -> dict[str, models.SparseVectorParams]:
    params = {}
    if card.sparse:
        # No IDF modifier: the weights are the model's, which has learned what is rare.
        params[SPARSE] = models.SparseVectorParams()
    if card.words is not None and index is WordsIndex.SPARSE:
        params[BM25] = models.SparseVectorParams(modifier=models.Modifier.IDF)
    return params
