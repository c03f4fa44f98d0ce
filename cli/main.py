"""The application behind the command ``decant``: its commands and their common options."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from decant.embedders.distribution import decant_version

from .commands.calibrate_vectors import calibrate_vectors
from .commands.collections.audit import audit
from .commands.collections.check import check
from .commands.collections.create import create
from .commands.collections.delete import delete
from .commands.collections.drop import drop
from .commands.collections.dump import dump
from .commands.collections.index import index
from .commands.collections.info import info
from .commands.collections.list import list_collections
from .commands.collections.migrate import migrate
from .commands.collections.relayout import relayout
from .commands.collections.restore import restore
from .commands.collections.search import search
from .commands.collections.snapshot import snapshot
from .commands.collections.tune_search import tune_search
from .commands.convert import convert
from .commands.doctor import doctor
from .commands.evaluate import evaluate
from .commands.explain_vector import explain_vector
from .commands.export import export
from .commands.import_onnx import import_onnx
from .commands.inspect import inspect
from .commands.models import models
from .commands.quickstart import quickstart
from .commands.serve import serve
from .commands.strategies import strategies
from .commands.texts.embed import embed
from .commands.texts.rerank import rerank
from .commands.training.train import train
from .commands.tune import tune
from .commands.verify import verify
from .exit_codes import CODES, guarded
from .options.command import Command, Group
from .output.quiet import DEBUG

_COMMANDS: dict[str, Callable[..., None]] = {
    "quickstart": quickstart,
    "models": models,
    "strategies": strategies,
    "export": export,
    "import-onnx": import_onnx,
    "convert": convert,
    "verify": verify,
    "tune": tune,
    "calibrate-vectors": calibrate_vectors,
    "inspect": inspect,
    "doctor": doctor,
    "embed": embed,
    "rerank": rerank,
    "evaluate": evaluate,
    "create": create,
    "index": index,
    "search": search,
    "tune-search": tune_search,
    "relayout": relayout,
    "migrate": migrate,
    "dump": dump,
    "restore": restore,
    "snapshot": snapshot,
    "list": list_collections,
    "info": info,
    "delete": delete,
    "drop": drop,
    "check": check,
    "audit": audit,
    "explain-vector": explain_vector,
    "serve": serve,
}

app = typer.Typer(
    name="decant",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Pooled LLM encoders as verified ONNX graphs, and their vectors in Qdrant.\n\n{CODES}",
)
for _name, _command in _COMMANDS.items():
    app.command(_name, cls=Command)(guarded(_command))
# The names of 0.1 before its first release, for one version more.
app.command("seal", cls=Command, hidden=True)(guarded(import_onnx))
app.command("calibrate", cls=Command, hidden=True)(guarded(calibrate_vectors))
app.add_typer(train)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"decant {decant_version()}")
        raise typer.Exit


@app.callback()
def common(
    _show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help=f"Show tracebacks and all logs; {DEBUG}=1 does the same."),
    ] = False,
) -> None:
    """Set up the common options of all commands."""
    if debug:
        os.environ[DEBUG] = "1"
