"""The queue of a model: bounds, lanes, and passes, against the plain list of what was put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import Role
from decant.serving import QueueSettings, SettingsError
from decant.serving.batches import Lane, Pass, PassKey, Ticket, Work, WorkQueue

PASS = 10
ROOMY = QueueSettings(capacity=10**6, pass_tokens=PASS, short_tokens=4)
QUERY, PASSAGE = (PassKey(role=role) for role in (Role.QUERY, Role.PASSAGE))


def work(*tokens: int, key: PassKey = PASSAGE) -> Work[PassKey, str]:
    """Return work whose texts are numbered."""
    return Work(key=key, texts=tuple(map(str, range(len(tokens)))), tokens=tokens)


def emptied(queue: WorkQueue[PassKey, str]) -> list[Pass[PassKey, str]]:
    """Return all passes until nothing waits, lane by lane."""
    found = []
    for lane in Lane:
        while (taken := queue.take(lane)) is not None:
            found.append(taken)
    return found


def works() -> st.SearchStrategy[list[Work[PassKey, str]]]:
    """Return works of a few keys, with texts below and above the budget of a pass."""
    keys = st.builds(
        PassKey, role=st.sampled_from(Role), instruction=st.sampled_from([None, "find", "sort"])
    )
    one = st.builds(
        lambda key, tokens: work(*tokens, key=key),
        keys,
        st.lists(st.integers(1, 15), min_size=1, max_size=12),
    )
    return st.lists(one, max_size=12)


@given(works())
def test_every_text_is_in_one_pass_and_in_order(given_works: list[Work[PassKey, str]]) -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    tickets = [queue.put(one) for one in given_works]
    seen: dict[Ticket[PassKey, str], list[int]] = {ticket: [] for ticket in tickets}
    for taken in emptied(queue):
        for part in taken.parts:
            assert part.ticket.work.key == taken.key
            seen[part.ticket] += range(part.start, part.stop)
    for ticket in tickets:
        assert seen[ticket] == [*range(len(ticket.work.texts))]
    assert queue.tokens == 0


@given(works())
def test_a_pass_keeps_its_budget_unless_it_is_one_text(
    given_works: list[Work[PassKey, str]],
) -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    for one in given_works:
        queue.put(one)
    for taken in emptied(queue):
        assert taken.tokens <= PASS or len(taken.texts) == 1


@given(works(), st.data())
def test_what_was_removed_is_in_no_pass_and_counts_no_more(
    given_works: list[Work[PassKey, str]], data: st.DataObject
) -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    tickets = [queue.put(one) for one in given_works]
    for lane in data.draw(st.lists(st.sampled_from(Lane), max_size=3)):
        queue.take(lane)
    gone = data.draw(st.sets(st.sampled_from(tickets))) if tickets else set()
    for ticket in gone:
        queue.remove(ticket)
        queue.remove(ticket)
    waiting = [ticket for ticket in tickets if ticket not in gone]
    assert queue.tokens == sum(sum(one.work.tokens[one.taken :]) for one in waiting)
    assert not {part.ticket for taken in emptied(queue) for part in taken.parts} & gone
    assert queue.tokens == 0


def test_a_lane_gives_its_own_work_alone() -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    passage, query = queue.put(work(10)), queue.put(work(3, key=QUERY))
    short, long = queue.take(Lane.SHORT), queue.take(Lane.LONG)
    assert short is not None
    assert long is not None
    assert [part.ticket for part in short.parts] == [query]
    assert [part.ticket for part in long.parts] == [passage]
    assert queue.take(Lane.SHORT) is None


def test_queries_of_many_tokens_wait_with_the_passages() -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    assert queue.put(work(2, 2, key=QUERY)).lane is Lane.SHORT
    assert queue.put(work(2, 3, key=QUERY)).lane is Lane.LONG
    assert (queue.lane_tokens(Lane.SHORT), queue.lane_tokens(Lane.LONG)) == (4, 5)


def test_small_work_does_not_wait_for_the_whole_of_large_work() -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    large, small = queue.put(work(*[5] * 100)), queue.put(work(5))
    passes = emptied(queue)
    place = next(n for n, one in enumerate(passes) if small in {part.ticket for part in one.parts})
    assert place == 1
    assert large in {part.ticket for part in passes[-1].parts}


def test_instructions_take_turns() -> None:
    queue = WorkQueue[PassKey, str](ROOMY)
    for _ in range(3):
        queue.put(work(10))
    other = PassKey(role=Role.PASSAGE, instruction="sort")
    queue.put(work(10, key=other))
    assert [taken.key for taken in emptied(queue)] == [PASSAGE, other, PASSAGE, PASSAGE]


def test_room_is_counted_in_tokens() -> None:
    queue = WorkQueue[PassKey, str](QueueSettings(capacity=10))
    queue.put(work(6))
    assert queue.has_room(4)
    assert not queue.has_room(5)
    queue.take(Lane.LONG)
    assert queue.has_room(10)


@pytest.mark.parametrize("name", ["capacity", "pass_tokens", "short_tokens"])
def test_settings_below_one_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be at least 1, got 0"):
        QueueSettings(**{name: 0})


@pytest.mark.parametrize("tokens", [(), (0,)])
def test_work_without_texts_or_tokens_is_refused(tokens: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one token of each"):
        work(*tokens)
