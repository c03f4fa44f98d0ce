"""``decant serve``: answer a Qdrant server and other clients over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..exit_codes import Exit
from ..input.open import is_reranker_place, open_encoder, open_reranker, open_store
from ..input.server_file import ModelEntry, ServerFile, server_defaults
from ..input.wanted_files import API_KEYS, existing, no_address
from ..options.shared import CA_FILE, GRPC, LOG_FORMAT, PRECISION, PROVIDER, ApiKey
from ..output.log_lines import LogFormat, set_log_format
from ..output.places import counted, place_of
from ..output.terminal import printable, say

if TYPE_CHECKING:
    from decant.embedders import Encoder
    from decant.integrations.qdrant import Store
    from decant.serving import ApiKeys, ServedModel, ServedReranker

_KEYS = "DECANT_API_KEYS"
_ENVIRONMENT = "DECANT_SERVE_"
_MIB = 1_048_576
_LIMITS = (
    "queue_tokens",
    "pass_tokens",
    "max_texts",
    "max_body",
    "max_connections",
    "stop_seconds",
)
# Where a value comes from, by click's names.
_OVERRULING = ("COMMANDLINE", "ENVIRONMENT")
_SOURCES = {
    "COMMANDLINE": "the command line",
    "ENVIRONMENT": "the environment",
    "DEFAULT_MAP": "the file",
}


def serve(
    context: typer.Context,
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BUNDLE",
            envvar=f"{_ENVIRONMENT}BUNDLES",
            help="Folders that `decant export` made, of encoders and of rerankers. A model is "
            "called as its folder; NAME=BUNDLE gives it another name. hash is a reranker without "
            "a model.",
        ),
    ] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar=f"{_ENVIRONMENT}CONFIG",
            callback=server_defaults,
            is_eager=True,
            dir_okay=False,
            help="A TOML file with these options and a table of models.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            envvar=f"{_ENVIRONMENT}HOST",
            help="Where to listen; 127.0.0.1 is reached by this machine alone, 0.0.0.0 by all.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="N",
            envvar=f"{_ENVIRONMENT}PORT",
            min=0,
            max=65_535,
            help="The port; 0 takes a free one.",
        ),
    ] = 6900,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar=f"{_ENVIRONMENT}KEYS",
            callback=existing(API_KEYS),
            dir_okay=False,
            help="API keys that are taken, one a line.",
        ),
    ] = None,
    queue_tokens: Annotated[
        int,
        typer.Option(
            metavar="N",
            envvar=f"{_ENVIRONMENT}QUEUE_TOKENS",
            min=1,
            help="Tokens that may wait for each model, then 429.",
        ),
    ] = 524_288,
    pass_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            envvar=f"{_ENVIRONMENT}PASS_TOKENS",
            min=1,
            help="Tokens that a model reads at a time. By default, two batches for each worker.",
        ),
    ] = None,
    max_texts: Annotated[
        int,
        typer.Option(
            metavar="N",
            envvar=f"{_ENVIRONMENT}MAX_TEXTS",
            min=1,
            help="Texts that a request may have.",
        ),
    ] = 10_000,
    max_body: Annotated[
        int,
        typer.Option(
            metavar="MIB",
            envvar=f"{_ENVIRONMENT}MAX_BODY",
            min=1,
            help="Size of a request's body.",
        ),
    ] = 32,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar=f"{_ENVIRONMENT}STORE",
            help="A Qdrant server that asks this one for vectors: say which of its collections "
            "the models serve, and add to these what clients without the model need.",
        ),
    ] = None,
    max_connections: Annotated[
        int,
        typer.Option(
            metavar="N",
            envvar=f"{_ENVIRONMENT}MAX_CONNECTIONS",
            min=1,
            help="Connections that may be open at a time, then 503.",
        ),
    ] = 512,
    stop_seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            envvar=f"{_ENVIRONMENT}STOP_SECONDS",
            min=0.1,
            help="How long accepted requests may take when it is stopped.",
        ),
    ] = 120.0,
    provider: Annotated[
        str,
        typer.Option(metavar="NAME", envvar=f"{_ENVIRONMENT}PROVIDER", help=PROVIDER),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(metavar="NAME", envvar=f"{_ENVIRONMENT}PRECISION", help=PRECISION),
    ] = "auto",
    api_key: ApiKey = None,
    grpc: Annotated[bool, typer.Option("--grpc", envvar=f"{_ENVIRONMENT}GRPC", help=GRPC)] = False,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar=f"{_ENVIRONMENT}CA", help=CA_FILE),
    ] = None,
    log_format: Annotated[  # noqa: ARG001 - its callback sets the log up
        LogFormat,
        typer.Option(
            metavar="FORMAT",
            envvar=f"{_ENVIRONMENT}LOG_FORMAT",
            callback=set_log_format,
            help=LOG_FORMAT,
        ),
    ] = LogFormat.TEXT,
) -> None:
    """Serve bundles over HTTP: Qdrant servers, clients of OpenAI, TEI and Cohere.

    POST /infer is what a Qdrant server asks that has this address in its
    configuration; its clients, in any language, then send texts in place of
    vectors. /v1/embeddings and /embed are for others; rerankers answer /rerank
    as TEI does, and /v1/rerank and /v2/rerank as Cohere and Jina do.
    /openapi.json describes them all. Commands such as `decant index` and `decant
    rerank` take this address in place of a bundle. API keys come from --keys and
    from DECANT_API_KEYS, separated by blanks or commas; without any, none is
    asked for.

    With --store, the collections of that Qdrant server are compared with the
    models first, by recipe and width. --api-key, --grpc and --ca are about it.

    The command line goes before the environment, and that before the file of
    --config, which may have all options, named as here with _ for -.

    SIGTERM and Ctrl-C stop it when every accepted request is answered.

    Examples:
      decant serve minilm
      decant serve minilm reranker
      decant serve minilm papers=bge-small --host 0.0.0.0 --keys keys.txt
      decant serve minilm --store http://localhost:6333
      decant serve --config serve.toml
    """
    from decant.serving import (
        ConnectionLimits,
        QueueSettings,
        ServerSettings,
        TextLimits,
        create_app,
        is_loopback,
        run_server,
    )

    if store is not None and not store.startswith(("http://", "https://")):
        raise typer.BadParameter(
            f"{store!r} is no http(s)://… address; only a Qdrant server asks for vectors",
            param_hint="--store",
        )
    taken = _keys(keys)
    settings = ServerSettings(
        queue=QueueSettings(capacity=queue_tokens, pass_tokens=pass_tokens),
        limits=TextLimits(texts=max_texts),
        body_bytes=max_body * _MIB,
    )
    limits = ConnectionLimits(connections=max_connections, stop_seconds=stop_seconds)
    with ExitStack() as opened:
        models: list[ServedModel | ServedReranker] = []
        for name, entry in _entries(context, bundles):
            own = replace(
                entry,
                provider=_for_model(context, "provider", entry.provider, provider),
                precision=_for_model(context, "precision", entry.precision, precision),
            )
            models.append(_opened(name, own, opened))
        for model in models:
            _say_model(model)
        _say_settings(context, config)
        served: Mapping[str, str] = {}
        if store is not None and not _encoders(models):
            raise typer.BadParameter(
                "a Qdrant server asks for vectors, and rerankers give none; name an encoder, too",
                param_hint="--store",
            )
        if store is not None:
            with open_store(store, api_key, grpc=grpc, ca=ca) as opened_store:
                served = _say_collections(opened_store, _encoders(models))
        app = create_app(models, settings=settings, keys=taken, collections=served)

        def listening(found: int) -> None:
            _say_place(host, found, is_private=is_loopback(host), keys=len(taken))

        unanswered = run_server(app, host=host, port=port, limits=limits, on_listening=listening)
    if unanswered:
        say(f"stopped; {counted(unanswered, 'connection')} took too long and had no whole answer")
        raise typer.Exit(Exit.FINDING)
    say("stopped; every accepted request was answered")


def _entries(context: typer.Context, bundles: Sequence[str] | None) -> list[tuple[str, ModelEntry]]:
    """Return the models by name: those that were named, else those of the file.

    Raises:
        BadParameter: There is none.
    """
    if bundles:
        named = map(_named, bundles)
        return [(name, ModelEntry(bundle=str(path))) for name, path in named]
    models = context.obj.models if isinstance(context.obj, ServerFile) else {}
    if not models:
        raise typer.BadParameter(
            "there is nothing to serve; name a bundle, or a file with a table of models: --config"
        )
    return [*models.items()]


def _for_model(context: typer.Context, option: str, of_model: str | None, of_all: str) -> str:
    """Return an option for one model: what is said of it in the file, unless the user overrules."""
    is_overruled = _source(context, option) in _OVERRULING
    return of_all if of_model is None or is_overruled else of_model


def _source(context: typer.Context, option: str) -> str:
    found = context.get_parameter_source(option)
    return "" if found is None else found.name


def _named(bundle: str) -> tuple[str, Path]:
    """Return the name and the folder of a model; a folder may have ``=`` in its own name."""
    name, sign, path = bundle.partition("=")
    no_address(Path(path if sign else bundle))
    if sign and not Path(bundle).exists():
        return name, Path(path)
    return Path(bundle).resolve().name, Path(bundle)


def _keys(file: Path | None) -> ApiKeys:
    from decant.serving import ApiKeys

    found = ApiKeys.of(os.environ.get(_KEYS, "").replace(",", " ").split())
    return found if file is None else found.joined(ApiKeys.read(file))


def _opened(name: str, entry: ModelEntry, opened: ExitStack) -> ServedModel | ServedReranker:
    """Open a bundle as what its manifest says it is, until the stack ends."""
    from decant.serving import ServedModel, ServedReranker

    place = Path(entry.bundle)
    provider, precision = entry.provider or "auto", entry.precision or "auto"
    if is_reranker_place(place):
        reranker = open_reranker(place, provider=provider, precision=precision)
        opened.callback(reranker.close)
        return ServedReranker(name=name, reranker=reranker)
    encoder = open_encoder(place, provider=provider, precision=precision)
    opened.callback(encoder.close)
    return ServedModel(name=name, encoder=encoder)


def _encoders(models: Sequence[ServedModel | ServedReranker]) -> dict[str, Encoder]:
    from decant.serving import ServedModel

    return {one.name: one.encoder for one in models if isinstance(one, ServedModel)}


def _say_model(model: ServedModel | ServedReranker) -> None:
    from decant.serving import ServedReranker

    if isinstance(model, ServedReranker):
        runs: object = model.reranker
        what = "a reranker"
    else:
        runs = model.encoder
        what = f"{model.encoder.dim} wide"
    kind = type(runs).__name__
    place = f"{getattr(runs, 'precision', 'fp32')} on {getattr(runs, 'provider', kind)}"
    say(f"{model.name}: {what}, recipe {model.digest}, {place}")


def _say_collections(store: Store, encoders: Mapping[str, Encoder]) -> dict[str, str]:
    """Say which collections are served, and return the model of each."""
    from decant.integrations.qdrant import check_served_collections

    place = printable(place_of(store))
    found = check_served_collections(store, encoders)
    if not found:
        say(f"there is no collection at {place} yet; `decant create {place} NAME --model BUNDLE`")
    for one in found:
        name = f"collection {one.name!r} at {place}"
        if one.problem is not None:
            said = f"{name} cannot be used without its model: {one.problem}"
            say(said, label="warning", style="yellow")
            continue
        added = "; its golden vectors were added" if one.golden_added else ""
        say(f"{name} is served by {one.model}{added}")
    usable = ((one.name, one.model) for one in found if one.problem is None)
    return {name: model for name, model in usable if model is not None}


def _say_settings(context: typer.Context, file: Path | None) -> None:
    """Say the limits that are not the default; models, address and keys have their own lines."""
    if file is not None:
        say(f"configured by {file}")
    for name in _LIMITS:
        if (where := _SOURCES.get(_source(context, name))) is not None:
            say(f"{name} = {context.params[name]}, from {where}")


def _say_place(host: str, port: int, *, is_private: bool, keys: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    who = "only this machine reaches it" if is_private else "other machines reach it"
    asked = counted(keys, "API key") if keys else "no API key is asked for"
    if not is_private and not keys:
        say(
            "whoever reaches this address is served, because there are no API keys; give some "
            f"with --keys or {_KEYS}",
            label="warning",
            style="yellow",
        )
    say(f"listening at http://{shown}:{port}; {who}; {asked}")
