"""Time a graph of a bundle with some settings, on texts like those that will be encoded.

``tuner.py`` decides what is timed and what is kept.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice

from ..bundle.bundle import Bundle
from ..bundle.precision import Precision
from ..encoding.protocol import OnStep
from ..errors import TextError
from ..recipe.prompt import Role
from ..tokens.texts import checked
from .encoder import OnnxEncoder
from .providers.graph_session import GraphFile, GraphSession
from .providers.options import Settled
from .providers.table import Source, find_provider
from .roofline import Ceiling, graph_products, measure_ceiling
from .session import open_session

_TRIAL_SECONDS = 1.5
_ROUNDS = 3
_LAST_ROUNDS = 7
_LONE_ROUNDS = 15
_TEXTS = 2048
_LENGTHS = (16, 256)  # tokens of the made-up texts, if they fit
_SEED = 0
_WORDS = ("harbour", "quiet", "winter", "boats", "covered", "gulls", "watch", "water", "rise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Settings, and their measured speed.

    Args:
        settings: The settings that were tried.
        tokens_per_second: The median; 0 if they did not run.
        failure: Why they did not run, for example a lack of GPU memory.
    """

    settings: Settled
    tokens_per_second: float
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The texts that are encoded in every trial.

    Args:
        texts: The texts.
        lengths: Tokens of each.
        description: The workload in words.
    """

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    description: str

    @classmethod
    def of(cls, bundle: Bundle, texts: Iterable[str] | None) -> Workload:
        """Return 2,048 texts: the first of those given, repeated, or made-up ones.

        Raises:
            TextError: A text is empty, or there is none.
        """
        tokenizer = bundle.tokenizer()
        room = tokenizer.max_text_tokens(Role.PASSAGE)
        given = make_texts(_TEXTS, longest=room) if texts is None else checked(texts)
        drawn = tuple(islice(cycle(islice(given, _TEXTS)), _TEXTS))
        if not drawn:
            raise TextError(
                "there is no text to tune with; pass some texts, or None to make them up"
            )
        lengths = tuple(row.width for row in tokenizer(list(drawn), role=Role.PASSAGE))
        kind = "made-up texts" if texts is None else "texts"
        description = f"{kind} of {min(lengths)} to {max(lengths)} tokens"
        return cls(texts=drawn, lengths=lengths, description=description)


class SpeedBench:
    """Times settings on one graph; one session is open at a time, and two in a race.

    Args:
        bundle: The checked files.
        precision: The precision in which the graph runs.
        provider: The provider's full name.
        workload: The texts.
    """

    def __init__(
        self, bundle: Bundle, precision: Precision, provider: str, workload: Workload
    ) -> None:
        self.precision = precision
        self.provider = provider
        self._bundle = bundle
        self._row = find_provider(provider)
        self._graph = GraphFile(
            path=bundle.graph(self._row.graph_of(precision)), precision=precision
        )
        self._sessions: dict[tuple[int, int], GraphSession] = {}
        self._work = workload

    def trial(self, settings: Settled, on_step: OnStep) -> Trial:
        """Return the median speed of some rounds."""
        on_step(f"trying {settings}")
        self._keep_only(settings)
        try:
            count = self.fitting_count(settings)
            rate = statistics.median(self.rate(settings, count) for _ in range(_ROUNDS))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no base of their own
            # One batch may be too large for a GPU; the others are still worth knowing.
            reason = str(error).strip().partition("\n")[0]
            return Trial(settings=settings, tokens_per_second=0.0, failure=reason)
        return Trial(settings=settings, tokens_per_second=rate)

    def fitting_count(self, settings: Settled) -> int:
        """Warm up, and return how many texts keep these settings busy for a trial."""
        count = min(64, len(self._work.texts))
        while True:
            begun = time.perf_counter()
            self._encode(settings, count)
            taken = time.perf_counter() - begun
            if taken >= _TRIAL_SECONDS / 2 or count == len(self._work.texts):
                return count
            count = min(len(self._work.texts), 2 * count)

    def lone_milliseconds(self, settings: Settled) -> float:
        """Return the median time of one text alone, the shortest, as :func:`load` runs it."""
        text = self._work.texts[self._work.lengths.index(min(self._work.lengths))]
        self.release()
        session = open_session(self._graph, self.provider, threads=settings.lone_threads)
        taken = []
        with self._encoder(session, settings) as encoder:
            for _ in range(1 + _LONE_ROUNDS):
                begun = time.perf_counter()
                encoder.encode([text], role=Role.QUERY)
                taken.append(time.perf_counter() - begun)
        return 1000 * statistics.median(taken[1:])

    def ceiling(self, settings: Settled) -> Ceiling:
        """Return what share of the machine's products encoding reaches with these settings.

        Raises:
            ProviderError: As :func:`measure_ceiling` and :func:`graph_products`.
        """
        count = self.fitting_count(settings)
        return measure_ceiling(
            graph_products(self._bundle, self.precision, self.provider),
            self.precision,
            settings,
            encode=lambda: self.rate(settings, count),
        )

    def release(self, *kept: Settled) -> None:
        """Drop the open sessions but those of some settings."""
        self._keep_only(*kept)

    def rate(self, settings: Settled, count: int) -> float:
        """Return the tokens per second over some texts, once."""
        begun = time.perf_counter()
        self._encode(settings, count)
        return sum(self._work.lengths[:count]) / (time.perf_counter() - begun)

    def _encode(self, settings: Settled, count: int) -> None:
        with self._encoder(self._session(settings), settings) as encoder:
            for _ in encoder.stream(self._work.texts[:count], role=Role.PASSAGE):
                pass

    def _encoder(self, session: GraphSession, settings: Settled) -> OnnxEncoder:
        return OnnxEncoder(self._bundle, session, precision=self.precision, runtime=settings)

    def _session(self, settings: Settled) -> GraphSession:
        threads, workers = self._key(settings)
        if (threads, workers) not in self._sessions:
            self._sessions[threads, workers] = open_session(
                self._graph, self.provider, threads=threads, workers=workers
            )
        return self._sessions[threads, workers]

    def _keep_only(self, *kept: Settled) -> None:
        keys = {self._key(settings) for settings in kept}
        for key in [one for one in self._sessions if one not in keys]:
            del self._sessions[key]

    def _key(self, settings: Settled) -> tuple[int, int]:
        """Return what a session is opened for: threads of a run, and runs at the same time."""
        # ONNX Runtime runs any number of batches in one session.
        counts_workers = self._row.source is Source.RUNTIME
        return settings.threads, settings.workers if counts_workers else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A graph with the settings that take part in a race."""

    bench: SpeedBench
    settings: Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceResult:
    """Both median speeds, and the median ratio of the second's to the first's in a round."""

    first: float
    second: float
    ratio: float


def race(first: Runner, second: Runner) -> RaceResult:
    """Run both in alternating rounds on the same texts: load that comes and goes meets both."""
    runners = (first, second)
    for bench in {id(one.bench): one.bench for one in runners}.values():
        bench.release(*(one.settings for one in runners if one.bench is bench))
    count = min(one.bench.fitting_count(one.settings) for one in runners)
    laps = [
        (first.bench.rate(first.settings, count), second.bench.rate(second.settings, count))
        for _ in range(_LAST_ROUNDS)
    ]
    return RaceResult(
        first=statistics.median(a for a, _ in laps),
        second=statistics.median(b for _, b in laps),
        ratio=statistics.median(b / a for a, b in laps),
    )


def make_texts(count: int, *, longest: int) -> list[str]:
    """Return seeded texts whose lengths are drawn evenly between 16 and 256 tokens.

    Args:
        count: How many texts.
        longest: The most tokens that fit; no text is longer. A word is at least one token.
    """
    drawn = random.Random(_SEED)  # noqa: S311 - not for secrets
    low, high = (min(limit, longest) for limit in _LENGTHS)
    return [" ".join(drawn.choices(_WORDS, k=drawn.randint(low, high))) for _ in range(count)]
