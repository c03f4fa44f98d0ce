"""Time what indexing adds to the encoder and to the engine, and count its requests.

Comparisons, each interleaved. Into a server that takes a fixed time for each request: indexing
one-chunk documents, and encoding the same texts and storing ready points of 256 with the client,
by an encoder that takes next to no time ("server"), and by the bundle in int8 ("model"). On
Qdrant Edge: indexing files, and encoding their chunks alone, in fp32 and int8; storing vectors that
a caller has, and the engine's own inserts of the same points; building the vector index, and the
engine's own on a copy of the same files.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from bench.corpus import chance, draw, load_corpus
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.report import Figure, Findings, Result, Target
from bench.rounds import Contender, Lap, interleave, timed
from bench.slow_server import SlowServer, slow_server
from decant.embedders import Encoder, HashEncoder, Role, load
from decant.export import convert
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Record,
    connect,
)
from decant.integrations.qdrant.edge.points import to_edge
from decant.integrations.qdrant.edge.schema import build_shard
from decant.integrations.qdrant.indexing.chunking import Chunker
from decant.integrations.qdrant.points.passages import record_point
from decant.integrations.qdrant.points.vectors import Row
from decant.integrations.qdrant.server.points import to_struct

WANTED_SERVER, WANTED_EDGE, WANTED_INSERTS, WANTED_OPTIMIZE = 1.5, 1.05, 1.2, 1.1
_PARTS = ("server", "model", "edge", "vectors")
_DIM, _WORDS, _BATCH = 384, 60, 256
_NAME = "benchmark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        parts: Which comparisons.
        documents: How many go to the server.
        delay: How long the server takes for a request, in seconds.
        files: How many are indexed on Edge.
        points: How many vectors are stored.
    """

    common: Common
    parts: tuple[str, ...]
    documents: int
    delay: float
    files: int
    points: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=3)
    made.add_argument("--parts", nargs="*", default=list(_PARTS), choices=_PARTS)
    made.add_argument("--delay", type=float, default=0.02, help="seconds a request (%(default)s)")
    for name, default, what in (
        ("documents", 20_000, "how many go to the server"),
        ("files", 10, "how many are indexed on Edge"),
        ("points", 50_000, "how many vectors are stored"),
    ):
        made.add_argument(f"--{name}", type=positive, default=default, help=f"{what} (%(default)s)")
    found = made.parse_args(arguments)
    return Options(
        common=common(found),
        parts=tuple(found.parts),
        documents=found.documents,
        delay=found.delay,
        files=found.files,
        points=found.points,
    )


def measure(options: Options, stage: Stage) -> Result:
    """Run the chosen comparisons."""
    found = Findings()
    if "server" in options.parts:
        with slow_server(options.delay) as server:
            found = found.and_then(into_server(server, HashEncoder(_DIM), options, stage))
    if "model" in options.parts:
        with slow_server(options.delay) as server:
            found = found.and_then(into_server(server, _load("int8", stage), options, stage))
    if "edge" in options.parts:
        for precision in ("fp32", "int8"):
            found = found.and_then(beside_encoding(precision, options, stage))
    if "vectors" in options.parts:
        found = found.and_then(beside_engine(options, stage))
    return Result(
        benchmark="indexing",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={"request": f"{1000 * options.delay:g} ms"},
        figures=found.figures,
        targets=found.targets,
    )


def into_server(server: SlowServer, encoder: Encoder, options: Options, stage: Stage) -> Findings:
    """Compare indexing with encoding and raw upserts of the same chunks."""
    drawn = chance(options.common.seed)
    words = [f"w{number}" for number in range(5_000)]
    documents = [
        Document(source=f"{number}.txt", text=" ".join(drawn.choices(words, k=_WORDS)))
        for number in range(options.documents)
    ]
    texts = [document.text for document in documents]
    rows = encoder.encode(texts, role=Role.PASSAGE).dense
    points = [
        record_point(Record(text=text, source=document.source), f"{number}", Row(dense=row))
        for number, (document, text, row) in enumerate(zip(documents, texts, rows, strict=True))
    ]
    client = QdrantClient(url=server.url, check_compatibility=False, timeout=60)
    shape = models.VectorParams(size=_DIM, distance=models.Distance.COSINE)
    client.create_collection("raw", vectors_config={"dense": shape})
    fresh = (f"ours-{number}" for number in count())
    asked: list[dict[str, int]] = []

    def encode() -> None:
        for _ in encoder.stream(iter(texts), role=Role.PASSAGE):
            pass

    def upsert() -> None:
        for start in range(0, len(points), _BATCH):
            client.upsert("raw", [to_struct(it) for it in points[start : start + _BATCH]])

    def index() -> None:
        with connect(server.url) as store:
            collection = Collection.create(store, next(fresh), encoder)
            server.account()
            collection.index(documents)
        account = server.account()
        assert account.points["chunk"] == account.points["document"] == len(documents)
        asked.append(account.requests)

    contenders = [
        Contender(name=name, settings="", run=run)
        for name, run in (("encode", encode), ("upsert", upsert), ("index", index))
    ]
    laps = interleave(contenders, rounds=options.common.rounds, on_step=stage.on_step)
    parts = zip(laps["index"], laps["encode"], laps["upsert"], strict=True)
    ratio = median(ours.wall / (one.wall + other.wall) for ours, one, other in parts)
    base = encoder.recipe.base
    figures = [_seconds(f"server, {base}: {name}", laps[name]) for name in laps]
    figures += [
        Figure(name=f"server, {base}: {kind}", value=number, unit="requests")
        for kind, number in sorted(asked[-1].items())
    ]
    name = f"indexing into a server by {base}, of encoding and raw upserts"
    target = _target(name, WANTED_SERVER, ratio)
    return Findings(figures=tuple(figures), targets=(target,))


