"""Measure which settings encode fastest on this machine, and keep them in the bundle.

First the cores are divided between workers, then the token budget is varied. At the end the best
settings run against the defaults in alternating rounds, and are kept only if they are clearly
faster. Settings change how long a vector takes, never the vector.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

from ..bundle.bundle import Bundle
from ..bundle.certificate import Precision
from ..encoding.protocol import OnStep
from ..errors import DecantError, ProviderError, TextError
from ..recipe.prompt import Role
from ..tokens.texts import checked
from .choose_precision import choose_precision
from .encoder import OnnxEncoder
from .providers.graph_session import GraphFile, GraphSession
from .providers.machine import machine_name
from .providers.options import ExecutionOptions, Settled, available_cores
from .providers.table import Source, find_provider
from .roofline import Ceiling, graph_products, measure_ceiling
from .session import candidates, open_session, provider_name
from .tuning_file import Tuned, keep, own_precision

_ON_CPU = (128, 256, 512, 1024, 2048, 4096)
_ON_GPU = (2048, 4096, 8192, 16_384, 32_768, 65_536)
_GPU_WORKERS = (1, 2, 3, 4)
_TRIAL_SECONDS = 1.5
_ROUNDS = 3
_LAST_ROUNDS = 7
_CLEARLY = 1.03  # smaller differences are noise on most machines
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
class TuningReport:
    """The trials of :func:`tune`, in order, and the settings that it kept.

    Args:
        precision: Of the graph that ran.
        trials: Every trial.
        kept: The settings that ``load`` takes from now on.
        ceiling: How much of the machine's matrix products encoding reaches with these settings;
            None where it was not measured.
        no_ceiling: Why not; empty if it was.
    """

    precision: Precision
    trials: tuple[Trial, ...]
    kept: Tuned
    ceiling: Ceiling | None = None
    no_ceiling: str = ""


def tune(
    bundle: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    texts: Iterable[str] | None = None,
    on_step: OnStep | None = None,
) -> TuningReport:
    """Find the fastest settings for a bundle on this machine; :func:`load` takes them from then on.

    Args:
        bundle: The bundle's folder; ``tuning.json`` is written there.
        provider: ``cpu``, ``cuda`` … or a full name; ``auto`` is the best installed one.
        precision: The graph's precision; ``auto`` is the one that :func:`load` would take.
        texts: Texts like those that will be encoded, of which the first 2,048 are used; None makes
            up texts of 16 to 256 tokens.
        on_step: Called with the name of each step as it begins.

    Returns:
        The trials and the kept settings: the defaults, unless others were 3 % faster.

    Raises:
        BundleError: The bundle is missing, damaged, or lacks the precision.
        ProviderError: The provider is not installed or does not start.
        TextError: A text is empty, or there is none.
    """
    opened = Bundle.open(bundle)
    name = candidates()[0] if provider == "auto" else provider_name(provider)
    chosen = choose_precision(opened, precision, name)
    graph = find_provider(name).graph_of(chosen)
    bench = _Bench(opened, chosen, name, texts)
    announce = on_step or (lambda _: None)
    trials: list[Trial] = []
    assumed = ExecutionOptions().settled(name)

    def try_all(settings: Sequence[Settled]) -> Settled:
        found = [bench.trial(item, announce) for item in settings]
        trials.extend(found)
        return max(found, key=lambda trial: trial.tokens_per_second).settings

    best = try_all(_splits(assumed, name))
    budgets = _ON_CPU if find_provider(name).is_cpu else _ON_GPU
    best = try_all([replace(best, token_budget=budget) for budget in budgets])
    if all(trial.failure for trial in trials):
        raise ProviderError(f"{bundle} does not run on {name}: {trials[0].failure}")
    announce("comparing the best with the defaults")
    kept, rate, over = _decided(bench, trials, assumed, best)
    entry = Tuned(
        sha256=opened.manifest.files[opened.manifest.graphs[graph]],
        provider=name,
        machine=machine_name(name),
        workers=kept.workers,
        threads=kept.threads,
        token_budget=kept.token_budget,
        tokens_per_second=round(rate, 1),
        over_default=over,
        workload=bench.workload,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        precision=own_precision(chosen, graph),
    )
    keep(opened, entry)
    announce("measuring the products of the model's shapes alone")
    try:
        ceiling, reason = bench.ceiling(kept), ""
    except DecantError as error:
        ceiling, reason = None, str(error)
    return TuningReport(
        precision=chosen, trials=tuple(trials), kept=entry, ceiling=ceiling, no_ceiling=reason
    )


def _decided(
    bench: _Bench, trials: Sequence[Trial], assumed: Settled, best: Settled
) -> tuple[Settled, float, float | None]:
    """Return the kept settings, their tokens per second, and this rate over the defaults' rate."""
    if any(trial.failure for trial in trials if trial.settings == assumed):
        rates = [trial.tokens_per_second for trial in trials if trial.settings == best]
        return best, max(rates), None
    default, rate = bench.duel(assumed, best)
    over = rate / default
    return (best, rate, round(over, 3)) if over >= _CLEARLY else (assumed, default, 1.0)


