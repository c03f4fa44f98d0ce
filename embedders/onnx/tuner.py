"""Measure what encodes fastest on this machine, and keep it in the bundle.

For one graph, first the cores are divided between workers, then the token budget is varied. At the
end the best settings run against the defaults in alternating rounds, and are kept only if they are
clearly faster. Settings change how long a vector takes, never the vector. Where neither provider
nor precision is named, all that ``auto`` may take are tuned so, and then run against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from ..bundle.bundle import Bundle
from ..bundle.precision import Precision
from ..encoding.protocol import OnStep
from ..errors import DecantError, ProviderError
from .choose_graph import rank_choices
from .graph_choice import GraphChoice
from .providers.machine import machine_name
from .providers.options import ExecutionOptions, Settled, available_cores
from .providers.table import CPU, find_provider
from .roofline import Ceiling
from .speed_bench import Runner, SpeedBench, Trial, Workload, race
from .tuning_file import (
    CLEARLY_FASTER,
    Comparison,
    Speed,
    Tuned,
    keep,
    keep_comparison,
    own_precision,
)

_ON_CPU = (128, 256, 512, 1024, 2048, 4096)
_ON_GPU = (2048, 4096, 8192, 16_384, 32_768, 65_536)
_GPU_WORKERS = (1, 2, 3, 4)
# What is less than half as fast as another, both with their defaults, is not tuned: in our trials
# settings gave at most 1.3 times the speed of the defaults.
_FAR_BEHIND = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningReport:
    """What :func:`tune` measured and kept, for the graph that ``load`` takes from now on.

    Args:
        precision: The precision of that graph.
        provider: The full name of the provider that runs it.
        trials: The trials of its settings, in order.
        kept: The settings that were kept.
        choice: What ``load`` takes and why; None if a provider or a precision was named.
        speeds: The speeds of all that were compared; empty if nothing was.
        ceiling: How much of the machine's matrix products encoding reaches with these settings;
            None where it was not measured.
        no_ceiling: Why not; empty if it was.
    """

    precision: Precision
    provider: str
    trials: tuple[Trial, ...]
    kept: Tuned
    choice: GraphChoice | None = None
    speeds: tuple[Speed, ...] = ()
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
    """Find what encodes this bundle fastest on this machine; :func:`load` takes it from then on.

    Without a provider and a precision, all that :func:`load` may take by itself are measured: what
    is installed, certified on its provider, and near enough to float32. The speed on batches
    decides, and only a difference of 3 % counts; the time of a lone text is measured too. With one
    of both named, only settings are measured, of the graph that :func:`load` takes with the same
    arguments.

    Args:
        bundle: The bundle's folder; ``tuning.json`` is written there.
        provider: ``cpu``, ``cuda`` … or a full name; ``auto`` compares the installed ones.
        precision: The graph's precision; ``auto`` compares those that passed.
        texts: Texts like those that will be encoded, of which the first 2,048 are used; None makes
            up texts of 16 to 256 tokens.
        on_step: Called with the name of each step as it begins.

    Returns:
        The speeds, and the trials and kept settings of the fastest: the defaults, unless others
        were 3 % faster.

    Raises:
        BundleError: The bundle is missing, damaged, or lacks the precision.
        ProviderError: The provider is not installed or does not start.
        TextError: A text is empty, or there is none.
    """
    opened = Bundle.open(bundle)
    ranking = rank_choices(opened, provider=provider, precision=precision)
    work = Workload.of(opened, texts)
    announce = on_step or (lambda _: None)
    if provider == precision == "auto" and ranking.eligible:
        report = _Contest(opened, work, announce).compare(ranking.eligible)
    else:
        first = ranking.choices[0]
        bench = SpeedBench(opened, first.precision, first.provider, work)
        report = _tune_settings(opened, bench, work, announce)
    announce("measuring the products of the model's shapes alone")
    bench = SpeedBench(opened, report.precision, report.provider, work)
    try:
        return replace(report, ceiling=bench.ceiling(report.kept.settled()))
    except DecantError as error:
        return replace(report, no_ceiling=str(error))


def _tune_settings(
    bundle: Bundle, bench: SpeedBench, work: Workload, announce: OnStep
) -> TuningReport:
    """Find the fastest settings of one graph, and keep them.

    Raises:
        ProviderError: It runs with no settings.
    """
    name, chosen = bench.provider, bench.precision
    graph = find_provider(name).graph_of(chosen)
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
        raise ProviderError(f"{bundle.folder} does not run on {name}: {trials[0].failure}")
    announce("comparing the best with the defaults")
    kept, rate, over = _decided(bench, trials, assumed, best)
    entry = Tuned(
        sha256=bundle.manifest.files[bundle.manifest.graphs[graph]],
        provider=name,
        machine=machine_name(name),
        workers=kept.workers,
        threads=kept.threads,
        token_budget=kept.token_budget,
        tokens_per_second=round(rate, 1),
        over_default=over,
        workload=work.description,
        date=_now(),
        precision=own_precision(chosen, graph),
    )
    keep(bundle, entry)
    return TuningReport(precision=chosen, provider=name, trials=tuple(trials), kept=entry)


def _decided(
    bench: SpeedBench, trials: Sequence[Trial], assumed: Settled, best: Settled
) -> tuple[Settled, float, float | None]:
    """Return the kept settings, their tokens per second, and this rate over the defaults' rate."""
    if any(trial.failure for trial in trials if trial.settings == assumed):
        rates = [trial.tokens_per_second for trial in trials if trial.settings == best]
        return best, max(rates), None
    found = race(Runner(bench=bench, settings=assumed), Runner(bench=bench, settings=best))
    if found.ratio >= CLEARLY_FASTER:
        return best, found.second, round(found.ratio, 3)
    return assumed, found.first, 1.0


