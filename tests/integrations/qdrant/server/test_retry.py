"""How often and how long a request is repeated, on a clock that only pauses and requests move."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from decant.embedders import StoreError
from decant.integrations.qdrant.server.retry import Backoff, ask
from decant.integrations.stop import Stopped, stoppable


class Clock:
    """Counts the seconds of pauses and requests."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        self.now += seconds

    def within(self, timeout: float | None = None, attempts: int | None = None) -> Backoff:
        usual = Backoff.within(timeout, attempts=attempts)
        return Backoff(
            attempts=usual.attempts,
            timeout=usual.timeout,
            attempt_timeout=usual.attempt_timeout,
            sleep=self.sleep,
            clock=lambda: self.now,
        )


def failing(clock: Clock, *, takes: float, error: Exception) -> Callable[[], int]:
    def request() -> int:
        clock.now += takes
        raise error

    return request


def busy(**headers: str) -> UnexpectedResponse:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return UnexpectedResponse(503, "Busy", b"", httpx.Headers(named))


SILENCE = ResponseHandlingException(httpx.ReadTimeout("timed out"))


def test_a_server_that_restarts_is_asked_seven_times() -> None:
    clock = Clock()
    with pytest.raises(StoreError, match=r"failed after 7 attempts in \d+ s: 503 Busy; check that"):
        ask(failing(clock, takes=0.001, error=busy()), clock.within(), what="counting")
    assert len(clock.pauses) == 6
    assert all(pause <= 0.5 * 2**at for at, pause in enumerate(clock.pauses))


def test_a_server_that_never_answers_is_asked_twice_within_the_timeout() -> None:
    clock = Clock()
    backoff = clock.within()
    silent = failing(clock, takes=backoff.attempt_timeout, error=SILENCE)
    with pytest.raises(StoreError, match=r"failed after 2 attempts in 10[89] s: ReadTimeout"):
        ask(silent, backoff, what="searching")
    assert clock.now - 100 < 120


@given(
    timeout=st.floats(1, 1_000),
    attempts=st.integers(1, 9),
    share=st.floats(0, 1),
    wait=st.floats(0, 1e6),
)
def test_no_request_outlives_its_timeout(
    timeout: float, attempts: int, share: float, wait: float
) -> None:
    clock = Clock()
    backoff = clock.within(timeout, attempts)
    error = busy(retry_after=str(wait))
    request = failing(clock, takes=share * backoff.attempt_timeout, error=error)
    with pytest.raises(StoreError):
        ask(request, backoff, what="searching")
    assert clock.now - 100 <= timeout + 1e-6


def test_one_attempt_has_the_whole_timeout_and_says_no_number() -> None:
    clock = Clock()
    backoff = clock.within(10, 1)
    assert backoff.attempt_timeout == 10
    with pytest.raises(StoreError, match=r"^counting failed: 503 Busy; check"):
        ask(failing(clock, takes=0, error=busy()), backoff, what="counting")


@pytest.mark.parametrize("asked", ["86400", "1e+20", "67"])
def test_a_wait_beyond_the_timeout_ends_the_request_at_once(asked: str) -> None:
    clock = Clock()
    said = rf"failed: 503 Busy, and to wait {asked} s was asked, longer than the timeout"
    with pytest.raises(StoreError, match=said.replace("+", r"\+")):
        ask(failing(clock, takes=0, error=busy(retry_after=asked)), clock.within(), what="reading")
    assert clock.pauses == []


@pytest.mark.parametrize(("asked", "least"), [("1.5", 1.5), ("30", 30), ("-3", 0), ("soon", 0)])
def test_a_wait_within_the_timeout_is_kept(asked: str, least: float) -> None:
    clock = Clock()
    answers = iter([busy(retry_after=asked), None])

    def request() -> int:
        if (error := next(answers)) is not None:
            raise error
        return 7

    assert ask(request, clock.within(), what="counting") == 7
    assert least <= clock.pauses[0] <= max(least, 0.5)


@pytest.mark.parametrize(
    ("timeout", "attempts"), [(0.5, 7), (-1, 7), (float("inf"), 7), (float("nan"), 7), (9, 0)]
)
def test_settings_that_never_ask_or_never_end_are_refused(timeout: float, attempts: int) -> None:
    with pytest.raises(StoreError, match=r"(timeout|attempts)=.*: give"):
        Backoff.within(timeout, attempts=attempts)


class TestGivingUp:
    def test_a_pause_ends_when_the_work_is_given_up(self) -> None:
        stop = Event()
        asked = []

        def request() -> int:
            asked.append(1)
            stop.set()  # while the request is under way
            raise busy(retry_after="60")

        with stoppable(stop), pytest.raises(Stopped):
            ask(request, Backoff(), what="writing")
        assert asked == [1]

    def test_no_request_begins_afterwards(self) -> None:
        stop = Event()
        stop.set()
        with stoppable(stop), pytest.raises(Stopped):
            ask(lambda: pytest.fail("was asked"), Backoff(), what="writing")
        assert ask(lambda: 7, Backoff(), what="counting") == 7, "outside of the block"
