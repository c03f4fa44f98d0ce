"""One model's measurements, with decant's graphs and PyTorch's model open side by side.

What is compared stands in ``matches.py``; here is the order of things and what was aimed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from decant.embedders import OnStep, RecipeError
from decant.embedders.tokens import pad

from ..corpus import Corpus
from ..peers import Embed, Peer, sentence_transformers
from ..report import Figure, Findings, Section, Target, lowest_speed_up
from ..rounds import Contender
from .chip import memory_in_use, release
from .matches import (
    MIXED,
    Ours,
    certificates,
    compete,
    counted,
    distance,
    draw_rows,
    open_ours,
    section_of,
    sized,
)
from .options import Options
from .packed import Way, takes
from .shapes import LONGEST
from .steady import growth, latencies, random_rows
from .subjects import Subject, placement_figures
from .torch_peer import TorchModel

Vectors: TypeAlias = NDArray[np.float32]
AHEAD = 1.0  # times as fast
SHARE = 60.0  # percent of the matrix peak, decoders at 512 tokens on a GPU
NEAR = 0.01  # 1 less the worst cosine to PyTorch's vectors, which may be of half precision, too
_COMPARED = 16  # rows of each section
# Of a padded batch: PyTorch keeps all of its activations in memory.
_MOST_TOKENS = 131_072
_BATCHES = (8, 32, 128, 512, 2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and with whom models are measured.

    Args:
        device: PyTorch's.
        ways: How PyTorch attends.
        peak: Of the matrix product, in operations a second.
        corpus: Where rows come from.
        on_step: Called with the name of each step as it begins.
    """

    device: torch.device
    ways: tuple[Way, ...]
    peak: float
    corpus: Corpus
    on_step: OnStep


def measured(subject: Subject, options: Options, place: Place) -> Findings:
    """Open everything, measure, and leave the device as it was."""
    with ExitStack() as stack:
        bout = Bout(subject, options, place, stack)
        found = bout.agreement()
        for length in options.lengths:
            found = found.and_then(bout.section(length))
        if options.queries:
            found = found.and_then(bout.queries())
        if options.batches:
            found = found.and_then(bout.memory())
    del bout
    release(place.device)
    return found


