"""A collection of dense vectors and words, for the tests of the frameworks."""

from __future__ import annotations

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, CollectionSettings, Record, Store, Words

QUERY = "what does E1234 mean"
_TEXTS = {"code": "error E1234", "mean": "what does it mean", "cat": "a cat sat"}


def word_notes(store: Store) -> Collection:
    """Return a collection of three texts, one of which holds the query's code."""
    if "notes" in store.names():
        store.drop("notes")
    settings = CollectionSettings(words=Words())
    collection = Collection.create(store, "notes", HashEncoder(32), settings=settings)
    collection.add([Record(id=id_, text=text) for id_, text in _TEXTS.items()])
    return collection


def counted_encodes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows by one with every call of ``HashEncoder.encode`` from now on."""
    calls: list[object] = []
    encode = HashEncoder.encode

    def counted(self: HashEncoder, *args: object, **options: object) -> object:
        calls.append(args)
        return encode(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(HashEncoder, "encode", counted)
    return calls
