"""API keys: which are taken, from where, and that nothing shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.serving import ApiKeys, KeyRefused, SettingsError

FIRST, SECOND = "first-key-of-some-length", "second-key-of-some-length"


@pytest.mark.parametrize("given", [FIRST, SECOND, f"Bearer {SECOND}", f"bearer  {FIRST}"])
def test_each_key_is_taken_with_and_without_its_scheme(given: str) -> None:
    ApiKeys.of([FIRST, SECOND]).check(None, given)


@pytest.mark.parametrize("given", [FIRST[:-1], f"{FIRST}x", FIRST.upper(), "Basic", "ä" * 20])
def test_anything_else_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(KeyRefused, match="the API key is wrong") as refusal:
        ApiKeys.of([FIRST, SECOND]).check(given)
    assert given not in str(refusal.value)


@pytest.mark.parametrize("given", [None, ""])
def test_a_request_without_a_key_is_told_how_to_send_one(given: str | None) -> None:
    with pytest.raises(KeyRefused, match="is needed; send it as Authorization: Bearer KEY"):
        ApiKeys.of([FIRST]).check(given)


def test_without_keys_everybody_is_served() -> None:
    ApiKeys().check(None)
    ApiKeys.of([]).check("whatever")


def test_a_file_has_one_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# of the search page\n{FIRST}\n\n  {SECOND}  \n")
    keys = ApiKeys.read(file)
    assert len(keys) == 2
    keys.check(SECOND)
    assert len(keys.joined(ApiKeys.of([FIRST]))) == 2


@pytest.mark.parametrize("content", [b"", b"# none\n", b"\xff\xfe" * 20, b"a" * 70_000])
def test_a_file_without_keys_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="holds no API keys; write one a line"):
        ApiKeys.read(file)


@pytest.mark.parametrize("key", ["short", "a key with blanks in it", "schlüssel-schlüssel"])
def test_a_key_that_can_be_guessed_or_not_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(SettingsError, match="API key 2 must have at least 16") as refusal:
        ApiKeys.of([FIRST, key])
    assert key not in str(refusal.value)


def test_keys_are_not_shown() -> None:
    assert FIRST not in repr(ApiKeys.of([FIRST]))
