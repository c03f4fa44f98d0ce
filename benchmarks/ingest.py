"""Take documents from text files into a store with decant, LangChain and LlamaIndex, and compare.

decant reads the files, cuts, embeds and stores. The others run twice: handed decant's chunks
ready-made, so that all embed the same and reading and cutting is left out of their time; and from
the files with their usual splitters, where chunks differ in number and overlap. decant stores in
Qdrant Edge, the others in qdrant-client's local mode, each in a new folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import Cutter, Text, draw, load_corpus
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.pairs import LangChain, LlamaIndex, Pair
from bench.report import Amount, Figure, Result, Section, Target, lowest_speed_up, section
from bench.rounds import Contender, interleave, timed
from decant.embedders import Encoder, ParityError, load
from decant.integrations.qdrant import Chunking, Collection, connect, read_documents

PEERS = ("LangChain", "LlamaIndex")
WANTED = 1.8
_NAME = "benchmark"
_FEW = 2  # documents in the warm-up
_QUERIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        documents: How many to ingest.
        peers: Whom to compare with.
    """

    common: Common
    documents: int
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A folder of files, and their chunks as decant cuts them."""

    files: Path
    chunks: tuple[str, ...]

    @classmethod
    def write(cls, texts: Sequence[Text], files: Path, cutter: Cutter, *, limit: int) -> Work:
        """Write ``texts`` as files, and cut them at ``limit`` tokens."""
        files.mkdir()
        for text in texts:
            (files / text.name).write_text(text.text, encoding="utf-8")
        chunks = tuple(chunk for text in texts for chunk in cutter.cut(text.text, limit))
        return cls(files=files, chunks=chunks)

    def paths(self) -> list[Path]:
        """Return every file, in the order of names."""
        return sorted(self.files.iterdir())


class Ours:
    """decant's ingest on Edge.

    Args:
        encoder: What embeds.
    """

    name = "decant"
    settings = "Collection.index on Qdrant Edge, from files; all defaults"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def store(self, files: Path, folder: Path) -> int:
        """Ingest files into the collection in ``folder``; return how many chunks it holds."""
        with connect(folder) as store:
            collection = Collection.open_or_create(store, _NAME, self._encoder)
            collection.index(read_documents(files))
            return collection.count()

    def first(self, folder: Path, queries: Sequence[str]) -> list[str]:
        """Return the text of each query's first hit."""
        with connect(folder) as store:
            collection = Collection.open(store, _NAME, self._encoder)
            return [collection.search(query, limit=1)[0].text for query in queries]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=3)
    made.add_argument(
        "--documents", type=positive, default=10, help="how many to ingest (%(default)s)"
    )
    made.add_argument(
        "--peers", nargs="*", default=list(PEERS), choices=PEERS, help="whom to compare with (all)"
    )
    found = made.parse_args(arguments)
    return Options(common=common(found), documents=found.documents, peers=tuple(found.peers))


def measure(options: Options, stage: Stage) -> Result:
    """Check that all find the same, then time them."""
    encoder = load(stage.bundle, provider="cpu")
    cutter = Cutter(encoder.tokenizer)
    corpus = load_corpus(options.common.data)
    texts = draw(corpus, options.documents, seed=options.common.seed)
    limit = min(Chunking().max_tokens + cutter.special, encoder.recipe.max_tokens)
    work = Work.write(texts, stage.work / "files", cutter, limit=limit)
    few = Work.write(texts[:_FEW], stage.work / "few", cutter, limit=limit)
    fresh = (stage.work / f"store-{number}" for number in itertools.count())
    ours, pairs = Ours(encoder), [_pair(name, stage) for name in options.peers]
    stage.on_step("comparing what is found")
    agree(ours, pairs, few, fresh)
    done: list[Path] = []

    def run_ours() -> None:
        done.append(next(fresh))
        ours.store(work.files, done[-1])

    contenders = [Contender(name=ours.name, settings=ours.settings, run=run_ours)]
    amounts = {ours.name: _amount(work.chunks, cutter)}
    for pair in pairs:
        theirs = _contenders(pair, work, fresh)
        contenders += theirs
        split = pair.texts(pair.split(work.paths()))
        for contender, chunks in zip(theirs, (work.chunks, split), strict=True):
            amounts[contender.name] = _amount(chunks, cutter)
    laps = interleave(contenders, rounds=options.common.rounds, on_step=stage.on_step)
    found = section("from text to stored", contenders, laps, amounts)
    stage.on_step("decant, again with nothing changed")
    again = timed(lambda: ours.store(work.files, done[-1]))
    return Result(
        benchmark="ingest",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={"corpus": corpus.name, "documents": str(len(texts))},
        sections=(found,),
        figures=(_share(again.wall, laps[ours.name][-1].wall),),
        targets=tuple(_targets(found, options.peers)),
    )


def agree(ours: Ours, pairs: Sequence[Pair], few: Work, fresh: Iterator[Path]) -> None:
    """Check that all hold the same chunks and find the same; it warms them up, too.

    Raises:
        ParityError: decant cut otherwise than we did, or a first hit differs.
    """
    folder = next(fresh)
    if (held := ours.store(few.files, folder)) != len(few.chunks):
        raise ParityError(
            f"decant stored {held} chunks of documents that we cut into {len(few.chunks)}; give "
            "the peers the same chunks"
        )
    step = max(1, len(few.chunks) // _QUERIES)
    queries = [" ".join(chunk.split()[:12]) for chunk in few.chunks[::step]]
    expected = ours.first(folder, queries)
    for pair in pairs:
        folder = next(fresh)
        pair.store(pair.ready(few.chunks), folder)
        found = pair.first(folder, queries)
        for query, ours_first, theirs in zip(queries, expected, found, strict=True):
            if ours_first != theirs:
                raise ParityError(
                    f"{pair.name} finds {theirs[:60]!r} first for {query!r}, and decant "
                    f"{ours_first[:60]!r}; are model and bundle the same?"
                )


def _pair(name: str, stage: Stage) -> Pair:
    stage.on_step(f"loading {name}")
    return LangChain(stage.model) if name == "LangChain" else LlamaIndex(stage.model)


def _contenders(pair: Pair, work: Work, fresh: Iterator[Path]) -> list[Contender]:
    """Return a framework with our chunks, and with its own."""
    return [
        Contender(
            name=f"{pair.name}, the same chunks",
            settings=pair.settings,
            run=lambda: pair.store(pair.ready(work.chunks), next(fresh)),
        ),
        Contender(
            name=f"{pair.name}, its splitter",
            settings=pair.splitter,
            run=lambda: pair.store(pair.split(work.paths()), next(fresh)),
        ),
    ]


def _amount(chunks: Sequence[str], cutter: Cutter) -> Amount:
    return Amount(chunks=len(chunks), tokens=sum(cutter.tokens(chunks)))


def _share(again: float, first: float) -> Figure:
    return Figure(
        name="decant with nothing changed, of the first run", value=100 * again / first, unit="%"
    )


def _targets(found: Section, peers: Sequence[str]) -> list[Target]:
    return [
        Target(
            name=f"decant against {peer}, the same chunks",
            wanted=WANTED,
            measured=lowest_speed_up(found, f"{peer}, the same"),
            unit="times as fast",
        )
        for peer in peers
    ]


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
