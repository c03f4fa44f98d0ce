"""What the double answers: a result, or a refusal with its status and sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it goes over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The server refuses; most refusals are JSON, those of keys are plain text."""

    def __init__(
        self, status: int, said: str, *, retry_after: int | None = None, plain: bool = False
    ) -> None:
        super().__init__(said)
        self.status = status
        self.said = said
        self.retry_after = retry_after
        self.plain = plain

    def answer(self) -> Answer:
        """Return it as it goes over the wire."""
        if self.plain:
            return Answer(status=self.status, body=self.said.encode())
        headers = {"content-type": "application/json"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        shown = {"status": {"error": self.said}, "time": 0.0}
        return Answer(status=self.status, body=_dumped(shown), headers=headers)


class BadRequest(Refused):
    """Strict mode refuses: what is wrong, and what would help."""

    def __init__(self, said: str, advice: str) -> None:
        super().__init__(400, f"Bad request: {said}. Help: {advice}")


def missing(name: str) -> Refused:
    """Return the refusal for a collection that is not there."""
    return Refused(404, f"Not found: Collection `{name}` doesn't exist!")


def wrong(said: str) -> Refused:
    """Return the refusal of an input that cannot be carried out."""
    return Refused(400, f"Wrong input: {said}")


def succeeded(result: Any, usage: Any = None) -> Answer:
    """Return a result in its envelope, with what an inference service counted."""
    more = {} if usage is None else {"usage": {"inference": usage}}
    return shown({**more, "result": result, "status": "ok", "time": 0.0001})


def shown(body: Any) -> Answer:
    """Return a body as it is."""
    return Answer(status=200, body=_dumped(body), headers={"content-type": "application/json"})


def _dumped(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
