"""``tuning.json``: how fast a bundle's graphs ran on a machine, and with which settings.

Settings are used only for the graph, provider and machine that they were measured on, so a bundle
can be moved to another machine. Speeds that decide what runs were measured in turns, one against
the other (:class:`Comparison`). ``tuner.py`` measures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import json_records
from ..bundle.bundle import Bundle, read_record
from ..bundle.precision import Precision
from ..errors import BundleError
from ..files import write_atomically
from .providers.machine import machine_name
from .providers.options import Settled
from .providers.table import find_provider

TUNING = "tuning.json"
_FORMAT = 1
CLEARLY_FASTER = 1.03
"""The ratio of two speeds below which the difference is noise on most machines."""
_MOST = {"workers": 4096, "threads": 4096, "token_budget": 2**27}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The fastest settings found for one graph on one machine.

    Args:
        sha256: The graph's hash.
        provider: ONNX Runtime's name of the provider that ran it.
        machine: See :func:`decant.embedders.onnx.providers.machine.machine_name`.
        workers: Batches that run at the same time.
        threads: Cores that one batch uses on the CPU.
        token_budget: Most tokens in a batch.
        tokens_per_second: The median over the last rounds.
        over_default: This speed divided by that of the default settings; None if those do not run,
            for example for want of GPU memory.
        workload: A description of the texts, for readers; no code reads it.
        date: The time of the measurement, as ISO 8601 in UTC.
        precision: The precision in which the graph ran; None is the graph's own, as in files of
            older versions.

    Raises:
        BundleError: A setting is impossible on any machine.
    """

    sha256: str
    provider: str
    machine: str
    workers: int
    threads: int
    token_budget: int
    tokens_per_second: float
    over_default: float | None
    workload: str
    date: str
    precision: Precision | None = None

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            if not 1 <= (value := getattr(self, name)) <= most:
                raise BundleError(
                    f"{name} {value} is not from 1 to {most}; delete the file, or tune again"
                )

    def settled(self, device: int = 0) -> Settled:
        """Return the settings for one GPU."""
        return Settled(
            device=device,
            workers=self.workers,
            threads=self.threads,
            token_budget=self.token_budget,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast one precision ran on one provider with its best settings.

    Args:
        sha256: The hash of the graph that was opened.
        provider: The provider's full name.
        machine: As for :class:`Tuned`.
        precision: The precision in which it ran.
        tokens_per_second: The median on batches; 0 if it did not run.
        speedup: The median of its speed over that of the first of the comparison, each pair
            measured in turn; 0 if it did not run.
        lone_milliseconds: The median time of one text alone; None if it did not run, or was left
            early as too slow.
        failure: Why it did not run; empty if it did.

    Raises:
        BundleError: A figure is negative.
    """

    sha256: str
    provider: str
    machine: str
    precision: Precision
    tokens_per_second: float
    speedup: float
    lone_milliseconds: float | None = None
    failure: str = ""

    def __post_init__(self) -> None:
        if min(self.tokens_per_second, self.speedup, self.lone_milliseconds or 0.0) < 0:
            raise BundleError("a speed is negative; delete the file, or tune again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The speeds of all that ``auto`` could take, measured in turns on one machine.

    Args:
        machine: The processor and its cores.
        workload: A description of the texts, for readers; no code reads it.
        date: The time of the measurement, as ISO 8601 in UTC.
        speeds: The speeds; the first is that of what the order of the table would take.
    """

    machine: str
    workload: str
    date: str
    speeds: tuple[Speed, ...]

    def speed(self, sha256: str, provider: str, precision: Precision) -> Speed | None:
        """Return the speed of a graph on a provider in a precision, or None."""
        wanted = (sha256, provider, precision)
        for one in self.speeds:
            if (one.sha256, one.provider, one.precision) == wanted:
                return one
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The whole file.

    Args:
        format: Version of this record.
        entries: At most one for each graph, provider, machine and precision.
        comparisons: At most one for each machine.
    """

    format: int = _FORMAT
    entries: tuple[Tuned, ...] = ()
    comparisons: tuple[Comparison, ...] = ()

    def entry(
        self, sha256: str, provider: str, machine: str, *, precision: Precision | None = None
    ) -> Tuned | None:
        """Return the entry for a graph on a machine, or None; see :class:`Tuned`."""
        wanted = (sha256, provider, machine, precision)
        for entry in self.entries:
            if (entry.sha256, entry.provider, entry.machine, entry.precision) == wanted:
                return entry
        return None

    def with_entry(self, new: Tuned) -> Tuning:
        """Return a tuning in which ``new`` replaces the entry for the same graph and machine."""
        same = self.entry(new.sha256, new.provider, new.machine, precision=new.precision)
        kept = (entry for entry in self.entries if entry is not same)
        return Tuning(entries=(*kept, new), comparisons=self.comparisons)

    def with_comparison(self, new: Comparison) -> Tuning:
        """Return a tuning in which ``new`` replaces the comparison of the same machine."""
        kept = (one for one in self.comparisons if one.machine != new.machine)
        return Tuning(entries=self.entries, comparisons=(*kept, new))


def read_tuning(bundle: Bundle) -> Tuning:
    """Return a bundle's tuning; it is empty if the bundle was never tuned.

    Raises:
        BundleError: The file is damaged or of a newer format.
    """
    path = bundle.folder / TUNING
    if not path.exists():
        return Tuning()
    return read_record(Tuning, path, newest=_FORMAT)


def keep(bundle: Bundle, entry: Tuned) -> None:
    """Write an entry into ``tuning.json``, and drop figures of graphs that no longer exist."""
    _write(bundle, read_tuning(bundle).with_entry(entry))


def keep_comparison(bundle: Bundle, comparison: Comparison) -> None:
    """Write a comparison into ``tuning.json``, and drop figures of graphs that no longer exist."""
    _write(bundle, read_tuning(bundle).with_comparison(comparison))


def _write(bundle: Bundle, tuning: Tuning) -> None:
    there = set(bundle.manifest.files.values())
    comparisons = (
        replace(one, speeds=tuple(speed for speed in one.speeds if speed.sha256 in there))
        for one in tuning.comparisons
    )
    kept = Tuning(
        entries=tuple(item for item in tuning.entries if item.sha256 in there),
        comparisons=tuple(one for one in comparisons if one.speeds),
    )
    write_atomically(bundle.folder / TUNING, json_records.to_json(kept))


def own_precision(precision: Precision, graph: Precision) -> Precision | None:
    """Return the precision of an entry: None where it is that of the graph's file."""
    return None if precision is graph else precision


def tuned_settings(
    bundle: Bundle, precision: Precision, provider: str, *, device: int
) -> Settled | None:
    """Return the tuned settings for a graph on this machine, or None.

    Raises:
        BundleError: ``tuning.json`` is damaged.
    """
    tuning = read_tuning(bundle)
    if not tuning.entries:
        return None
    graph = find_provider(provider).graph_of(precision)
    sha256 = bundle.manifest.files[bundle.manifest.graphs[graph]]
    machine = machine_name(provider, device=device)
    entry = tuning.entry(sha256, provider, machine, precision=own_precision(precision, graph))
    return None if entry is None else entry.settled(device)
