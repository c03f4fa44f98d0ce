"""Events of the log, as lines and as JSON."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from decant.embedders.log_events import JsonFormatter, log_event


def test_an_event_is_a_line_with_its_facts_and_a_mapping(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "decant"):
        log_event("index", {"collection": "docs", "added": 3})
        log_event("search", {"hits": 1}, level=logging.DEBUG)
    (record,) = caplog.records
    assert record.getMessage() == "index collection=docs added=3"
    assert vars(record)["decant"] == {"event": "index", "collection": "docs", "added": 3}


def test_json_has_the_facts_of_an_event_beside_the_record() -> None:
    record = logging.makeLogRecord(
        {
            "name": "decant",
            "levelname": "INFO",
            "msg": "%s happened",
            "args": ("it",),
            "created": 0.5,
            "decant": {"event": "index", "added": 3},
        }
    )
    assert json.loads(JsonFormatter().format(record)) == {
        "time": "1970-01-01T00:00:00.500+00:00",
        "level": "info",
        "logger": "decant",
        "message": "it happened",
        "event": "index",
        "added": 3,
    }


def test_json_is_one_line_and_names_an_exception_by_its_type_alone() -> None:
    try:
        raise ValueError("a text")
    except ValueError:
        record = logging.makeLogRecord({"msg": "first\nsecond", "exc_info": sys.exc_info()})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "a text" not in line
    assert json.loads(line)["exception"] == "ValueError"
