"""Log what happened as an event with counts, which people and programs read alike.

An event is a line ``index collection=docs added=3``; its record has the same as a mapping under
``decant``, for formatters. Invariant: facts are names of collections and models, counts, kinds and
durations, never texts, queries or keys.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from .span_protocol import Fact

_log = logging.getLogger("decant")


def log_event(event: str, facts: Mapping[str, Fact], *, level: int = logging.INFO) -> None:
    """Log an event of decant; without a listener of this level this costs next to nothing.

    Args:
        event: What happened, one word: ``index``, ``search``.
        facts: What is known of it.
        level: The level of the record.
    """
    if not _log.isEnabledFor(level):
        return
    said = " ".join(f"{name}={value}" for name, value in facts.items())
    _log.log(level, "%s %s", event, said, extra={"decant": {"event": event, **facts}})


class JsonFormatter(logging.Formatter):
    """Writes each record as one line of JSON; of an exception only its type is written.

    Facts of an event stand beside ``time``, ``level``, ``logger`` and ``message``. Give it to a
    handler of your own: ``handler.setFormatter(JsonFormatter())``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        facts = getattr(record, "decant", None)
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(facts if isinstance(facts, dict) else {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str)