def beside_encoding(precision: str, options: Options, stage: Stage) -> Findings:
    """Compare indexing on Edge with encoding the same chunks alone."""
    encoder = _load(precision, stage)
    corpus = load_corpus(options.common.data)
    documents = [
        Document(source=text.name, text=text.text)
        for text in draw(corpus, options.files, seed=options.common.seed)
    ]
    cutter = Chunker(encoder, Chunking())
    chunks = [chunk.text for document in documents for chunk in cutter.cut(document.text)]
    fresh = (stage.work / f"{precision}-{number}" for number in count())

    def encode() -> None:
        for _ in encoder.stream(iter(chunks), role=Role.PASSAGE):
            pass

    def index() -> None:
        with connect(next(fresh)) as store:
            Collection.create(store, _NAME, encoder).index(documents)

    contenders = [
        Contender(name="encode", settings=precision, run=encode, warm_up=encode),
        Contender(name="index", settings=precision, run=index, warm_up=index),
    ]
    laps = interleave(contenders, rounds=options.common.rounds, on_step=stage.on_step)
    pairs = list(zip(laps["index"], laps["encode"], strict=True))
    cpu = median(ours.cpu / theirs.cpu for ours, theirs in pairs)
    wall = median(ours.wall / theirs.wall for ours, theirs in pairs)
    figures = [_seconds(f"Edge, {precision}: {name}", laps[name]) for name in laps]
    figures.append(
        Figure(name=f"Edge, {precision}: processor time, index of encode", value=cpu, unit="×")
    )
    target = _target(f"indexing on Edge, of encoding in {precision}", WANTED_EDGE, wall)
    return Findings(figures=tuple(figures), targets=(target,))


def beside_engine(options: Options, stage: Stage) -> Findings:
    """Compare storing vectors, and building the index over them, with the engine's own."""
    drawn = np.random.default_rng(options.common.seed)
    rows = drawn.normal(size=(options.points, _DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    records = [
        Record(id=f"r{number}", text=f"text number {number} " * 10, metadata={"n": number})
        for number in range(len(rows))
    ]
    ours = (stage.work / f"add-{number}" for number in count())
    theirs = (stage.work / f"raw-{number}" for number in count())
    inserts, additions = [], []
    folder = stage.work
    for number in range(options.common.rounds):
        stage.on_step(f"storing vectors, round {number + 1} of {options.common.rounds}")
        folder = next(ours)
        with connect(folder) as store:
            made = Collection.create(store, _NAME, HashEncoder(_DIM))
            additions.append(timed(partial(made.add, records, vectors=rows)))
        inserts.append(_insert(next(theirs), records, rows))
    stage.on_step("optimizing")
    copy = stage.work / "copy"
    shutil.copytree(folder, copy)
    shard = edge.EdgeShard.load(str(copy / _NAME / "shard"))
    engine = timed(shard.optimize)
    shard.close()
    with connect(folder) as store:
        own = timed(Collection.open(store, _NAME, HashEncoder(_DIM)).optimize)
    pairs = zip(additions, inserts, strict=True)
    ratio = median(one.wall / other.wall for one, other in pairs)
    figures = (
        _seconds("vectors: add", additions),
        _seconds("vectors: the engine's inserts", inserts),
        _seconds("optimize", [own]),
        _seconds("the engine's optimize", [engine]),
    )
    targets = (
        _target("storing vectors, of the engine's inserts", WANTED_INSERTS, ratio),
        _target("optimize, of the engine's own", WANTED_OPTIMIZE, own.wall / engine.wall),
    )
    return Findings(figures=figures, targets=targets)


def _insert(folder: Path, records: Sequence[Record], rows: NDArray[np.float32]) -> Lap:
    """Time the engine's inserts of the points that ``add`` makes of these records."""
    points = [
        record_point(record, str(record.id), Row(dense=row))
        for record, row in zip(records, rows, strict=True)
    ]
    card = CollectionMetadata.of(HashEncoder(_DIM))
    build_shard(folder, card=card, settings=CollectionSettings())
    shard = edge.EdgeShard.load(str(folder))

    def insert() -> None:
        for start in range(0, len(points), _BATCH):
            part = [to_edge(point) for point in points[start : start + _BATCH]]
            shard.update(edge.UpdateOperation.upsert_points(part))

    lap = timed(insert)
    shard.close()
    return lap


def _load(precision: str, stage: Stage) -> Encoder:
    """Open the bundle in a precision, which is made in a copy if it is not there."""
    copy = stage.work / "bundle"
    if not copy.exists():
        shutil.copytree(stage.bundle, copy)
    if precision != "fp32" and not any(copy.rglob(f"*{precision}*.onnx")):
        stage.on_step(f"converting to {precision}")
        convert(copy, precision)
    return load(copy, provider="cpu", precision=precision)


def _seconds(name: str, laps: Sequence[Lap]) -> Figure:
    return Figure(name=name, value=median(lap.wall for lap in laps), unit="s")


def _target(name: str, wanted: float, measured: float) -> Target:
    return Target(name=name, wanted=wanted, measured=measured, unit="×", at_most=True)


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
