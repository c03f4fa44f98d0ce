"""The limits of a server, in a module of their own: app, documents and command line read them."""

from __future__ import annotations

from dataclasses import dataclass, field

from decant.embedders.remote import RequestLimits

from .batches import QueueSettings
from .errors import SettingsError
from .models import TextLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How much a server takes.

    Args:
        queue: How much may wait for each model, and how it is cut into passes.
        limits: How many texts a request may have, and how large each may be.
        body_bytes: The largest body of a request; 32 MiB is the most that Qdrant takes itself.
        body_seconds: How long a client may take to send the body.

    Raises:
        SettingsError: A number is below 1.
    """

    queue: QueueSettings = field(default_factory=QueueSettings)
    limits: TextLimits = field(default_factory=TextLimits)
    body_bytes: int = 33_554_432
    body_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.body_bytes < 1 or not self.body_seconds > 0:
            raise SettingsError(
                f"body_bytes and body_seconds must be above 0, got {self.body_bytes} and "
                f"{self.body_seconds}"
            )

    def limits_of(self, pass_tokens: int) -> RequestLimits:
        """Return what a client has to know of these limits.

        Args:
            pass_tokens: How many tokens keep the model busy.
        """
        return RequestLimits(
            texts=self.limits.texts,
            text_bytes=self.limits.text_bytes,
            body_bytes=self.body_bytes,
            tokens=self.queue.capacity,
            pass_tokens=self.queue.pass_tokens or pass_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What clients may hold of a server.

    Args:
        connections: How many may be open at a time. Requests on further ones are answered with 503;
            with twice as many open, new ones are closed at once.
        head_seconds: How long the head of a request, its first line and its headers, may take.
        read_seconds: How long a client may read nothing of its answer.
        stop_seconds: How long the server may take to stop. Connections that are open then are cut
            off, and their requests have no answer.

    Raises:
        SettingsError: A number is not above 0.
    """

    connections: int = 512
    head_seconds: float = 10.0
    read_seconds: float = 30.0
    stop_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("connections", "head_seconds", "read_seconds", "stop_seconds"):
            if not (value := getattr(self, name)) > 0:
                raise SettingsError(f"{name} must be above 0, got {value}")
