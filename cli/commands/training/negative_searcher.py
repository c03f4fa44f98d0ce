"""Search for hard negatives in a temporary collection on Qdrant Edge.

Candidates and the query's own positive are scored by the cosine of one encoder. Which candidates
become negatives is decided in ``decant.training``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ...output.progress import bar
from ...output.terminal import say
from ..collections.index import index_into

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from decant.embedders import Encoder
    from decant.integrations.qdrant import Collection
    from decant.training import Ranking, TrainingDataset, TrainingExample

# Above this size, Edge builds an index of the vectors, because exact search is slower.
_MANY = 50_000
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class CollectionSearcher:
    """A searcher that ranks the passages of a collection; see :class:`decant.training.Searcher`.

    Args:
        collection: A collection that holds every positive; :func:`searcher_of` makes it.
    """

    collection: Collection

    def search(self, rows: Sequence[TrainingExample], *, limit: int) -> list[Ranking]:
        """Return one ranking for each row, by cosine."""
        import numpy as np

        from decant.training import Ranking

        queries = self._queries(rows)
        positives = [row.positive or "" for row in rows]
        unique = list(dict.fromkeys(positives))
        stored = self.collection.get([_id(text) for text in unique], with_vectors=True)
        place = {passage.text: number for number, passage in enumerate(stored)}
        vectors = np.stack([np.asarray(passage.vector) for passage in stored])
        own = _unit(vectors)[[place[text] for text in positives]]
        scores = (own * _unit(queries)).sum(axis=1)
        return [
            Ranking(
                positive=float(score),
                candidates=[
                    (hit.text, hit.score)
                    for hit in self.collection.search_vector(query, limit=limit)
                ],
            )
            for query, score in zip(queries, scores, strict=True)
        ]

    def _queries(self, rows: Sequence[TrainingExample]) -> NDArray[np.float32]:
        """Return the vectors of the queries, shape (B, D)."""
        import numpy as np

        from decant.embedders import Role

        encoder = self.collection.encoder
        found = np.empty((len(rows), encoder.dim), np.float32)
        for instruction in dict.fromkeys(row.instruction for row in rows):
            places = [at for at, row in enumerate(rows) if row.instruction == instruction]
            texts = [rows[at].query for at in places]
            found[places] = encoder.encode(texts, role=Role.QUERY, instruction=instruction).dense
        return found


@contextmanager
def searcher_of(
    table: TrainingDataset, corpus: Iterable[Path], encoder: Encoder
) -> Iterator[CollectionSearcher]:
    """Yield a searcher over all positives of a table and the passages of folders."""
    from decant.integrations.qdrant import Collection, connect, read_documents

    with tempfile.TemporaryDirectory(prefix="decant-") as place, connect(place) as store:
        collection = Collection.create(store, "passages", encoder)
        with bar("embedding positives", total=len(table), unit="rows") as shown:
            for done in _filled(collection, table):
                shown.update(done)
        for folder in corpus:
            documents = read_documents(folder)
            report, _ = index_into(collection, documents, total=documents.count())
            for problem in report.problems:
                say(f"{folder}: {problem.source} was left out: {problem.reason}", label="warning")
        if collection.count() > _MANY:
            collection.optimize()
        yield CollectionSearcher(collection)


def _filled(collection: Collection, table: TrainingDataset) -> Iterator[int]:
    """Store each positive once; yield how many rows are done."""
    from decant.integrations.qdrant import Record

    known: set[str] = set()
    for begin in range(0, len(table), _BLOCK):
        texts = {
            _id(row.positive or ""): row.positive or "" for row in table[begin : begin + _BLOCK]
        }
        new = [Record(id=name, text=text) for name, text in texts.items() if name not in known]
        collection.add(new)
        known.update(texts)
        yield min(begin + _BLOCK, len(table))


def _id(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
