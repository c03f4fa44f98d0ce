"""The application that the entry point ``decant`` names: its commands and what they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from .calibrate_bundle import calibrate
from .check_collection import check
from .convert_bundle import convert
from .delete_documents import delete
from .doctor import doctor
from .drop_collection import drop
from .embed_texts import embed
from .evaluate_encoder import evaluate
from .exits import CODES, guarded
from .explain_vector import explain_vector
from .export_model import export
from .index_folder import index
from .inspect_bundle import inspect
from .list_collections import list_collections
from .list_strategies import strategies
from .quickstart import quickstart
from .quiet import DEBUG
from .seal_graph import seal
from .search_collection import search
from .train_model import train
from .tune_bundle import tune
from .verify_bundle import verify

_COMMANDS: dict[str, Callable[..., None]] = {
    "quickstart": quickstart,
    "strategies": strategies,
    "export": export,
    "seal": seal,
    "convert": convert,
    "verify": verify,
    "tune": tune,
    "calibrate": calibrate,
    "inspect": inspect,
    "doctor": doctor,
    "embed": embed,
    "evaluate": evaluate,
    "index": index,
    "search": search,
    "list": list_collections,
    "delete": delete,
    "drop": drop,
    "check": check,
    "explain-vector": explain_vector,
}

app = typer.Typer(
    name="decant",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Pooled LLM encoders as verified ONNX graphs, and their vectors in Qdrant.\n\n{CODES}",
)
for _name, _command in _COMMANDS.items():
    app.command(_name)(guarded(_command))
app.add_typer(train)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"decant {version('decant')}")
        raise typer.Exit


@app.callback()
def common(
    _show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show tracebacks and all logs; also {DEBUG}=1.")
    ] = False,
) -> None:
    """Set up what all commands share."""
    if debug:
        os.environ[DEBUG] = "1"