class Bout:
    """Decant and PyTorch on one model.

    Args:
        subject: The model.
        options: What to measure.
        place: Where.
        stack: Closes what is opened.
    """

    def __init__(self, subject: Subject, options: Options, place: Place, stack: ExitStack) -> None:
        self._subject, self._options, self._place = subject, options, place
        tokenizer = subject.bundle.tokenizer()
        longest = tokenizer.recipe.max_tokens
        for length in options.lengths:
            if length != MIXED and int(length) > longest:
                raise RecipeError(
                    f"{subject.title} takes {longest} tokens at most; leave {length} out of "
                    "--lengths"
                )
        sizes = {
            length: options.tokens or sized(subject.arithmetic, length, place.peak, options.seconds)
            for length in options.lengths
        }
        seed = options.common.seed
        drawn = draw_rows(tokenizer, place.corpus, sizes, seed=seed)
        self._random = random_rows(
            options.batches,
            longest=min(LONGEST, longest),
            vocabulary=tokenizer.bare.get_vocab_size(),
            seed=seed,
        )
        everything = dict(drawn.rows)
        for rows in self._random:
            everything |= rows
        self._rows = replace(drawn, rows=everything)
        # Before anything is open: each graph is opened for it once more.
        self._placement = self._placed()
        place.on_step(f"{subject.title}: opening graphs and PyTorch's model")
        self._ours = open_ours(subject, self._rows.rows, options.provider, options.runtimes, stack)
        self._models = {
            dtype: TorchModel(
                subject.model,
                tokenizer.recipe,
                device=place.device,
                dtype=getattr(torch, dtype),
            )
            for dtype in options.dtypes
        }

    def agreement(self) -> Findings:
        """Compare vectors of some rows of each section; a difference is reported, not raised."""
        names = [name for rows in self._rows.names.values() for name in rows[:_COMPARED]]
        dtype, model = next(iter(self._models.items()))
        theirs = model.embed(Way.SDPA, self._rows.rows)
        targets = [
            Target(
                name=f"{self._subject.title}, {each.name} against torch {dtype}, "
                "1 less the worst cosine",
                wanted=NEAR,
                measured=distance(each, theirs, names),
                unit="",
                at_most=True,
            )
            for each in self._ours
        ]
        return Findings(figures=self._placement, targets=tuple(targets))

    def section(self, length: str) -> Findings:
        """Time everyone on the rows of one length."""
        names = self._rows.names[length]
        title = f"{self._subject.title}, {_lengths(length)}"
        contenders = [_contender(each, names) for each in self._ours]
        if length == MIXED:
            contenders.append(self._from_texts())
        everyone, laps = compete(
            title,
            contenders,
            [*self._peers(names), *(self._from_texts_elsewhere() if length == MIXED else ())],
            names,
            rounds=self._options.common.rounds,
            on_step=self._place.on_step,
        )
        lengths = [len(self._rows.rows[name].ids) for name in names]
        found = counted(
            section_of(title, lengths, everyone, laps),
            self._subject.arithmetic.operations(lengths),
            peak=self._place.peak,
            certificates=certificates(self._subject, self._ours),
        )
        return Findings(sections=(found,), targets=tuple(self._reached(length, found)))

    def queries(self) -> Findings:
        """Time one short query on every side."""
        title, first = self._subject.title, self._ours[0]
        self._place.on_step(f"{title}: one query")
        sides: dict[str, Embed] = {first.name: lambda names, _: first.embed(names)}
        for dtype, model in self._models.items():
            for way in self._ways(dtype):
                sides[f"torch {dtype} {way}"] = model.embed(way, self._rows.rows)
        figures = latencies(title, sides, count=self._options.queries)
        ours, *theirs = [figure.value for figure in figures]
        target = Target(
            name=f"{title}, one query, {first.name} against torch at its fastest, p50",
            wanted=AHEAD,
            measured=min(theirs) / ours,
            unit="times as fast",
        )
        return Findings(figures=tuple(figures), targets=(target,))

    def memory(self) -> Findings:
        """See what changing shapes add to the memory in use."""
        title, first = self._subject.title, self._ours[0]
        self._place.on_step(f"{title}: memory under changing shapes")
        release(self._place.device)
        figures = growth(
            f"{title} {first.precision}",
            first.embed,
            [tuple(rows) for rows in self._random],
            partial(memory_in_use, self._place.device),
        )
        return Findings(figures=tuple(figures))

    def _placed(self) -> tuple[Figure, ...]:
        self._place.on_step(f"{self._subject.title}: where nodes run")
        rows = [self._rows.rows[names[0]] for names in self._rows.names.values()]
        batch = pad(rows, pad_id=0)
        return tuple(placement_figures(self._subject, self._options.provider, batch))

    def _ways(self, dtype: str) -> list[Way]:
        return [way for way in self._place.ways if takes(way, dtype)]

    def _peers(self, names: tuple[str, ...]) -> list[Peer]:
        longest = max(len(self._rows.rows[name].ids) for name in names)
        most = min(_MOST_TOKENS // longest, len(names))
        sizes = [size for size in _BATCHES if size <= most] or [most]
        return [
            Peer(
                name=f"torch {dtype} {way}",
                threads=f"torch's own number of threads, {torch.get_num_threads()}",
                default_batch=sizes[0],
                batches=tuple(sizes),
                embed=model.embed(way, self._rows.rows),
            )
            for dtype, model in self._models.items()
            for way in self._ways(dtype)
        ]

    def _from_texts(self) -> Contender:
        """The mixed rows' texts: what users call, with tokenising."""
        first, texts = self._ours[0], self._rows.texts
        return Contender(
            name=f"{first.name}, from texts",
            settings=f"{first.settings}; tokenising counts, too",
            run=lambda: first.embed(texts),
            warm_up=lambda: first.embed(texts),
        )

    def _from_texts_elsewhere(self) -> list[Peer]:
        """Return sentence-transformers, which takes the texts of the mixed rows."""
        if not self._options.with_sentence_transformers:
            return []
        named = dict(zip(self._rows.names[MIXED], self._rows.texts, strict=True))
        peers = []
        for dtype in self._options.dtypes:
            peer = sentence_transformers(
                self._subject.model, dtype=dtype, device=self._place.device.type
            )

            def embed(names: Sequence[str], batch: int, *, whole: Peer = peer) -> Vectors:
                return whole.embed([named[name] for name in names], batch)

            sizes = tuple(size for size in _BATCHES if size <= len(named)) or (len(named),)
            peers.append(replace(peer, embed=embed, default_batch=sizes[0], batches=sizes))
        return peers

    def _reached(self, length: str, found: Section) -> list[Target]:
        first = self._ours[0].name
        targets = [
            Target(
                name=f"{found.title}, {first} against torch at its fastest",
                wanted=AHEAD,
                measured=lowest_speed_up(found, "torch"),
                unit="times as fast",
            )
        ]
        compute = found.rows[0].compute
        long = self._subject.arithmetic.causal and length == "512"
        if compute is not None and long and self._place.device.type == "cuda":
            targets.append(
                Target(
                    name=f"{found.title}, {first}, share of the matrix peak",
                    wanted=SHARE,
                    measured=100 * compute.share,
                    unit="%",
                )
            )
        return targets


def _lengths(length: str) -> str:
    return "mixed lengths" if length == MIXED else f"{length} tokens"


def _contender(ours: Ours, names: tuple[str, ...]) -> Contender:
    return Contender(
        name=ours.name,
        settings=ours.settings,
        run=lambda: ours.embed(names),
        warm_up=lambda: ours.embed(names),
    )
