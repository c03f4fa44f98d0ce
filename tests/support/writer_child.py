"""A process that writes to a collection until it is done; the arguments say where and what."""

from __future__ import annotations

import sys

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Chunking, Collection, Document, connect

SMALL = Chunking(max_tokens=8)
COUNT = 40


def documents(version: str) -> list[Document]:
    """Return documents of a version, which their texts and their metadata name."""
    texts = ("sea", "sky", version) if version != "v2" else (version, "sky", "tide", "sun")
    return [
        Document(
            source=f"{n}.txt",
            root="r",
            text="\n\n".join(f"a long paragraph {n} about {word}" for word in texts),
            metadata={"version": version},
        )
        for n in range(COUNT)
    ]


def main(url: str, work: str, tenant: str = "") -> None:
    """Open the collection, or what a tenant has in it, say so, and work when a line comes."""
    with connect(url) as store:
        docs = Collection.open(store, "docs", HashEncoder(8)).for_tenant(tenant or None)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        if work != "delete":
            docs.index(documents(work), chunking=SMALL)
        else:
            for n in range(0, COUNT, 3):
                docs.delete_source(f"{n}.txt")


if __name__ == "__main__":
    main(*sys.argv[1:])
