"""The limits of a server, in a module of their own: app, documents and command line read them."""

from __future__ import annotations

from dataclasses import dataclass, field

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