def _splits(assumed: Settled, provider: str) -> list[Settled]:
    """Return ways to divide the cores: a worker for each, half as many with two, … one with all."""
    if not find_provider(provider).is_cpu:
        return [replace(assumed, workers=workers) for workers in _GPU_WORKERS]
    cores = available_cores()
    counts = [cores]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return [replace(assumed, workers=count, threads=cores // count) for count in counts]


class _Bench:
    """Times settings on one graph; one session is open at a time, and two in the final duel."""

    def __init__(
        self, bundle: Bundle, precision: Precision, provider: str, texts: Iterable[str] | None
    ) -> None:
        self._bundle = bundle
        self._precision = precision
        row = find_provider(provider)
        path = bundle.graph(row.graph_of(precision))
        self._graph = GraphFile(path=path, precision=precision)
        self._provider = provider
        # ONNX Runtime runs any number of batches in one session.
        self._counts_workers = row.source is Source.RUNTIME
        self._sessions: dict[tuple[int, int], GraphSession] = {}
        tokenizer = bundle.tokenizer()
        room = tokenizer.max_text_tokens(Role.PASSAGE)
        given = make_texts(_TEXTS, longest=room) if texts is None else checked(texts)
        self._texts = list(islice(cycle(islice(given, _TEXTS)), _TEXTS))
        if not self._texts:
            raise TextError(
                "there is no text to tune with; pass some texts, or None to make them up"
            )
        self._tokenizer = tokenizer
        self._lengths = [row.width for row in tokenizer(self._texts, role=Role.PASSAGE)]
        kind = "made-up texts" if texts is None else "texts"
        self.workload = f"{kind} of {min(self._lengths)} to {max(self._lengths)} tokens"

    def trial(self, settings: Settled, on_step: OnStep) -> Trial:
        """Return the median speed of some rounds."""
        on_step(f"trying {settings}")
        self._keep_only(settings)
        try:
            count = self._fitting(settings)
            rate = statistics.median(self._rate(settings, count) for _ in range(_ROUNDS))
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no base of their own
            # One batch may be too large for a GPU; the others are still worth knowing.
            reason = str(error).strip().partition("\n")[0]
            return Trial(settings=settings, tokens_per_second=0.0, failure=reason)
        return Trial(settings=settings, tokens_per_second=rate)

    def duel(self, first: Settled, second: Settled) -> tuple[float, float]:
        """Return both median speeds over alternating rounds on the same texts."""
        self._keep_only(first, second)
        count = min(self._fitting(first), self._fitting(second))
        laps = [(self._rate(first, count), self._rate(second, count)) for _ in range(_LAST_ROUNDS)]
        return statistics.median(a for a, _ in laps), statistics.median(b for _, b in laps)

    def ceiling(self, settings: Settled) -> Ceiling:
        """Return what share of the machine's products encoding reaches with these settings."""
        self._keep_only(settings)
        count = self._fitting(settings)
        return measure_ceiling(
            graph_products(self._bundle, self._precision, self._provider),
            self._precision,
            settings,
            encode=lambda: self._rate(settings, count),
        )

    def _fitting(self, settings: Settled) -> int:
        """Warm up, and return how many texts keep these settings busy for a trial."""
        count = min(64, len(self._texts))
        while True:
            begun = time.perf_counter()
            self._encode(settings, count)
            taken = time.perf_counter() - begun
            if taken >= _TRIAL_SECONDS / 2 or count == len(self._texts):
                return count
            count = min(len(self._texts), 2 * count)

    def _rate(self, settings: Settled, count: int) -> float:
        begun = time.perf_counter()
        self._encode(settings, count)
        return sum(self._lengths[:count]) / (time.perf_counter() - begun)

    def _encode(self, settings: Settled, count: int) -> None:
        encoder = OnnxEncoder(
            self._bundle,
            self._session(settings),
            precision=self._precision,
            runtime=settings,
        )
        with encoder:
            for _ in encoder.stream(self._texts[:count], role=Role.PASSAGE):
                pass

    def _session(self, settings: Settled) -> GraphSession:
        threads, workers = self._key(settings)
        if (threads, workers) not in self._sessions:
            self._sessions[threads, workers] = open_session(
                self._graph, self._provider, threads=threads, workers=workers
            )
        return self._sessions[threads, workers]

    def _keep_only(self, *kept: Settled) -> None:
        keys = {self._key(settings) for settings in kept}
        for key in [one for one in self._sessions if one not in keys]:
            del self._sessions[key]

    def _key(self, settings: Settled) -> tuple[int, int]:
        """Return what a session is opened for: threads of a run, and runs at the same time."""
        return settings.threads, settings.workers if self._counts_workers else 1


def make_texts(count: int, *, longest: int) -> list[str]:
    """Return seeded texts whose lengths are drawn evenly between 16 and 256 tokens.

    Args:
        count: How many texts.
        longest: The most tokens that fit; no text is longer. A word is at least one token.
    """
    drawn = random.Random(_SEED)  # noqa: S311 - not for secrets
    low, high = (min(limit, longest) for limit in _LENGTHS)
    return [" ".join(drawn.choices(_WORDS, k=drawn.randint(low, high))) for _ in range(count)]
