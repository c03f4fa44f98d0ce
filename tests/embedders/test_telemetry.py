"""Spans where a program traces, and nothing at all where it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from decant.embedders.span_protocol import SpanKind
from decant.embedders.telemetry import (
    add_trace_headers,
    carried,
    origin_of,
    present_origin,
    span,
)
from recorded_spans import Recorded, id_of, parent_of, recorded_spans, traceparent

CANARY = "a text that nobody may see"
_ALONE = """
import sys
if {blocked}:
    sys.modules["opentelemetry"] = None
    sys.modules["opentelemetry.trace"] = None
from decant.embedders import HashEncoder, Role
from decant.embedders.telemetry import add_trace_headers, carried, origin_of, present_origin, span
headers = {{"traceparent": "00-" + 32 * "1" + "-" + 16 * "2" + "-01"}}
with span("decant.test", origins=origin_of(headers)) as begun:
    assert not begun.is_recording
    begun.set({{"a": 1}})
    begun.count("b", 1)
    sent = {{}}
    add_trace_headers(sent)
    assert sent == {{}} and present_origin() is None and origin_of(headers) == ()
    assert carried(print) is print and begun.carry(print) is print
assert HashEncoder().encode(["x"], role=Role.QUERY).dense.shape == (1, 64)
print(sorted(name for name in sys.modules if name.startswith("opentelemetry.")))
"""


@pytest.fixture
def spans() -> Iterator[Recorded]:
    with recorded_spans() as found:
        yield found


@pytest.mark.parametrize("blocked", [True, False], ids=["without the api", "not imported"])
def test_where_nobody_traces_nothing_is_imported_and_everything_works(blocked: bool) -> None:
    code = _ALONE.format(blocked=blocked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("['opentelemetry.trace']" if blocked else "[]")


def test_without_an_sdk_there_is_no_span() -> None:
    with span("decant.test") as begun:
        assert not begun.is_recording
        assert present_origin() is None


def test_spans_nest_and_hold_attributes_and_sums(spans: Recorded) -> None:
    with span("decant.outer", kind=SpanKind.CLIENT) as outer:
        outer.set({"decant.limit": 3})
        for number in (1, 2, 3):
            outer.count("decant.texts", number)
        with span("decant.inner"):
            pass
    inner, found = spans.all
    assert parent_of(inner) == id_of(found)
    assert parent_of(found) is None
    assert dict(found.attributes) == {"decant.limit": 3, "decant.texts": 6}
    assert found.kind.name == "CLIENT"
    assert found.instrumentation_scope.name == "decant"


def test_an_error_is_marked_by_its_type_and_not_by_its_message(spans: Recorded) -> None:
    with pytest.raises(ValueError, match=CANARY), span("decant.test"):
        raise ValueError(CANARY)
    found = spans.one("decant.test")
    assert found.attributes["error.type"] == "builtins.ValueError"
    assert found.status.status_code.name == "ERROR"
    assert found.status.description is None
    assert found.events == ()
    assert CANARY not in spans.text()


def test_a_generator_that_is_left_ends_its_span_without_an_error(spans: Recorded) -> None:
    def numbers() -> Iterator[int]:
        with span("decant.stream", current=False):
            yield from (1, 2)

    with span("decant.caller"):
        for _ in numbers():
            with span("decant.between"):
                pass
            break
    stream, between = spans.one("decant.stream"), spans.one("decant.between")
    caller = id_of(spans.one("decant.caller"))
    assert parent_of(stream) == parent_of(between) == caller
    assert stream.status.status_code.name == "UNSET"


@pytest.mark.parametrize("by_span", [True, False])
def test_threads_continue_the_trace_if_they_carry_it(spans: Recorded, by_span: bool) -> None:
    def work() -> None:
        with span("decant.work"):
            pass

    with ThreadPoolExecutor(1) as pool:
        with span("decant.outer") as outer:
            run = outer.carry(work) if by_span else carried(work)
        pool.submit(run).result()
        pool.submit(work).result()
    first, second = spans.named("decant.work")
    assert parent_of(first) == id_of(spans.one("decant.outer"))
    assert parent_of(second) is None


def test_headers_take_a_trace_to_another_process_and_back(spans: Recorded) -> None:
    headers: dict[str, str] = {}
    with span("decant.client"):
        add_trace_headers(headers)
    with span("decant.server", origins=origin_of(headers)):
        pass
    client, server = spans.all
    assert headers["traceparent"].startswith(traceparent(client))
    assert set(headers) <= {"traceparent", "tracestate"}
    assert parent_of(server) == id_of(client)
    assert server.context.trace_id == client.context.trace_id


@pytest.mark.parametrize("value", ["", "nonsense", "00-" + 32 * "0" + "-" + 16 * "0" + "-01"])
def test_a_malformed_header_begins_a_new_trace(spans: Recorded, value: str) -> None:
    assert origin_of({"traceparent": value}) == ()


def test_work_for_several_has_one_parent_and_links(spans: Recorded) -> None:
    origins = []
    for name in ("decant.first", "decant.second"):
        with span(name):
            origins.append(present_origin())
    with span("decant.joined", origins=[one for one in origins if one is not None]):
        pass
    first, second, joined = spans.all
    assert parent_of(joined) == id_of(first)
    assert [link.context.span_id for link in joined.links] == [id_of(second)]
