"""What a server tells Prometheus: requests, texts, tokens, passes, and what waits.

Labels are names of routes and models, and never come from a request that names something unknown.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .batches import BatchWorker, Lane, PassReport
from .models import EmbeddingService

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
            "decant_texts", "Texts that were embedded.", ("model", "lane"),
            registry=self._registry,
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

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_pass(self, model: str, report: PassReport) -> None:
        """Count a pass of a model."""
        self._texts.labels(model, report.lane).inc(report.texts)
        self._tokens.labels(model, report.lane).inc(report.tokens)
        self._passes.labels(model, report.lane).observe(report.seconds)

    def watch(self, service: EmbeddingService) -> None:
        """Show what waits for each model of a running service."""
        for name, worker in service.workers.items():
            for lane in Lane:
                self._show_waiting(name, worker, lane)

    def shown(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _show_waiting(self, name: str, worker: BatchWorker, lane: Lane) -> None:
        gauge = self._waiting.labels(name, lane)
        gauge.set_function(lambda: float(worker.queue.lane_tokens(lane)))
