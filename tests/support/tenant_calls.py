"""Random calls of every public method of a collection, for a tenant's view and for a model of it.

The model of a tenant is a collection of its own without tenants: a view must answer each call as
the model does, whatever the other tenants have done.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from qdrant_client import models

from decant.integrations.qdrant import (
    CheckReport,
    Collection,
    CollectionInfo,
    Document,
    Equals,
    Field,
    FieldIn,
    Hit,
    Not,
    Or,
    Passage,
    Record,
    SearchOptions,
)
from decant.integrations.qdrant.stores.filters import Where
from decant.integrations.qdrant.stores.point_ids import record_id

UUIDS = ["0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e", "11111111-2222-3333-4444-555555555555"]
IDS = ["a", "b", "c", *UUIDS]
SOURCES = ["ferry.md", "island.md", ""]
ROOTS = ["notes", None]
WORDS = ["ferry", "island", "harbour", "storm", "lamp"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a public method: its name, and the arguments, which both sides get."""

    method: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    is_async: bool

    def answer(self, collection: Collection) -> Any:
        """Call the method, and return what can be compared with another collection's answer."""
        if self.is_async:
            waiting = getattr(collection, f"a{self.method}")(*self.arguments, **self.options)
            return comparable(asyncio.run(waiting))
        return comparable(getattr(collection, self.method)(*self.arguments, **self.options))


def comparable(answer: Any) -> Any:
    """Return an answer without what differs between two collections, such as their names."""
    match answer:
        case CollectionInfo():
            return answer.passages, answer.documents, answer.filled_by
        case CheckReport():
            return answer
        case Passage():
            return answer.id, answer.text, answer.source, answer.root, answer.metadata
        case [Hit(), *_]:
            return Ranking(list(answer))
        case list():
            return [comparable(item) for item in answer]
        case None | bool() | int() | str():
            return answer
        case _ if hasattr(answer, "__next__"):
            return sorted(comparable(item) for item in answer)
        case _:
            return answer


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Hits, equal to others that differ only in the order and the choice of equal scores.

    Engines round scores by the place of a vector among others, so which of two equal ones is first,
    or is cut off at either end of a page, is not decided.
    """

    hits: list[Hit]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranking) or len(self.hits) != len(other.hits):
            return False
        if not all(map(_is_near, self.hits, other.hits)):
            return False
        mine = {(hit.id, hit.text, hit.source): hit for hit in self.hits}
        theirs = {(hit.id, hit.text, hit.source): hit for hit in other.hits}
        ends = self.hits[:1] + self.hits[-1:]
        differing = [(mine | theirs)[key] for key in mine.keys() ^ theirs.keys()]
        return all(any(_is_near(hit, end) for end in ends) for hit in differing)

    __hash__ = None  # type: ignore[assignment]


def _is_near(one: Hit, other: Hit) -> bool:
    return math.isclose(one.score, other.score, abs_tol=1e-4)


def text(random: Random) -> str:
    """Return some words."""
    return " ".join(random.choices(WORDS, k=random.randint(1, 4)))


def record(random: Random) -> Record:
    """Return a record whose id another tenant may have, too."""
    return Record(
        id=random.choice(IDS),
        text=text(random),
        source=random.choice(SOURCES),
        metadata={"n": random.randint(0, 2)},
    )


def document(random: Random, source: str, root: str | None) -> Document:
    """Return a document that another tenant may have, too."""
    return Document(source=source, root=root, text=text(random), metadata={"n": 1})


def documents(random: Random) -> list[Document]:
    """Return up to three documents of one root."""
    root = random.choice(ROOTS)
    return [
        document(random, name, root) for name in random.sample(SOURCES[:2], random.randint(1, 2))
    ]


def condition(random: Random) -> Where:
    """Return a condition, also those that could let others through if they were not joined."""
    points = [record_id(identity) for identity in IDS]
    found: list[Where] = [
        Equals("n", 1),
        Not(Equals("n", 1)),
        Or([Equals("n", 0), Not(Equals("n", 0))]),
        FieldIn(Field.ID, random.sample(IDS, 3)),
        Not(FieldIn(Field.ID, random.sample(IDS, 2))),
        FieldIn(Field.SOURCE, ["ferry.md"]),
        {"n": 2},
        models.Filter(should=[models.HasIdCondition(has_id=random.sample(points, 3))]),
        models.Filter(must_not=[models.HasIdCondition(has_id=random.sample(points, 2))]),
        models.Filter(
            must_not=[
                models.FieldCondition(key="source", match=models.MatchValue(value="nobody")),
                models.HasIdCondition(has_id=[points[0]]),
            ]
        ),
    ]
    return random.choice(found)


def optional(random: Random) -> Where | None:
    """Return a condition or none."""
    return condition(random) if random.random() < 0.5 else None


def _searching(random: Random) -> dict[str, Any]:
    options = SearchOptions(exact=True) if random.random() < 0.5 else None
    offset = random.choice([0, 0, 1])
    return {"limit": random.randint(1, 6), "offset": offset, "where": optional(random),
            "mode": "dense", "options": options}  # fmt: skip


def _vector(random: Random) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray([random.gauss(0, 1) for _ in range(16)], np.float32)


CALLS: dict[str, Callable[[Random], Arguments]] = {
    "add": lambda r: (([record(r) for _ in range(r.randint(1, 4))],), {}),
    "index": lambda r: ((documents(r),), {"verify": r.random() < 0.5}),
    "get": lambda r: ((r.sample(IDS, 3),), {}),
    "each": lambda r: ((optional(r),), {}),
    "search": lambda r: ((text(r),), _searching(r)),
    "search_many": lambda r: (([text(r), text(r)],), _searching(r)),
    "search_vector": lambda r: ((_vector(r),), _searching(r)),
    "count": lambda r: ((optional(r),), {}),
    "info": lambda _: ((), {}),
    "check": lambda _: ((), {}),
    "delete": lambda r: ((r.sample(IDS, 2),), {}),
    "delete_where": lambda r: ((condition(r),), {}),
    "delete_source": lambda r: ((r.choice(SOURCES[:2]),), {"root": r.choice(ROOTS)}),
    "clear": lambda _: ((), {}),
    "keep_golden_vectors": lambda _: ((), {}),
}
"""Every public method that reads or changes passages, and how to draw its arguments."""

RARE = frozenset({"clear", "keep_golden_vectors", "info", "check"})


def draw(random: Random) -> Call:
    """Return a random call; those that empty a collection, or are slow, come rarely."""
    methods = [name for name in CALLS for _ in range(1 if name in RARE else 4)]
    method = random.choice(methods)
    arguments, options = CALLS[method](random)
    has_async = hasattr(Collection, f"a{method}")
    return Call(method, arguments, options, is_async=has_async and random.random() < 0.2)
