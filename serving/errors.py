"""The errors of serving, in a file of their own, because every wing raises them.

DecantError
├── RequestError(ValueError)   a request cannot be answered as it is
│   ├── RequestTooLarge        it has more bytes, texts or tokens than the server takes
│   ├── TextRefused            one of its texts cannot be embedded
│   ├── InstructionRefused     its instruction cannot be taken
│   ├── UnknownModel           it asks for a reranker that is not here
│   ├── OtherModel             its client was opened with another recipe or graph
│   └── NotJson                its body is not announced as JSON
├── KeyRefused                 it has no API key, or a wrong one
├── Overloaded                 the queue is full; holds the seconds after which to try again
├── ServerStopping             the server finishes what it has and takes nothing new
└── SettingsError(ValueError)  a server cannot be started like this

Messages go to clients and into logs: none holds a text, an instruction or a key.
"""

from __future__ import annotations

from decant.embedders import DecantError


class RequestError(DecantError, ValueError):
    """A request cannot be answered as it is; the message says what to change."""


class RequestTooLarge(RequestError):
    """A request has more bytes, texts or tokens than the server takes."""


class TextRefused(RequestError):
    """A text of a request cannot be embedded; the message holds its index."""


class InstructionRefused(RequestError):
    """The instruction of a request cannot be taken by the model."""


class UnknownModel(RequestError):
    """A request asks for a reranker by a name that no model has."""


class OtherModel(RequestError):
    """The client of a request was opened with another recipe or graph than the model has."""


class NotJson(RequestError):
    """The body of a request is not announced as JSON."""


class KeyRefused(DecantError):
    """A request has no API key, or a wrong one."""


class Overloaded(DecantError):
    """The queue of a model is full.

    Args:
        message: What happened.
        retry_after: Seconds after which the queue should have room.
    """

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerStopping(DecantError):
    """The server answers what it has accepted, and takes nothing new."""


class SettingsError(DecantError, ValueError):
    """A server cannot be started with these settings."""
