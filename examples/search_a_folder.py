"""Index a folder, ask it something, change a file, and index again: only the change is embedded.

It runs with the shipped fake encoder, so that it needs no model; put ``load("my-bundle")`` in its
place for real vectors.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, FieldIn, connect, read_documents
from decant.integrations.qdrant import Field as Stored

NOTES = {
    "bread.md": "Bread rises because yeast turns sugar into carbon dioxide.",
    "ferry.md": "The ferry to the island leaves at seven and returns at dusk.",
    "peps.md": "A PEP is a design document; the Steering Council accepts or rejects it.",
}


def main() -> None:
    """Index, change, index again, search."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.mkdir()
        for name, text in NOTES.items():
            (notes / name).write_text(text, encoding="utf-8")

        with connect(Path(folder) / "index") as store:
            collection = Collection.create(store, "notes", HashEncoder())
            print("first run: ", collection.index(read_documents(notes)))

            (notes / "ferry.md").write_text("The ferry leaves at nine now.", encoding="utf-8")
            (notes / "bread.md").unlink()
            print("second run:", collection.index(read_documents(notes)))

            for hit in collection.search("when does the ferry leave", limit=2):
                print(f"{hit.score:.2f}  {hit.source}: {hit.text}")
            only = FieldIn(Stored.SOURCE, ["peps.md"])
            (best,) = collection.search("who accepts a design", limit=1, where=only)
            print(f"{best.score:.2f}  {best.source}: {best.text}")


if __name__ == "__main__":
    main()
