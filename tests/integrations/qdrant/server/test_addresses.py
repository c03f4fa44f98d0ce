"""Addresses of servers: what they say, what they hide, and what only looks like a folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decant.embedders import StoreError
from decant.integrations.qdrant import EdgeStore, connect
from decant.integrations.qdrant.server.clients.addresses import read_address, without_secrets


class TestFolders:
    @pytest.mark.parametrize(
        ("where", "meant"),
        [
            ("localhost:6333", "http://localhost:6333"),
            ("qdrant:6333", "http://qdrant:6333"),
            ("localhost", "http://localhost:6333"),
            ("LOCALHOST:80", "http://LOCALHOST:80"),
            ("127.0.0.1:6333", "http://127.0.0.1:6333"),
            ("10.1.2.3", "http://10.1.2.3:6333"),
            ("[::1]:6333", "http://[::1]:6333"),
            ("[::1]", "http://[::1]:6333"),
            ("::1", "http://[::1]:6333"),
            ("host.domain:443", "https://host.domain:443"),
            ("localhost:6333/collections", "http://localhost:6333"),
            (":6333", "http://localhost:6333"),
            ("me:hush@qdrant:6333", "http://qdrant:6333"),
            ("qdrant:6333?api_key=hush", "http://qdrant:6333"),
            ("qdrant:6333;api_key=hush", "http://qdrant:6333"),
            ("//qdrant:6333", "http://qdrant:6333"),
            ("//localhost/", "http://localhost:6333"),
            ("//db.example.com", "http://db.example.com:6333"),
            ("db.example.com", "http://db.example.com:6333"),
            ("db.example.com/", "http://db.example.com:6333"),
            ("a-1.eu-central-1-0.aws.cloud.qdrant.io", "http://a-1.eu-central-1-0.aws.cloud"),
        ],
    )
    def test_what_looks_like_an_address_is_refused_with_the_spelling(
        self, where: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(StoreError, match="looks like an address") as refusal:
            connect(where)
        assert re.search(rf"write {re.escape(meant)}[^ ]*, or \./", str(refusal.value))
        assert "hush" not in str(refusal.value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("where", "said"),
        [
            ("", "names no folder"),
            (" \t", "names no folder"),
            (":memory:", "no store at ':memory:'"),
            ("http:/localhost:6333?api_key=hush", "two slashes"),
            ("https:me:hush@host", "two slashes"),
            (Path("http://localhost:6333"), "two slashes"),
            ("a\0b", "null character"),
        ],
    )
    def test_what_is_no_folder_is_refused(
        self, where: str | Path, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(StoreError, match=said) as refusal:
            connect(where)
        assert "hush" not in str(refusal.value)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "where",
        [
            "index",
            "./localhost:6333",
            "sub/qdrant:6333",
            "C:\\index",
            "C:",
            "notes.d",
            "a:b",
            "my.store",
            "example.com",
            "index.v1.2",
            "db.example.com/index",
            "..",
            "...",
        ],
    )
    def test_other_names_are_folders(
        self, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with connect(where) as store:
            assert isinstance(store, EdgeStore)

    def test_a_folder_that_is_there_is_no_host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notes.of.anna").mkdir()
        with connect("notes.of.anna") as store:
            assert isinstance(store, EdgeStore)

    def test_two_slashes_before_a_path_are_a_folder(self, tmp_path: Path) -> None:
        with connect(f"/{tmp_path}/index") as store:
            assert isinstance(store, EdgeStore)

    def test_a_path_is_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with connect(Path("localhost:6333")) as store:
            assert isinstance(store, EdgeStore)

    @pytest.mark.parametrize("where", [None, 3, b"index", ["index"]])
    def test_other_types_are_refused_by_name(self, where: object) -> None:
        with pytest.raises(TypeError, match=f"QdrantClient, and this is a {type(where).__name__}"):
            connect(where)  # type: ignore[arg-type]

    @pytest.mark.parametrize("option", ["timeout", "attempts", "grpc_port"])
    def test_options_of_servers_are_refused_for_a_folder(self, option: str) -> None:
        with pytest.raises(StoreError, match=rf"{option} goes with .* only, not with '\./index'"):
            connect("./index", **{option: 9})  # type: ignore[arg-type]


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("http://host", "http://host:6333"),
            ("https://host", "https://host:6333"),
            ("HTTP://Host:80/", "http://host:80"),
            ("https://host:443/qdrant/", "https://host:443/qdrant"),
            ("http://[::1]:6334", "http://[::1]:6334"),
        ],
    )
    def test_they_are_shown_with_their_port(self, text: str, url: str) -> None:
        assert read_address(text).url == url

    @pytest.mark.parametrize(
        "text",
        [
            "http://me:hush@host:6333",
            "http://hush@host",
            "http://me:hu/sh@host",
            "http://me:hu?sh#hush@host",
            "http://me:hush@[bad",
            "ftp://me:hush@host",
            "http://host:6333?api_key=hush",
            "https://host/qdrant?token=hush",
            "http://host/#hush",
            "http://host:6333;api_key=hush",
            "http://host/qdrant;api_key=hush",
            "http://host;api_key=hush/qdrant",
        ],
    )
    def test_secrets_in_them_are_refused_and_not_shown(self, text: str) -> None:
        with pytest.raises(StoreError) as refusal:
            connect(text)
        shown = f"{refusal.value}{refusal.value.__cause__}"
        assert not any(part in shown for part in ("hush", "hu/", "hu?", "sh@"))
        assert "//host" in shown or "//[bad" in shown

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("grpc://host:6334", "it starts with http:// or https://.*grpc_port="),
            ("http://", "a host follows"),
            ("http://:6333", "a host follows"),
            ("http://a b:6333", "nothing in it is blank"),
            ("http://host:0", "ports are 1 to 65535"),
            ("http://host:99999", "out of range"),
        ],
    )
    def test_what_is_none_says_why(self, text: str, said: str) -> None:
        with pytest.raises(StoreError, match=f"is no address of a Qdrant server: .*{said}"):
            connect(text)

    @pytest.mark.parametrize(
        ("url", "is_loopback"),
        [
            ("http://localhost", True),
            ("http://127.0.0.1", True),
            ("http://[::1]", True),
            ("http://10.0.0.1", False),
            ("http://qdrant", False),
        ],
    )
    def test_whether_requests_stay_on_this_machine(self, url: str, is_loopback: bool) -> None:
        assert read_address(url).is_loopback is is_loopback

    def test_addresses_in_messages_lose_their_secrets(self) -> None:
        text = "cannot reach 'http://me:hush@host/a?key=hush', is it there? (#1)"
        assert without_secrets(text) == "cannot reach 'http://host/a', is it there? (#1)"
        text = "no answer at http://host:1;api_key=hush; check http://host/a; or not"
        assert without_secrets(text) == "no answer at http://host:1 check http://host/a; or not"
