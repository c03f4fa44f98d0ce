"""One model on one device: decant's graphs against PyTorch on the same token ids.

Everything that is timed begins at token ids and ends at float32 vectors in the computer's memory;
one further contender begins at texts, for what tokenising adds. Invariant: all contenders of a
section get the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from decant.embedders import ExecutionOptions, OnnxEncoder, OnStep, Precision, Role, load
from decant.embedders.tokens import TextTokenizer, Tokens

from ..corpus import Corpus
from ..peers import Embed, Peer, batch_seconds, worst_cosine
from ..report import Amount, Compute, Section, section
from ..rounds import Contender, Lap, interleave
from .flops import Arithmetic
from .ready import Rows, even_rows, mixed_texts, with_ids
from .subjects import Subject, verdict

MIXED = "mixed"
QUERY = "query"
QUERY_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSets:
    """What one model is measured on: names of rows, by section.

    Args:
        rows: Ids by name, of all sections and the query.
        names: For each section's title its rows.
        texts: Of the mixed section, in the order of its names; empty if there is none.
    """

    rows: Rows
    names: Mapping[str, tuple[str, ...]]
    texts: tuple[str, ...]


def draw_rows(
    tokenizer: TextTokenizer, corpus: Corpus, sizes: Mapping[str, int], *, seed: int
) -> RowSets:
    """Draw the rows of every section.

    Args:
        tokenizer: Of the model.
        corpus: Where they come from.
        sizes: For each section, a length or ``MIXED``, about how many tokens it has.
        seed: Draws them.

    Raises:
        TextError: The corpus is too small for mixed lengths.
    """
    rows: dict[str, Tokens] = {
        QUERY: even_rows(tokenizer, corpus, QUERY_TOKENS, QUERY_TOKENS, seed=seed)[0]
    }
    names: dict[str, tuple[str, ...]] = {}
    texts: list[str] = []
    for title, tokens in sizes.items():
        if title == MIXED:
            texts = mixed_texts(tokenizer, corpus, tokens, seed=seed)
            found = tokenizer(texts, role=Role.PASSAGE)
        else:
            found = even_rows(tokenizer, corpus, int(title), tokens, seed=seed)
        named = {f"{title}/{number}": row for number, row in enumerate(found)}
        rows |= named
        names[title] = tuple(named)
    return RowSets(rows=rows, names=names, texts=tuple(texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One of decant's contenders.

    Args:
        name: As it stands in the tables.
        settings: How it was set.
        precision: Which graph.
        encoder: Takes names for texts, and texts.
    """

    name: str
    settings: str
    precision: Precision
    encoder: OnnxEncoder

    def embed(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors, float32 (N, D)."""
        return self.encoder.encode(names, role=Role.PASSAGE).dense


def open_ours(
    subject: Subject,
    rows: Rows,
    provider: str,
    runtimes: Sequence[ExecutionOptions],
    stack: ExitStack,
) -> list[Ours]:
    """Load every graph as users do; the first also with other runtimes.

    Args:
        subject: Whose graphs. Those that failed their certificates are loaded, too.
        rows: All that will be encoded by name.
        provider: ONNX Runtime's full name.
        runtimes: Further settings of the first graph.
        stack: Closes the encoders.
    """
    tokenizer, found = subject.bundle.tokenizer(), []
    for number, precision in enumerate(subject.entries):
        for runtime in (None, *(runtimes if number == 0 else ())):
            encoder = load(
                subject.bundle.folder,
                provider=provider,
                precision=precision,
                runtime=runtime,
                allow_uncertified=True,
            )
            label = "" if runtime is None else f" {_label(runtime)}"
            found.append(
                Ours(
                    name=f"decant {precision}{label}",
                    settings=f"its defaults{'' if runtime is None else ' but for' + label}",
                    precision=precision,
                    encoder=with_ids(stack.enter_context(encoder), tokenizer, rows),
                )
            )
    return found


def _label(runtime: ExecutionOptions) -> str:
    return f"{runtime.workers}x{runtime.threads}x{runtime.token_budget}"


def compete(
    title: str,
    ours: Sequence[Contender],
    peers: Sequence[Peer],
    names: Sequence[str],
    *,
    rounds: int,
    on_step: OnStep,
) -> tuple[list[Contender], dict[str, tuple[Lap, ...]]]:
    """Find each peer's fastest batch size, then time everyone in interleaved rounds.

    Returns:
        All contenders, ours first, and their laps.
    """
    contenders = list(ours)
    for each in peers:
        on_step(f"{title}: the fastest batch size of {each.name}")
        sweep = batch_seconds(each, names)
        best = min(sweep, key=sweep.__getitem__)
        shown = ", ".join(f"{size}: {seconds:.3g} s" for size, seconds in sweep.items())
        contenders.append(
            Contender(
                name=f"{each.name}, batch {best}",
                settings=f"the fastest batch size of a sweep; {each.threads}; {shown}",
                run=partial(each.embed, names, best),
                warm_up=partial(each.embed, names, best),
            )
        )
    laps = interleave(contenders, rounds=rounds, on_step=lambda what: on_step(f"{title}: {what}"))
    return contenders, laps


def counted(
    found: Section, operations: int, *, peak: float, certificates: Mapping[str, str]
) -> Section:
    """Add to every row what its speed is worth.

    Args:
        found: Its rows did the same work.
        operations: Of that work.
        peak: The matrix product's, in operations a second.
        certificates: By the row's name; missing for peers.
    """
    rows = []
    for row in found.rows:
        speed = operations / median(lap.wall for lap in row.laps)
        compute = Compute(
            teraflops=speed / 1e12,
            share=speed / peak,
            certificate=certificates.get(row.name, ""),
        )
        rows.append(replace(row, compute=compute))
    return replace(found, rows=tuple(rows))


def sized(counts: Arithmetic, title: str, peak: float, seconds: float) -> int:
    """Return how many tokens take about so many seconds at half of the peak; 16,384 to 400,000.

    Args:
        counts: Of the model.
        title: A length or ``MIXED``, which is taken for 128.
        peak: In operations a second.
        seconds: Of one run.
    """
    length = 128 if title == MIXED else int(title)
    a_token = counts.operations([length]) / length
    return int(np.clip(seconds * peak / 2 / a_token, 16_384, 400_000))


def section_of(
    title: str,
    lengths: Sequence[int],
    contenders: Sequence[Contender],
    laps: Mapping[str, tuple[Lap, ...]],
) -> Section:
    """Sum up laps over rows of these lengths."""
    amount = Amount(chunks=len(lengths), tokens=sum(lengths))
    return section(title, contenders, laps, dict.fromkeys(laps, amount))


def certificates(subject: Subject, ours: Sequence[Ours]) -> dict[str, str]:
    """Return what the certificate says, by contender, from ids and from texts."""
    found = {each.name: verdict(subject.entries[each.precision]) for each in ours}
    return found | {f"{name}, from texts": said for name, said in found.items()}


def distance(ours: Ours, theirs: Embed, names: Sequence[str]) -> float:
    """Return 1 less the worst cosine between both sides' vectors of the same rows."""
    return 1 - worst_cosine(ours.embed(names), theirs(names, 8))
