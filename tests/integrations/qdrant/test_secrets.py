"""Texts, queries and keys are nowhere that operators look: logs, spans, errors, reprs, reports.

One story on every engine: index, add, search, fail in many ways, and look for what it was about.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from decant.embedders import DecantError, HashEncoder, Role, Vectors
from decant.embedders.json_records import to_json
from decant.embedders.log_events import JsonFormatter
from decant.integrations.qdrant import (
    Collection,
    Document,
    Record,
    SearchMode,
    SearchOptions,
    Store,
    connect,
    diagnose_store,
)
from qdrant_double import Fault, QdrantDouble, grpc_front, reached
from recorded_spans import recorded_spans

CANARY = "canary-of-a-text"
KEY = "canary-key-of-a-server"
ENGINES = ("edge", "local", "rest", "grpc")


class Strange(HashEncoder):
    """An encoder that fails for texts that say so."""

    def stream(self, texts: Iterable[str], *, role: Role, **options: Any) -> Iterator[Vectors]:
        for text in texts:
            if "broken" in text:
                raise DecantError("the encoder broke")
            for found in super().stream([text], role=role, **options):
                if "not a number" in text:
                    found.dense[:] = np.nan
                yield found


@contextmanager
def opened(engine: str, folder: Path, double: QdrantDouble) -> Iterator[Store]:
    match engine:
        case "edge":
            with connect(folder / "index") as store:
                yield store
        case "local":
            with connect(QdrantClient(":memory:")) as store:
                yield store
        case _:
            double.keys = {KEY}
            front = grpc_front(double) if engine == "grpc" else nullcontext()
            with front as port, reached(double, api_key=KEY, grpc_port=port) as store:
                yield store


def failures(docs: Collection, double: QdrantDouble) -> dict[str, Callable[[], object]]:
    """Return calls that fail, each with a text in its arguments."""

    def refused(status: int) -> object:
        double.faults.extend([Fault(status=status, said=f"no: {KEY}")] * 4)
        try:
            return docs.search(CANARY)
        finally:
            double.faults.clear()

    vector = np.full(16, np.nan, np.float32)
    calls: dict[str, Callable[[], object]] = {
        "mode": lambda: docs.search(CANARY, mode=SearchMode.SPARSE),
        "limit": lambda: docs.search(CANARY, limit=0),
        "threshold": lambda: docs.search(CANARY, options=SearchOptions(score_threshold={"x": 1.0})),
        "one string": lambda: docs.search_many(CANARY),
        "empty": lambda: docs.search_many([CANARY, ""]),
        "query not a number": lambda: docs.search(f"{CANARY} not a number"),
        "query broken": lambda: docs.search(f"{CANARY} broken"),
        "vector": lambda: docs.search_vector(vector, text=CANARY),
        "record not a number": lambda: docs.add([Record(text=f"{CANARY} not a number")]),
        "record broken": lambda: docs.add([Record(text=f"{CANARY} broken")]),
        "vectors": lambda: docs.add([Record(text=CANARY)], vectors=np.ones((1, 3), np.float32)),
        "texts": lambda: docs.add([Record(text=CANARY)], texts=CANARY),
        "strings": lambda: docs.add([CANARY]),  # type: ignore[list-item]
        "documents": lambda: docs.index([CANARY]),  # type: ignore[list-item]
        "twice": lambda: docs.index([Document(source="a", text=CANARY, root="r")] * 2),
        "broken": lambda: docs.index([Document(source="a", text=f"{CANARY} broken", root="r")]),
    }
    if double.keys:
        calls |= {f"refused {status}": partial(refused, status) for status in (400, 403, 503)}
    return calls


@pytest.mark.parametrize("engine", ENGINES)
def test_no_text_and_no_key_is_seen_by_operators(
    engine: str, tmp_path: Path, double: QdrantDouble, caplog: pytest.LogCaptureFixture
) -> None:
    seen: dict[str, str] = {}
    with (
        recorded_spans() as spans,
        caplog.at_level(logging.DEBUG),
        opened(engine, tmp_path, double) as store,
    ):
        docs = Collection.create(store, "docs", Strange(16))
        documents = [
            Document(source=f"{n}", text=f"{CANARY} {n}", root="notes", metadata={"note": CANARY})
            for n in range(5)
        ]
        seen["report"] = f"{(report := docs.index(documents))!r} {to_json(report)}"
        docs.add([Record(id="a", text=CANARY, metadata={"note": CANARY})])
        assert len(docs.search(CANARY, limit=3)) == 3
        seen["info"] = f"{docs.info()!r} {to_json(docs.info())}"
        seen["doctor"] = repr(diagnose_store(store))
        seen["check"] = repr(docs.check())
        seen["reprs"] = f"{docs!r} {store!r} {store.place} {store.identity!r}"
        for name, call in failures(docs, double).items():
            with pytest.raises((DecantError, TypeError)) as raised:
                call()
            seen[f"error {name}"] = "".join(_messages(raised.value))
        docs.delete(["a"])
        docs.clear()
    formatter = JsonFormatter()
    seen["log"] = "\n".join(map(formatter.format, caplog.records))
    seen["spans"] = spans.text()
    assert spans.named("decant.search")
    assert '"event": "index"' in seen["log"]
    leaked = {where: text for where, text in seen.items() if CANARY in text or KEY in text}
    assert not leaked


def _messages(error: BaseException) -> Iterator[str]:
    """Yield what is shown of an error and of those behind it, without lines of source code."""
    found: BaseException | None = error
    while found is not None:
        yield "".join(traceback.format_exception_only(found))
        found = found.__cause__


def test_a_wrong_key_is_not_quoted(double: QdrantDouble) -> None:
    double.keys = {"another"}
    with pytest.raises(DecantError) as raised:
        connect(double.url, api_key=KEY)
    assert KEY not in "".join(_messages(raised.value))
