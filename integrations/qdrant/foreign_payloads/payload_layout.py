"""Where a collection of another program holds texts and metadata, and under which vector.

A layout is a plain value, which the metadata of an adopted collection keep. Reading and writing
payloads by it is here; which layout a collection has is found in ``find_layout.py``. Invariant:
what :meth:`PayloadLayout.write` wrote, the program whose layout it is reads as its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from decant.embedders import StoreError
from decant.embedders.json_records import Json

from .llama_index_nodes import NODE_FIELDS, embedded_text_of, node_payload, text_of_node

OWN_ID = "decant_id"
"""The payload field with the id of a record that decant added, if it is not its point's id."""

SOURCE = "source"
"""The metadata entry that is a passage's source, as LangChain's loaders write it."""


class LayoutKind(StrEnum):
    """How a payload holds its text.

    FIELDS: in a field, next to one with the metadata (langchain-qdrant, mcp-server-qdrant, one's
    own). LLAMA_INDEX: in the JSON of a node, next to the metadata. HAYSTACK: as FIELDS, with the
    document's id.
    """

    FIELDS = "fields"
    LLAMA_INDEX = "llama_index"
    HAYSTACK = "haystack"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadLayout:
    """The layout of the points of a collection that another program made.

    Args:
        kind: How a payload holds its text.
        text: The field with the text.
        metadata: The field with the metadata, an object; "": they are the other fields of the
            payload.
        vector: The name of the dense vector; "" for a collection whose vectors have no name.

    >>> PayloadLayout(text="document").read_text({"document": "a cat"})
    'a cat'
    """

    kind: LayoutKind = LayoutKind.FIELDS
    text: str = "page_content"
    metadata: str = "metadata"
    vector: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", LayoutKind(self.kind))
        if not self.text or self.text == self.metadata:
            raise StoreError(
                f"a layout names two different fields of the payload, text and metadata, got "
                f"text={self.text!r} and metadata={self.metadata!r}"
            )

    def read_text(self, payload: Mapping[str, Json]) -> str | None:
        """Return the text of a point; None if it holds none."""
        if self.kind is LayoutKind.LLAMA_INDEX:
            return text_of_node(payload)
        text = payload.get(self.text)
        return text if isinstance(text, str) else None

    def embedded_text(self, payload: Mapping[str, Json]) -> str | None:
        """Return the text whose vector the program stores; None if the point holds none.

        LlamaIndex embeds the metadata together with the text, as each node says.
        """
        if self.kind is LayoutKind.LLAMA_INDEX:
            return embedded_text_of(payload)
        return self.read_text(payload)

    def read_metadata(self, payload: Mapping[str, Json]) -> dict[str, Json] | None:
        """Return the metadata of a point, empty without any; None if they are no object."""
        if not self.metadata:
            return {key: value for key, value in payload.items() if key not in self.reserved}
        held = payload.get(self.metadata)
        if held is None:
            return {}
        return held if isinstance(held, dict) else None

    def write(
        self, text: str, metadata: Mapping[str, Json], *, source: str, identity: str, point_id: str
    ) -> dict[str, Json]:
        """Return the payload of a record.

        Args:
            text: Its text.
            metadata: Its metadata.
            source: Its source, which becomes the metadata entry :data:`SOURCE`; "" for none.
            identity: Its id.
            point_id: The id of its point.

        Raises:
            StoreError: An entry of the metadata has the name of a field of the layout, or another
                source than the record.
        """
        entries = self._with_source(metadata, source)
        if not self.metadata and (taken := sorted(self.reserved & entries.keys())):
            raise StoreError(
                f"the metadata entry {taken[0]!r} of record {identity!r} is a field of this "
                "collection's layout, whose metadata lie next to it; give the entry another name"
            )
        match self.kind:
            case LayoutKind.LLAMA_INDEX:
                payload = node_payload(text, entries, node_id=point_id)
            case LayoutKind.HAYSTACK:
                return {"id": identity, self.text: text, self.metadata: entries}
            case LayoutKind.FIELDS if self.metadata:
                payload = {self.text: text, self.metadata: entries}
            case LayoutKind.FIELDS:
                payload = {**entries, self.text: text}
            case _:
                assert_never(self.kind)
        return payload if identity == point_id else {**payload, OWN_ID: identity}

    def read_id(self, payload: Mapping[str, Json]) -> str | None:
        """Return the id that the payload states, which may be another program's own."""
        held = payload.get("id" if self.kind is LayoutKind.HAYSTACK else OWN_ID)
        return held if isinstance(held, str) else None

    def path(self, names: Sequence[str]) -> str:
        """Return the path in the payload of a metadata entry.

        Args:
            names: The names that lead to it, quoted where Qdrant's syntax wants it.
        """
        return ".".join([*([self.metadata] if self.metadata else []), *names])

    def own_path(self, path: str) -> str | None:
        """Return the path that a metadata entry has in decant's own payload.

        Args:
            path: What :meth:`path` returned; None for another one.
        """
        before = f"{self.metadata}." if self.metadata else ""
        return f"metadata.{path.removeprefix(before)}" if path.startswith(before) else None

    @property
    def reserved(self) -> frozenset[str]:
        """The fields of the payload that are no metadata."""
        if self.kind is LayoutKind.LLAMA_INDEX:
            return NODE_FIELDS | {OWN_ID}
        return frozenset({self.text, OWN_ID})

    def __str__(self) -> str:
        """Return the layout in words."""
        vector = f"vector {self.vector!r}" if self.vector else "the vector without a name"
        if self.kind is LayoutKind.LLAMA_INDEX:
            return f"LlamaIndex's nodes, {vector}"
        metadata = f"metadata in {self.metadata!r}" if self.metadata else "metadata next to it"
        name = "Haystack's documents: " if self.kind is LayoutKind.HAYSTACK else ""
        return f"{name}text in {self.text!r}, {metadata}, {vector}"

    @staticmethod
    def _with_source(metadata: Mapping[str, Json], source: str) -> dict[str, Json]:
        held = metadata.get(SOURCE, source)
        if source and held != source:
            raise StoreError(
                f"the record's source is {source!r} and its metadata say {held!r}; in an adopted "
                "collection the source is the metadata entry 'source', so give one of them"
            )
        return {**metadata, SOURCE: source} if source else dict(metadata)
