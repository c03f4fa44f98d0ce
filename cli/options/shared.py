"""Arguments and options that several commands share, so that they read alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from ..input.wanted_files import no_address
from ..output.log_lines import LogFormat, set_log_format

BundlePath: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE", callback=no_address, help="A folder that `decant export` made."
    ),
]
BundlePlace: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE",
        help="A folder that `decant export` made, or the http(s)://… address of `decant serve`.",
    ),
]
RerankerPlace: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="BUNDLE",
        help="A reranker's folder that `decant export` made, or the http(s)://… address of `decant "
        "serve`; hash compares words, without a model.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print JSON on stdout, messages on stderr.")
]
PROVIDER = "Execution provider: cpu, openvino, cuda …; auto takes the best that works."
PRECISION = "fp32, int8 …; auto takes the fastest that loses little accuracy."
Provider: TypeAlias = Annotated[str, typer.Option(metavar="NAME", help=PROVIDER)]
PrecisionName: TypeAlias = Annotated[str, typer.Option(metavar="NAME", help=PRECISION)]
CutDim: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--dim",
        metavar="N",
        min=1,
        help="Cut vectors to so many values, as the model was trained for.",
    ),
]
AnyDim: TypeAlias = Annotated[
    bool, typer.Option("--allow-any-dim", help="Cut also a model that was not trained for it.")
]
SoftTokens: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--soft-tokens",
        help="Also store the soft tokens of models with appended tokens, for `decant "
        "explain-vector`.",
    ),
]
JsonLines: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--jsonl", help='Input lines are JSON objects with a "text"; JSON output keeps them.'
    ),
]
SkipEmpty: TypeAlias = Annotated[
    bool, typer.Option("--skip-empty", help="Pass over empty lines instead of failing.")
]
KeepTokenVectors: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--token-vectors",
        help="Also store a vector of each token, for `decant search --late`; for models with late "
        "interaction, such as ColBERT's.",
    ),
]
PoolTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--pool-tokens",
        metavar="N",
        min=1,
        help="Store at most N of them for each passage, by clustering. Implies --token-vectors.",
    ),
]
StorePlace: TypeAlias = Annotated[
    str, typer.Option(metavar="PLACE", help="A folder, or a Qdrant server's http(s)://… address.")
]
CollectionName: TypeAlias = Annotated[
    str, typer.Option("--collection", metavar="NAME", help="The collection's name.")
]
TenantName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        help="Whose passages, in a collection with tenants: nothing of others is read or changed.",
    ),
]
WithTenants: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--tenants",
        help="Make a collection whose passages belong to tenants; commands about passages then "
        "need --tenant.",
    ),
]
ApiKey: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        envvar="QDRANT_API_KEY",
        show_envvar=True,
        help="API key of a Qdrant server that needs one.",
    ),
]
GRPC = "Send requests to a Qdrant server over gRPC, at port 6334."
CA_FILE = "PEM file of your own authority, which signed a Qdrant server's certificate."
Grpc: TypeAlias = Annotated[bool, typer.Option("--grpc", help=GRPC)]
CaFile: TypeAlias = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help=CA_FILE)]
LOG_FORMAT = "How messages are written to stderr: text, or json for a line of JSON for each."
LogFormatOption: TypeAlias = Annotated[
    LogFormat,
    typer.Option("--log-format", metavar="FORMAT", callback=set_log_format, help=LOG_FORMAT),
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
