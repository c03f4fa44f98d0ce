"""Read the fields of a request's JSON object strictly: unknown keys and wrong types are errors.

Messages name the field and the type that was found, and never hold a value: values are texts and
keys of clients. Here alone loose JSON becomes typed values.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import TypeVar

from ..errors import RequestError

Choice = TypeVar("Choice", bound=StrEnum)

_SHOWN = 60
_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}


class JsonFields:
    """The fields of one JSON object.

    Args:
        data: The parsed JSON.
        where: What it is, for messages; empty for the body of the request.
        known: The keys that it may have.

    Raises:
        RequestError: It is no object, or has another key.
    """

    def __init__(self, data: object, *, where: str = "", known: Collection[str]) -> None:
        self._where = where
        if not isinstance(data, dict):
            name = where or "the body of the request"
            raise RequestError(f"{name} must be an object, got {_named(data)}")
        if unknown := sorted(str(key) for key in data if key not in known):
            raise RequestError(
                f"there is no {self._name(unknown[0][:_SHOWN])}; known are {', '.join(known)}"
            )
        self._data: dict[str, object] = data

    def has(self, key: str) -> bool:
        """Return whether a field is there and not null."""
        return self._data.get(key) is not None

    def value(self, key: str) -> object:
        """Return what a field holds.

        Raises:
            RequestError: It is missing or null.
        """
        if not self.has(key):
            raise RequestError(f"{self._name(key)} is missing")
        return self._data[key]

    def text(self, key: str) -> str:
        """Return a string that has to be there; RequestError: it is not."""
        value = self.value(key)
        if not isinstance(value, str):
            raise self._other(key, "a string", value)
        return value

    def optional_text(self, key: str) -> str | None:
        """Return a string, or None if there is none."""
        return self.text(key) if self.has(key) else None

    def flag(self, key: str) -> bool | None:
        """Return true or false, or None if there is none."""
        if not self.has(key):
            return None
        value = self.value(key)
        if not isinstance(value, bool):
            raise self._other(key, "true or false", value)
        return value

    def positive(self, key: str) -> int | None:
        """Return a whole number of at least 1, or None if there is none."""
        if not self.has(key):
            return None
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._other(key, "a whole number", value)
        if value < 1:
            raise RequestError(f"{self._name(key)} must be at least 1")
        return value

    def natural(self, key: str) -> int:
        """Return a whole number of at least 0, or 0 if there is none."""
        if not self.has(key):
            return 0
        value = self.value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._other(key, "a whole number", value)
        if value < 0:
            raise RequestError(f"{self._name(key)} must be at least 0")
        return value

    def choice(self, key: str, kind: type[Choice]) -> Choice | None:
        """Return a member of an enumeration, or None if there is none."""
        value = self.optional_text(key)
        if value is None:
            return None
        if value not in [*kind]:
            raise RequestError(f"{self._name(key)} must be one of {', '.join(kind)}")
        return kind(value)

    def items(self, key: str) -> list[object]:
        """Return a list that has to be there and is not empty."""
        value = self.value(key)
        if not isinstance(value, list):
            raise self._other(key, "a list", value)
        if not value:
            raise RequestError(f"{self._name(key)} is empty")
        return value

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def _other(self, key: str, wanted: str, value: object) -> RequestError:
        return RequestError(f"{self._name(key)} must be {wanted}, got {_named(value)}")


def _named(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
