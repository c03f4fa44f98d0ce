"""Wait until a server has built a collection's vector index."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from qdrant_client import models

from decant.embedders import StoreError

from ..stores.protocol import OptimizeProgress
from .requests import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a server's optimizers.

    Args:
        seconds: The longest wait.
        interval: Seconds between two requests.
        sleep: The function that waits.
        clock: The function that returns the time in seconds.
    """

    seconds: float = 3_600.0
    interval: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def wait_for_index(
    requests: Requests, name: str, patience: Patience, *, progress: OptimizeProgress | None
) -> models.CollectionInfo:
    """Return the state of a collection when its optimizers have nothing left to do.

    Args:
        requests: Sends the requests.
        name: The collection.
        patience: How long to wait.
        progress: As for :func:`wait_until_green`.

    Raises:
        StoreError: As :func:`wait_until_green`.
    """
    look = partial(requests.client.get_collection, name)
    # Waiting optimizers start at any update of their settings, even without a change.
    none = models.OptimizersConfigDiff()
    wake = partial(requests.client.update_collection, name, optimizers_config=none)
    return wait_until_green(
        lambda: requests.ask(f"looking at {name!r}", look),
        lambda: requests.ask(f"waking the optimizers of {name!r}", wake),
        patience,
        what=f"the collection {name!r} at {requests.place}",
        progress=progress,
    )


def wait_until_green(
    look: Callable[[], models.CollectionInfo],
    wake: Callable[[], object],
    patience: Patience,
    *,
    what: str,
    progress: OptimizeProgress | None,
) -> models.CollectionInfo:
    """Return the collection's state when the optimizers have nothing left to do.

    Args:
        look: Requests the collection's state from the server.
        wake: Starts optimizers that wait, as they do after a restart of the server.
        patience: How long to wait.
        what: The collection, for messages.
        progress: Called at each request with the number of indexed vectors, and of points.

    Raises:
        StoreError: The optimizers failed, or are not done in time; the message has the status.
    """
    began = patience.clock()
    is_awake = False
    while True:
        info = look()
        indexed, points = info.indexed_vectors_count or 0, info.points_count or 0
        if progress is not None:
            progress(indexed, points)
        if not isinstance(info.optimizer_status, models.OptimizersStatusOneOf):
            raise StoreError(
                f"the server cannot build the index of {what}: {info.optimizer_status.error}; "
                "what is stored is safe; see the server's log"
            )
        match info.status:
            case models.CollectionStatus.GREEN:
                return info
            case models.CollectionStatus.RED:
                raise StoreError(
                    f"{what} has the status red: an operation failed on the server; see its log, "
                    "and start it again"
                )
            case models.CollectionStatus.GREY:
                if not is_awake:
                    wake()
                    is_awake = True
            case models.CollectionStatus.YELLOW:
                pass
            case _:
                assert_never(info.status)
        if patience.clock() - began >= patience.seconds:
            raise StoreError(
                f"{what} still has the status {info.status.value} after {patience.seconds:.0f} s: "
                f"{indexed} vectors of {points} points are indexed; the server goes on by itself, "
                "so ask again later"
            )
        patience.sleep(patience.interval)
