"""The TOML file of ``decant serve``: its options under their names, and a table of models.

Values of the file are defaults: the command line and the environment go before them. Paths in it
are relative to its folder. Keys that no server has are refused, because a mistyped limit is none.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import typer

from decant.embedders import DecantError
from decant.embedders.json_records import overlaid

from .open import HASH


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model of the file.

    Args:
        bundle: The folder that `decant export` made; ``hash`` for the reranker without a model.
        provider: As ``--provider``, for this model; None: as for all.
        precision: As ``--precision``, for this model; None: as for all.
    """

    bundle: str = ""
    provider: str | None = None
    precision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The options that a file may have, all but API keys; None: it has none of this name."""

    host: str | None = None
    port: int | None = None
    keys: str | None = None
    queue_tokens: int | None = None
    pass_tokens: int | None = None
    max_texts: int | None = None
    max_body: int | None = None
    max_connections: int | None = None
    stop_seconds: float | None = None
    provider: str | None = None
    precision: str | None = None
    store: str | None = None
    log_format: str | None = None
    grpc: bool | None = None
    ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFile:
    """What a file says.

    Args:
        options: The options.
        models: The models by name, in the order of the file.
    """

    options: ServerOptions = field(default_factory=ServerOptions)
    models: Mapping[str, ModelEntry] = field(default_factory=dict)


def read_server_file(path: Path) -> ServerFile:
    """Return what a file says, its paths relative to the folder of this process.

    Raises:
        BadParameter: The file is missing or not TOML, or a key or a value is wrong.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise typer.BadParameter(f"{path} is not TOML: {error}") from error
    models = given.pop("models", {})
    if not isinstance(models, dict):
        raise typer.BadParameter(f"{path.name}: models must be a table: [models]")
    try:
        _check_keys(given, path.name)
        options = overlaid(ServerOptions(), given, where=path.name, error=DecantError)
        entries = {name: _entry(path, name, item) for name, item in models.items()}
    except DecantError as error:
        raise typer.BadParameter(str(error)) from error
    keys, ca = (_beside(path, file) for file in (options.keys, options.ca))
    options = replace(options, keys=keys, ca=ca)
    return ServerFile(options=options, models=entries)


def _beside(path: Path, file: str | None) -> str | None:
    return None if file is None else str(path.parent / file)


def server_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options of a file the defaults of a command; a callback of Typer."""
    if path is not None:
        context.obj = found = read_server_file(path)
        given = {one.name: getattr(found.options, one.name) for one in fields(found.options)}
        context.default_map = {name: value for name, value in given.items() if value is not None}
    return path


def _check_keys(given: Mapping[str, object], where: str) -> None:
    """Refuse unknown keys with all that are known, the table of models among them."""
    known = [*(one.name for one in fields(ServerOptions)), "models"]
    if unknown := sorted(set(given) - set(known)):
        raise DecantError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")


def _entry(path: Path, name: str, given: object) -> ModelEntry:
    item = {"bundle": given} if isinstance(given, str) else given
    where = f"{path.name}: models.{name}"
    found = overlaid(ModelEntry(), item, where=where, error=DecantError)
    if not found.bundle:
        raise DecantError(f'{where} has no bundle; say {name} = "FOLDER"')
    if found.bundle == HASH:
        return found
    return replace(found, bundle=str(path.parent / found.bundle))
