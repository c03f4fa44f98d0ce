"""Let the tasks of an event loop run until something holds, without a clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Let the tasks that are ready run until a condition holds."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the tasks came to rest before the condition held")
