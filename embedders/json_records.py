"""Frozen dataclasses to JSON and back, strictly: an unknown key or a wrong type is an error.

A file is read only if it is a plain file (or a link to one) of at most 64 MiB. However it is
damaged, the caller's class of error is raised with the file's name. NaN and infinity are refused.

Only here does loose JSON become typed values. Supported field types are those that our
records use: str, int, float, bool, None unions, enums, nested dataclasses, ``tuple[X, ...]`` and
``Mapping[str, X]``. A field that was renamed keeps its old key (:func:`stored_as`).
Invariant: ``decode(type(x), encode(x)) == x``.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
import stat
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast

from .errors import DecantError

if TYPE_CHECKING:
    from pathlib import Path

_KEY = "decant.key"
_ABSENT = "decant.absent"
_LARGEST_INTEGER = 2**53  # whole numbers below it are exact as floats
_LARGEST_FILE = 2**26  # bytes; the largest that we write, a calibration, has some hundred thousand

# For values in messages: damaged ones may be long, or nested too deeply for repr().
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 120
_shown.maxlevel = 3

T = TypeVar("T")
Json = Union[None, bool, int, float, str, "list[Json]", "dict[str, Json]"]


def stored_as(key: str) -> dict[str, str]:
    """Return the ``metadata`` of a dataclass field whose key in JSON is not its name."""
    return {_KEY: key}


def absent_by_default() -> dict[str, bool]:
    """Return the ``metadata`` of a field that is not written while it holds its default.

    So files that were written before the field existed keep their bytes.
    """
    return {_ABSENT: True}


def encode(value: object, *, defaults: bool = True) -> Json:
    """Return ``value`` as plain JSON data.

    Args:
        value: A dataclass, enum, tuple, dict or plain value.
        defaults: Whether fields that hold their default are written too.
    """
    if is_dataclass(value) and not isinstance(value, type):
        shown: dict[str, Json] = {}
        for item in fields(value):
            held = getattr(value, item.name)
            default = (
                item.default_factory() if item.default_factory is not MISSING else item.default
            )
            wanted = defaults and not item.metadata.get(_ABSENT, False)
            if wanted or held != default:
                shown[_key(item)] = encode(held, defaults=defaults)
        return shown
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, Mapping):
        return {str(key): encode(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item, defaults=defaults) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no place in our JSON")


def decode(kind: type[T], data: object, *, where: str, error: type[DecantError]) -> T:
    """Build a ``kind`` from JSON data.

    Args:
        kind: The dataclass to build.
        data: The result of ``json.loads``.
        where: A name for messages, for example the file.
        error: The class of error to raise.

    Raises:
        DecantError: Of class ``error``: a key is unknown or missing, or a value has another type.
    """
    return cast("T", _decode(kind, data, where, error))


def overlaid(value: T, data: object, *, where: str, error: type[DecantError]) -> T:
    """Return a dataclass in which the fields that ``data`` names have its values.

    A field that was renamed is found by its name and by its old key, see :func:`stored_as`.

    Args:
        value: A dataclass.
        data: An object with some of its fields.
        where: A name for messages, for example the file.
        error: The class of error to raise.

    Raises:
        DecantError: Of class ``error``: ``data`` is no object, a field is unknown or given twice,
            or a value has another type.
    """
    if not isinstance(data, dict):
        raise error(f"{where}: expected an object, found {_shown.repr(data)}")
    kind: Any = type(value)
    names = {_key(item): item.name for item in fields(kind)}
    names |= {item.name: item.name for item in fields(kind)}
    if unknown := sorted(set(data) - set(names)):
        known = ", ".join(item.name for item in fields(kind))
        raise error(f"{where}: unknown key {unknown[0]!r}; known are {known}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, item in data.items():
        name = names[key]
        if name in values:
            raise error(f"{where}: {name!r} is given twice, once by its old name")
        values[name] = _decode(hints[name], item, f"{where}.{key}", error)
    try:
        return cast("T", replace(cast("Any", value), **values))
    except DecantError as cause:
        raise error(f"{where}: {cause}") from cause


def read(kind: type[T], path: Path, *, error: type[DecantError]) -> T:
    """Read one ``kind`` from the JSON file at ``path``; errors are of class ``error``."""
    return decode(kind, read_json(path, error=error), where=path.name, error=error)


def read_json(path: Path, *, error: type[DecantError]) -> object:
    """Return the content of the JSON file at ``path``.

    Raises:
        DecantError: Of class ``error``: it is missing, no plain file, above 64 MiB, or damaged.
    """
    check_plain(path, most_bytes=_LARGEST_FILE, error=error)
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}") from cause
    if len(raw) > _LARGEST_FILE:
        raise error(f"{path} grew beyond {_LARGEST_FILE:,} bytes while it was read")
    return parse(raw, where=str(path), error=error)


def check_plain(path: Path, *, most_bytes: int, error: type[DecantError]) -> None:
    """Refuse a path that is not a plain file or a link to one, and files that are too large.

    Args:
        path: The file.
        most_bytes: Its largest size.
        error: The class of error to raise.

    Raises:
        DecantError: Of class ``error``: it is missing, no plain file, or too large.
    """
    try:
        found = path.stat()
    except FileNotFoundError as cause:
        raise error(f"{path} does not exist") from cause
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}") from cause
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{path} is no plain file; make it again")
    if found.st_size > most_bytes:
        raise error(
            f"{path} has {found.st_size:,} bytes, and at most {most_bytes:,} are read; it is "
            "damaged, make it again"
        )


def parse(text: str | bytes, *, where: str, error: type[DecantError]) -> object:
    """Return the data of a JSON text.

    Args:
        text: The text, or its bytes in UTF-8.
        where: A name for messages, for example the file.
        error: The class of error to raise.

    Raises:
        DecantError: Of class ``error``: it is no JSON, or nested too deeply to be read.
    """
    try:
        whole = text if isinstance(text, str) else text.decode("utf-8")
        return cast("object", json.loads(whole))
    except RecursionError as cause:
        raise error(f"{where} is nested too deeply; it is damaged, make it again") from cause
    except ValueError as cause:  # JSON's and Unicode's errors, and numbers of thousands of digits
        raise error(f"{where} is not valid JSON ({cause}); it is damaged, make it again") from cause


def read_object(path: Path, *, error: type[DecantError]) -> dict[str, object]:
    """Return the JSON object in the file at ``path``; errors are of class ``error``."""
    data = read_json(path, error=error)
    if not isinstance(data, dict):
        raise error(f"{path} should hold a JSON object")
    return cast("dict[str, object]", data)


def to_json(value: object) -> str:
    """Return ``value`` as readable JSON text that ends with a newline."""
    return json.dumps(encode(value), indent=2, ensure_ascii=False) + "\n"


def digest(value: object) -> str:
    """Return 16 hexadecimal digits of a value: the start of the SHA-256 of its JSON, keys sorted.

    Fields that hold their default do not enter.
    """
    text = json.dumps(encode(value, defaults=False), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _decode(kind: Any, data: object, where: str, error: type[DecantError]) -> object:
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        (kind,) = [item for item in arguments if item is not type(None)]
        return _decode(kind, data, where, error)
    if origin is tuple and isinstance(data, list):
        return tuple(
            _decode(arguments[0], item, f"{where}[{index}]", error)
            for index, item in enumerate(data)
        )
    if origin in (dict, Mapping) and isinstance(data, dict):
        return {
            key: _decode(arguments[1], item, f"{where}.{key}", error) for key, item in data.items()
        }
    if is_dataclass(kind) and isinstance(data, dict):
        return _decode_fields(kind, data, where, error)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _decode_member(kind, data, where, error)
    return _decode_plain(kind, data, where, error)


def _key(item: Field[Any]) -> str:
    key: str = item.metadata.get(_KEY, item.name)
    return key


def _decode_member(kind: type[Enum], data: object, where: str, error: type[DecantError]) -> Enum:
    # Not kind(data): its error for a list shows the whole list, however deeply nested.
    found = [member for member in kind if isinstance(data, str) and member.value == data]
    if not found:
        known = ", ".join(str(member.value) for member in kind)
        raise error(f"{where}: {_shown.repr(data)} is none of {known}")
    return found[0]


def _decode_plain(kind: Any, data: object, where: str, error: type[DecantError]) -> object:
    if kind is float and type(data) is int and abs(data) < _LARGEST_INTEGER:
        return float(data)
    if kind is float and isinstance(data, float) and not math.isfinite(data):
        raise error(f"{where}: expected a finite number, found {data}")
    if kind in (str, int, float, bool) and type(data) is kind:
        return data
    name = getattr(kind, "__name__", str(kind))
    raise error(f"{where}: expected {name}, found {_shown.repr(data)}")


def _decode_fields(
    kind: Any, data: dict[str, object], where: str, error: type[DecantError]
) -> object:
    hints = typing.get_type_hints(kind)
    known = {_key(item): item for item in fields(kind)}
    if unknown := sorted(set(data) - set(known)):
        raise error(
            f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}. "
            "If a newer decant wrote this, upgrade decant"
        )
    required = {
        key
        for key, item in known.items()
        if item.default is MISSING and item.default_factory is MISSING
    }
    if missing := sorted(required - set(data)):
        raise error(f"{where}: key {missing[0]!r} is missing")
    values = {
        known[key].name: _decode(hints[known[key].name], item, f"{where}.{key}", error)
        for key, item in data.items()
    }
    try:
        return kind(**values)
    except DecantError as cause:
        raise error(f"{where}: {cause}") from cause
