"""The workers of a server's models: one for each, which begin and stop together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Generic, Self

from ..batches import BatchWorker, PassReport, QueueSettings
from ..batches.batch_worker import Encode
from ..batches.passes import Key, Text

OnPass = Callable[[str, PassReport], object]
"""Called with a model's name after each of its passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRunner(Generic[Key, Text]):
    """What runs the passes of a model.

    Args:
        run: Turns the texts of a pass into vectors.
        pass_tokens: The most tokens of a pass where the queue's settings name none.
    """

    run: Encode[Text, Key]
    pass_tokens: int


class ModelWorkers(Mapping[str, BatchWorker[Key, Text]], Generic[Key, Text]):
    """The worker of each model by name, empty before it is entered; an async context manager.

    Args:
        runners: What runs the passes of each model.
        queue: How much may wait for each model, and how it is cut into passes.
        on_pass: Called with a model's name after each of its passes.
    """

    def __init__(
        self,
        runners: Mapping[str, PassRunner[Key, Text]],
        queue: QueueSettings,
        on_pass: OnPass | None = None,
    ) -> None:
        self._runners = runners
        self._queue = queue
        self._on_pass = on_pass
        self._workers: dict[str, BatchWorker[Key, Text]] = {}
        self._running = AsyncExitStack()

    def __getitem__(self, name: str) -> BatchWorker[Key, Text]:
        """Return the worker of a model."""
        return self._workers[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of models whose worker has begun."""
        return iter(self._workers)

    def __len__(self) -> int:
        """Return how many workers have begun."""
        return len(self._workers)

    @property
    def is_ready(self) -> bool:
        """Whether the worker of every model takes work."""
        running = [one.is_running for one in self._workers.values()]
        return len(running) == len(self._runners) and all(running)

    async def __aenter__(self) -> Self:
        """Start the workers."""
        for name, runner in self._runners.items():
            queue = replace(self._queue, pass_tokens=self._queue.pass_tokens or runner.pass_tokens)
            worker = BatchWorker[Key, Text](runner.run, queue, on_pass=self._observer(name))
            self._workers[name] = await self._running.enter_async_context(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer everything that was accepted, and stop the workers."""
        await self._running.aclose()

    def _observer(self, name: str) -> Callable[[PassReport], object] | None:
        on_pass = self._on_pass
        return None if on_pass is None else lambda report: on_pass(name, report)
