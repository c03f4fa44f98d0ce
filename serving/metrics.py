"""What a server tells Prometheus: requests, texts, tokens, passes, and what waits.

Labels are names of routes and models, and never come from a request that names something unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from decant.embedders import Role

from .batches import BatchWorker, Lane, PassReport, WorkQueue
from .models import TextRequest

_MOST_COLLECTIONS = 200  # of the others only their number is shown
_OTHERS = "(others)"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class ServerMetrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "decant_requests", "Requests by route and status.", ("route", "status"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "decant_request_seconds", "From the first byte to the answer.", ("route",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._texts = Counter(
            "decant_texts", "Texts that were embedded, and pairs that were scored.",
            ("model", "lane"), registry=self._registry,
        )  # fmt: skip
        self._tokens = Counter(
            "decant_tokens", "Tokens that the model read.", ("model", "lane"),
            registry=self._registry,
        )  # fmt: skip
        self._passes = Histogram(
            "decant_pass_seconds", "How long a pass of the model took.", ("model", "lane"),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "decant_waiting_tokens", "Tokens that wait.", ("model", "lane"),
            registry=self._registry,
        )  # fmt: skip

        self._inputs = Counter(
            "decant_qdrant_inputs", "Texts that a Qdrant server had embedded, for its searches "
            "and its writes.", ("model", "operation"),
            registry=self._registry,
        )  # fmt: skip
        self._collections = Gauge(
            "decant_served_collections", "Collections of the Qdrant server that a model serves.",
            ("model", "collection"),
            registry=self._registry,
        )  # fmt: skip

    def count_inputs(self, wanted: Sequence[TextRequest]) -> None:
        """Count texts of a Qdrant server: queries are of searches, passages of writes."""
        for one in wanted:
            operation = "search" if one.role is Role.QUERY else "write"
            self._inputs.labels(one.address.model.name, operation).inc()

    def show_collections(self, served: Mapping[str, str]) -> None:
        """Show which collections have their vectors from here, as far as that was found at start.

        Args:
            served: The name of the model by the name of the collection.
        """
        for place, (collection, model) in enumerate(sorted(served.items())):
            shown = collection if place < _MOST_COLLECTIONS else _OTHERS
            self._collections.labels(model, shown).inc()

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_pass(self, model: str, report: PassReport) -> None:
        """Count a pass of a model."""
        self._texts.labels(model, report.lane).inc(report.texts)
        self._tokens.labels(model, report.lane).inc(report.tokens)
        self._passes.labels(model, report.lane).observe(report.seconds)

    def watch(self, workers: Mapping[str, BatchWorker[Any, Any]]) -> None:
        """Show what waits for each model of a running service.

        Args:
            workers: Those of the service, by the names of their models.
        """
        for name, worker in workers.items():
            for lane in Lane:
                self._show_waiting(name, worker.queue, lane)

    def shown(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _show_waiting(self, name: str, queue: WorkQueue[Any, Any], lane: Lane) -> None:
        gauge = self._waiting.labels(name, lane)
        gauge.set_function(lambda: float(queue.lane_tokens(lane)))
