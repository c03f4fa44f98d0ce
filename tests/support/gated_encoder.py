"""An encoder that waits for the event loop: it finishes only while the loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from threading import Event
from typing import Any, TypeVar

from decant.embedders import HashEncoder, Role, Vectors

T = TypeVar("T")


class GatedEncoder(HashEncoder):
    """A HashEncoder whose ``encode`` returns once ``gate`` was opened.

    Code that calls it on the event loop's own thread never lets the loop open the gate.
    """

    def __init__(self, dim: int = 8) -> None:
        super().__init__(dim)
        self.gate = Event()

    def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
        """Wait for the gate, then encode."""
        if not self.gate.wait(timeout=20):
            raise TimeoutError("the event loop was blocked: nobody opened the gate")
        return super().encode(texts, role=role, **options)


async def through(encoder: GatedEncoder, work: Awaitable[T]) -> T:
    """Start ``work``, open the gate from the event loop, and return what the work gives."""

    async def run() -> T:
        return await work

    encoder.gate.clear()
    task = asyncio.create_task(run())
    await asyncio.sleep(0.05)
    encoder.gate.set()
    return await task
