"""``decant serve``: answer a Qdrant server and other clients over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..input.open import open_encoder
from ..input.wanted_files import API_KEYS, existing, no_address
from ..options.shared import PrecisionName, Provider
from ..output.places import counted
from ..output.terminal import say

if TYPE_CHECKING:
    from decant.embedders import OnnxEncoder, RemoteEncoder
    from decant.serving import ApiKeys, ServedModel

_KEYS = "DECANT_API_KEYS"
_MIB = 1_048_576


def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE",
            help="Folders that `decant export` made. A model is called as its folder; NAME=BUNDLE "
            "gives it another name.",
        ),
    ],
    *,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen; 127.0.0.1 is reached by this machine alone, 0.0.0.0 by all.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65_535, help="The port; 0 takes a free one.")
    ] = 6900,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=existing(API_KEYS),
            dir_okay=False,
            help="API keys that are taken, one a line.",
        ),
    ] = None,
    queue_tokens: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Tokens that may wait for each model, then 429."),
    ] = 524_288,
    pass_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens that a model reads at a time. By default, two batches for each worker.",
        ),
    ] = None,
    max_texts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Texts that a request may have.")
    ] = 10_000,
    max_body: Annotated[
        int, typer.Option(metavar="MIB", min=1, help="Size of a request's body.")
    ] = 32,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Serve bundles over HTTP, to Qdrant servers and to clients of OpenAI and TEI.

    POST /infer is what a Qdrant server asks that has this address in its
    configuration; its clients, in any language, then send texts in place of
    vectors. /v1/embeddings and /embed are for others, /openapi.json describes
    them all. Commands such as `decant index` take this address in place of a
    bundle. API keys come from --keys and from DECANT_API_KEYS, separated by
    blanks or commas; without any, none is asked for.

    SIGTERM and Ctrl-C stop it when every accepted request is answered.

    Examples:
      decant serve minilm
      decant serve minilm papers=bge-small --host 0.0.0.0 --keys keys.txt
    """
    from decant.serving import (
        QueueSettings,
        ServedModel,
        ServerSettings,
        TextLimits,
        create_app,
        is_loopback,
        run_server,
    )

    taken = _keys(keys)
    settings = ServerSettings(
        queue=QueueSettings(capacity=queue_tokens, pass_tokens=pass_tokens),
        limits=TextLimits(texts=max_texts),
        body_bytes=max_body * _MIB,
    )
    with ExitStack() as opened:
        encoders: list[tuple[str, OnnxEncoder | RemoteEncoder]] = []
        for name, path in map(_named, bundles):
            encoder = open_encoder(path, provider=provider, precision=precision)
            opened.callback(encoder.close)
            encoders.append((name, encoder))
        models = [ServedModel(name=name, encoder=encoder) for name, encoder in encoders]
        app = create_app(models, settings=settings, keys=taken)
        _say_models(encoders, models)

        def listening(found: int) -> None:
            _say_place(host, found, is_private=is_loopback(host), keys=len(taken))

        run_server(app, host=host, port=port, on_listening=listening)
    say("stopped; every accepted request was answered")


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


def _say_models(
    encoders: Sequence[tuple[str, OnnxEncoder | RemoteEncoder]], models: Sequence[ServedModel]
) -> None:
    for (name, encoder), model in zip(encoders, models, strict=True):
        say(
            f"{name}: {encoder.dim} wide, recipe {model.digest}, {encoder.precision} on "
            f"{encoder.provider}"
        )


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
