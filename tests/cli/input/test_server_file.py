"""The TOML file of ``decant serve``: what it may say, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import typer

from decant.cli.input.server_file import ModelEntry, ServerOptions, read_server_file
from decant.cli.main import app

FILE = """
host = "0.0.0.0"
keys = "keys.txt"
stop_seconds = 60

[models]
minilm = "bundles/minilm"
papers = { bundle = "/bundles/bge", precision = "int8" }
"""


def written(folder: Path, text: str) -> Path:
    """Write a file, and return where it is."""
    file = folder / "serve.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_paths_are_relative_to_the_file_and_models_keep_their_order(tmp_path: Path) -> None:
    found = read_server_file(written(tmp_path, FILE))
    assert found.options == ServerOptions(
        host="0.0.0.0", keys=str(tmp_path / "keys.txt"), stop_seconds=60.0
    )
    assert [*found.models.items()] == [
        ("minilm", ModelEntry(bundle=str(tmp_path / "bundles/minilm"))),
        ("papers", ModelEntry(bundle="/bundles/bge", precision="int8")),
    ]


def test_a_file_may_have_every_option_of_the_command_but_a_key_and_no_other() -> None:
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    options = {one.name for one in serve.params if one.param_type_name == "option"}
    assert options - {"config", "api_key"} == {one.name for one in fields(ServerOptions)}
    for one in serve.params:
        own = f"DECANT_SERVE_{one.name.upper()}"
        assert one.envvar == ("QDRANT_API_KEY" if one.name == "api_key" else own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hots = 1", "unknown key 'hots'; known are host, port, keys, .*ca, models"),
        ("models = 3", "models must be a table"),
        ("[models]\na = {precision = 'int8'}", 'models.a has no bundle; say a = "FOLDER"'),
        ("[models]\na = {bundle = 'b', dim = 3}", "unknown key 'dim'; known are bundle, provider"),
        ("[models]\na = 3", "models.a: expected an object"),
        ("port = 'a'", "serve.toml.port"),
        ("port = ", "is not TOML"),
        ("\udcff", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(typer.BadParameter, match=message):
        read_server_file(file)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="cannot be read: No such file"):
        read_server_file(tmp_path / "serve.toml")
