"""Work that waits for a model: two lanes, bounded in tokens, taken out by passes.

A pass takes texts of one key from one lane, up to a budget of tokens. Keys take turns, and so does
work with one key that is larger than a pass, so nobody waits for a large request as a whole. There
is no clock and no thread here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic

from ..errors import SettingsError
from .passes import Key, Lane, Pass, PassPart, Text, Ticket, Work

PASS_TOKENS = 2_048
"""The most tokens in a pass of an encoder that does not say what keeps it busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How much may wait, and how it is cut into passes.

    Args:
        capacity: The most tokens that wait; what is in a pass does not count.
        pass_tokens: The most tokens in a pass; one text alone may exceed it. None: as many as keep
            the encoder busy.
        short_tokens: Queries of one request with at most so many tokens wait in the SHORT lane, and
            so do the pairs of a request to a reranker.

    Raises:
        SettingsError: A number is below 1.
    """

    capacity: int = 524_288
    pass_tokens: int | None = None
    short_tokens: int = 512

    def __post_init__(self) -> None:
        for name in ("capacity", "pass_tokens", "short_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} must be at least 1, got {value}")


class WorkQueue(Generic[Key, Text]):
    """Tickets of accepted work, in the order in which passes take them.

    Args:
        settings: How much may wait, and how it is cut.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        # A dict of tickets is a set that keeps their order.
        self._lanes: dict[Lane, OrderedDict[Key, dict[Ticket[Key, Text], None]]] = {
            lane: OrderedDict() for lane in Lane
        }
        self._tokens = dict.fromkeys(Lane, 0)

    @property
    def tokens(self) -> int:
        """How many tokens wait."""
        return sum(self._tokens.values())

    def lane_tokens(self, lane: Lane) -> int:
        """Return how many tokens wait in a lane."""
        return self._tokens[lane]

    def has_room(self, tokens: int) -> bool:
        """Return whether so many tokens more may wait."""
        return self.tokens + tokens <= self._settings.capacity

    def put(self, work: Work[Key, Text]) -> Ticket[Key, Text]:
        """Append work, and return its ticket; call it only if there is room."""
        assert self.has_room(work.total), "the caller asks has_room first"
        ticket = Ticket(work=work, lane=self._lane(work))
        self._lanes[ticket.lane].setdefault(work.key, {})[ticket] = None
        self._tokens[ticket.lane] += work.total
        return ticket

    def remove(self, ticket: Ticket[Key, Text]) -> None:
        """Take out what of a ticket still waits; nothing happens if none does."""
        lane = self._lanes[ticket.lane]
        tickets = lane.get(ticket.work.key)
        if tickets is None or ticket not in tickets:
            return
        del tickets[ticket]
        self._tokens[ticket.lane] -= ticket.waiting_tokens
        if not tickets:
            del lane[ticket.work.key]

    def take(self, lane: Lane) -> Pass[Key, Text] | None:
        """Take the next pass out of a lane; None if nothing waits there."""
        if not self._lanes[lane]:
            return None
        key, tickets = next(iter(self._lanes[lane].items()))
        parts = self._parts(tickets)
        for part in parts:
            ticket = part.ticket
            ticket.taken = part.stop
            del tickets[ticket]
            if ticket.taken < len(ticket.work.texts):
                tickets[ticket] = None  # its next texts wait behind the others
        del self._lanes[lane][key]
        if tickets:
            self._lanes[lane][key] = tickets
        found = Pass(lane=lane, key=key, parts=tuple(parts))
        self._tokens[lane] -= found.tokens
        return found

    def _lane(self, work: Work[Key, Text]) -> Lane:
        is_short = work.key.is_urgent and work.total <= self._settings.short_tokens
        return Lane.SHORT if is_short else Lane.LONG

    def _parts(self, tickets: dict[Ticket[Key, Text], None]) -> list[PassPart[Key, Text]]:
        """Return the texts of the next pass: in order, until one does not fit."""
        budget = self._settings.pass_tokens or PASS_TOKENS
        left, parts = budget, list[PassPart[Key, Text]]()
        for ticket in tickets:
            counts, stop = ticket.work.tokens, ticket.taken
            # A text larger than a whole pass goes alone.
            while stop < len(counts) and (counts[stop] <= left or left == budget):
                left -= counts[stop]
                stop += 1
            if stop > ticket.taken:
                parts.append(PassPart(ticket=ticket, start=ticket.taken, stop=stop))
            if stop < len(counts):
                break
        return parts