def _splits(assumed: Settled, provider: str) -> list[Settled]:
    """Return ways to divide the cores: a worker for each, half as many with two, … one with all."""
    if not find_provider(provider).is_cpu:
        return [replace(assumed, workers=workers) for workers in _GPU_WORKERS]
    cores = available_cores()
    counts = [cores]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return [replace(assumed, workers=count, threads=cores // count) for count in counts]


@dataclass(slots=True)
class _Contest:
    """Compares all that ``auto`` may take.

    A first trial with the defaults leaves out what does not run or is far behind; the others are
    tuned, and each then runs in turns with the first of them.
    """

    bundle: Bundle
    work: Workload
    announce: OnStep
    reports: dict[tuple[str, Precision], TuningReport] = field(default_factory=dict)
    speeds: dict[tuple[str, Precision], Speed] = field(default_factory=dict)

    def compare(self, eligible: Sequence[tuple[str, Precision]]) -> TuningReport:
        """Measure, keep the speeds, and return the report of what ``load`` now takes.

        Raises:
            ProviderError: Nothing runs.
        """
        benches = {
            (name, precision): SpeedBench(self.bundle, precision, name, self.work)
            for name, precision in eligible
        }
        near = [*benches] if len(benches) == 1 else self._near(benches)
        for key in near:
            self.reports[key] = _tune_settings(
                self.bundle, benches[key], self.work, self._naming(*key)
            )
            benches[key].release()
        base = self._runner(benches, near[0])
        for key in near:
            self._race(base, self._runner(benches, key))
        comparison = Comparison(
            machine=machine_name(CPU),
            workload=self.work.description,
            date=_now(),
            speeds=tuple(self.speeds[key] for key in eligible),
        )
        keep_comparison(self.bundle, comparison)
        choice = rank_choices(self.bundle).choices[0]
        report = self.reports[choice.provider, choice.precision]
        return replace(report, choice=choice, speeds=comparison.speeds)

    def _near(
        self, benches: dict[tuple[str, Precision], SpeedBench]
    ) -> list[tuple[str, Precision]]:
        """Return what is not far behind with the defaults, and note the speed of the others.

        Raises:
            ProviderError: Nothing runs.
        """
        trials = {}
        for (name, precision), bench in benches.items():
            assumed = ExecutionOptions().settled(name)
            trials[name, precision] = bench.trial(assumed, self._naming(name, precision))
            bench.release()
        fastest = max(trial.tokens_per_second for trial in trials.values())
        if not fastest:
            failures = "; ".join(
                f"{precision} on {name}: {trial.failure}"
                for (name, precision), trial in trials.items()
            )
            raise ProviderError(f"{self.bundle.folder} does not run here: {failures}")
        near = [
            key for key, trial in trials.items() if trial.tokens_per_second >= _FAR_BEHIND * fastest
        ]
        base = trials[near[0]].tokens_per_second
        for key, trial in trials.items():
            if key not in near:
                self._note(key, trial.tokens_per_second, trial.tokens_per_second / base)
                self.speeds[key] = replace(self.speeds[key], failure=trial.failure)
        return near

    def _runner(
        self, benches: dict[tuple[str, Precision], SpeedBench], key: tuple[str, Precision]
    ) -> Runner:
        return Runner(bench=benches[key], settings=self.reports[key].kept.settled())

    def _race(self, base: Runner, other: Runner) -> None:
        """Run one in turns with the first, and a text alone; note both."""
        key = (other.bench.provider, other.bench.precision)
        announce = self._naming(*key)
        rate, ratio = self.reports[key].kept.tokens_per_second, 1.0
        if other.bench is not base.bench:
            announce(f"running in turns with {base.bench.precision} on {base.bench.provider}")
            found = race(base, other)
            rate, ratio = found.second, found.ratio
        announce("one text alone")
        self._note(key, rate, ratio, lone=other.bench.lone_milliseconds(other.settings))
        other.bench.release()

    def _note(
        self, key: tuple[str, Precision], rate: float, ratio: float, *, lone: float | None = None
    ) -> None:
        name, precision = key
        graph = find_provider(name).graph_of(precision)
        self.speeds[key] = Speed(
            sha256=self.bundle.manifest.files[self.bundle.manifest.graphs[graph]],
            provider=name,
            machine=machine_name(name),
            precision=precision,
            tokens_per_second=round(rate, 1),
            speedup=round(ratio, 3),
            lone_milliseconds=None if lone is None else round(lone, 3),
        )

    def _naming(self, provider: str, precision: Precision) -> OnStep:
        """Return a function that announces a step of one of several graphs."""
        return lambda step: self.announce(f"{precision} on {provider}: {step}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
