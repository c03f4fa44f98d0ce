"""Write the log as lines of JSON on stderr: a file of its own, which options call.

Events of decant are logged from INFO on, and messages of the command become lines, too, errors
included. Results on stdout stay as they are.
"""

from __future__ import annotations

import logging
from enum import StrEnum

import typer

from decant.embedders.log_events import JsonFormatter


class LogFormat(StrEnum):
    """How a command writes its log and its messages."""

    TEXT = "text"
    JSON = "json"


def set_log_format(context: typer.Context, chosen: LogFormat) -> LogFormat:
    """Begin to log as chosen until the command has ended; the callback of an option."""
    if chosen is LogFormat.JSON and not context.resilient_parsing:
        log = logging.getLogger("decant")
        handler, before = logging.StreamHandler(), log.level
        handler.setFormatter(JsonFormatter())
        log.addHandler(handler)
        log.setLevel(min(before or logging.INFO, logging.INFO))

        def end() -> None:
            log.removeHandler(handler)
            log.setLevel(before)

        context.call_on_close(end)
    return chosen
