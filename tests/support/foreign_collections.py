"""Collections on a server that other programs have filled, each in its own layout."""

from __future__ import annotations

import json
import uuid
from typing import Any

from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder, Prompt, Role
from decant.integrations.qdrant import Collection, Store

TEXTS = [
    f"the {animal} of the year {1990 + number}"
    for number, animal in enumerate(
        ("cat", "dog", "owl", "fox", "elk", "bee", "ant", "cow", "hen", "pig")
    )
]
PASSAGE = Prompt(prefix="passage: ")


def llama_index_payload(text: str, number: int) -> dict[str, Any]:
    """Return the payload of a node as LlamaIndex's store writes it."""
    metadata = {"year": 1990 + number, "source": f"book-{number % 3}"}
    node = {
        "id_": str(number),
        "metadata": metadata,
        "text": text,
        "class_name": "TextNode",
        "excluded_embed_metadata_keys": ["source"],
    }
    return {
        **metadata,
        "_node_content": json.dumps(node),
        "_node_type": "TextNode",
        "document_id": "None",
        "doc_id": "None",
        "ref_doc_id": "None",
    }


def payload(style: str, text: str, number: int) -> dict[str, Any]:
    """Return a payload as one of several programs writes it."""
    metadata = {"year": 1990 + number, "source": f"book-{number % 3}"}
    match style:
        case "langchain":
            return {"page_content": text, "metadata": metadata}
        case "mcp":
            return {"document": text, "metadata": metadata}
        case "haystack":
            return {"id": f"hash{number}", "content": text, "meta": metadata, "blob": None}
        case "llama_index":
            return llama_index_payload(text, number)
        case _:
            return {**metadata, "body": text}


STYLES = ("langchain", "mcp", "haystack", "llama_index", "flat")


def fill(client: QdrantClient, encoder: HashEncoder, style: str, *, vector: str = "") -> list[str]:
    """Make the collection ``notes`` of one program, and return the ids of its points."""
    params = models.VectorParams(size=64, distance=models.Distance.COSINE)
    client.create_collection("notes", {vector: params} if vector else params)
    embedded = [
        f"year: {1990 + number}\n\n{text}" if style == "llama_index" else text
        for number, text in enumerate(TEXTS)
    ]
    rows = encoder.encode(embedded, role=Role.PASSAGE).dense.tolist()
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, text)) for text in TEXTS]
    client.upsert(
        "notes",
        [
            models.PointStruct(
                id=identity,
                vector={vector: row} if vector else row,
                payload=payload(style, text, number),
            )
            for number, (identity, row, text) in enumerate(zip(ids, rows, TEXTS, strict=True))
        ],
    )
    return ids


def adopt(store: Store, encoder: HashEncoder, style: str) -> Collection:
    return Collection.adopt(store, "notes", encoder, text="body" if style == "flat" else None)
