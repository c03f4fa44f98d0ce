"""Send requests to the server of an encoder or a reranker, and repeat them while that may help.

A server that cannot be reached or is about to stop is asked a few times, with pauses that grow and
are spread at random; one that is busy is waited for as long as it says. Both end with the timeout.
The module that imports httpx; it imports nothing of encoders.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock

import httpx

from ..errors import ProviderError, RemoteError
from ..forks import leave_behind, renew_after_fork
from ..telemetry import add_trace_headers
from .address import RemoteAccess
from .faults import Answer, Fault, fault_of_error, judge

_CONNECT = 10.0  # seconds within which a reachable machine accepts a connection
_SHARE = 0.45  # of the timeout, for one attempt: a hung one is repeated in time


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often to ask, and how long to wait in between ("full jitter", Brooker 2015).

    Args:
        attempts: How often a server is asked that fails; one that is busy is asked until the
            timeout.
        first: The longest first pause, in seconds; each is twice the one before.
        longest: The longest pause, in seconds.
    """

    attempts: int = 7
    first: float = 0.25
    longest: float = 10.0

    def pause(self, attempt: int, asked: float | None = None) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: The attempt, counted from 0.
            asked: The seconds that the server asks to wait, of which a quarter is added at most, so
                that its clients do not come back together; None if it does not say.
        """
        longest = min(self.longest, self.first * 2 ** min(attempt, 32))
        if asked is not None:
            longest = self.first + asked / 4
        return (asked or 0.0) + random.uniform(0, longest)  # noqa: S311 (keeps no secret)


class EncoderClient:
    """Requests to one address; safe to share between threads, and renewed in a forked child.

    Args:
        url: The address of the encoder.
        access: How it lets the client in.
        backoff: How often to ask.
        wait: Waits so many seconds; None: until then, or until the client is closed.
        what: What is served there, for messages.
    """

    def __init__(
        self,
        url: str,
        access: RemoteAccess,
        *,
        backoff: Backoff | None = None,
        wait: Callable[[float], object] | None = None,
        what: str = "encoder",
    ) -> None:
        self.url = url
        self.access = access
        self.what = what
        self._backoff = backoff or Backoff()
        self._wait = wait
        self._closing = Event()
        self._lock = Lock()
        self._http: httpx.Client | None = None
        renew_after_fork(self)

    def __repr__(self) -> str:
        return f"EncoderClient({self.url!r})"

    def renew(self) -> None:
        """Open connections of its own; called in a forked child, which shares its parent's."""
        leave_behind(self._http)
        was_closed = self._closing.is_set()
        self._closing, self._lock, self._http = Event(), Lock(), None
        if was_closed:
            self._closing.set()

    def stop(self) -> None:
        """End all pauses: requests that would be repeated fail instead."""
        self._closing.set()

    def close(self) -> None:
        """Close the connections; requests that are under way fail."""
        self.stop()
        with self._lock:
            if self._http is not None:
                self._http.close()

    def get(self, path: str, *, most_bytes: int) -> Answer:
        """Return the answer to a request for what lies below the address; see :meth:`post`."""
        return self._ask("GET", path, None, most_bytes)

    def post(self, path: str, body: bytes, *, most_bytes: int) -> Answer:
        """Return the answer to JSON.

        Args:
            path: What follows the address.
            body: JSON.
            most_bytes: The largest answer that makes sense.

        Raises:
            RemoteError: The server cannot be reached, fails, or is busy for too long; or what
                answers is something else.
            ProviderError: The client was closed.
        """
        return self._ask("POST", path, body, most_bytes)

    def _ask(self, method: str, path: str, body: bytes | None, most_bytes: int) -> Answer:
        began = time.monotonic()
        ends = began + self.access.timeout
        failed = asked = 0
        while True:
            self._check_open()
            limit = min(ends - time.monotonic(), self.access.timeout * _SHARE)
            found = self._attempt(method, path, body, most_bytes, max(limit, 0.001))
            if isinstance(found, Answer):
                return found
            self._check_open()  # its end is why the request failed
            asked += 1
            failed += not found.is_busy
            pause = self._backoff.pause(asked - 1, found.wait)
            is_late = time.monotonic() + pause >= ends
            if not found.passes or is_late or failed >= self._backoff.attempts:
                tried = f" after {asked} attempts in {time.monotonic() - began:.0f} s"
                raise RemoteError(
                    f"the {self.what} at {self.url} gave no answer{tried if asked > 1 else ''}: "
                    f"{found.text}"
                )
            (self._wait or self._closing.wait)(pause)

    def _attempt(
        self, method: str, path: str, body: bytes | None, most_bytes: int, seconds: float
    ) -> Answer | Fault:
        ends = time.monotonic() + seconds
        # The encoding is what arrives bit for bit, and compressed floats are hardly smaller.
        headers = {"Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        key = self.access.key
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        add_trace_headers(headers)
        timeout = httpx.Timeout(seconds, connect=min(seconds, _CONNECT))
        try:
            with self._connected().stream(
                method, self.url + path, content=body, headers=headers, timeout=timeout
            ) as response:
                given = bytearray()
                for chunk in response.iter_bytes():
                    given += chunk
                    if len(given) > most_bytes:
                        return Fault(
                            text=f"the answer has more than {most_bytes:,} bytes; check that "
                            "decant serve itself answers there"
                        )
                    if time.monotonic() > ends:
                        raise httpx.ReadTimeout("the answer did not end in time")
                return judge(response, bytes(given), key=key)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return fault_of_error(error)
        except RuntimeError:
            self._check_open()  # another thread closed the connections
            raise

    def _connected(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                trusted = self.access.trusted()
                self._http = httpx.Client(verify=True if trusted is None else trusted)
            return self._http

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise ProviderError(
                f"the {self.what} at {self.url} is closed on this side; use it before close(), "
                "or inside its with block, or load it again"
            )
