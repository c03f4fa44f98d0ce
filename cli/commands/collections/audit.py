"""``decant audit``: say whether a model made the vectors of a collection, whoever filled it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ...exit_codes import Exit
from ...input.open import open_encoder, open_model_by_recipe, open_store
from ...options.shared import (
    AnyDim,
    ApiKey,
    AsJson,
    CaFile,
    CutDim,
    Grpc,
    PrecisionName,
    Provider,
)
from ...output.progress import steps
from ...output.terminal import printable, say, show, show_json

if TYPE_CHECKING:
    from decant.embedders import Encoder
    from decant.integrations.qdrant import AuditReport, AuditSettings, Store


def audit(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="The http(s)://… address of a Qdrant server."),
    ],
    collection: Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")],
    *,
    bundle: Annotated[
        str,
        typer.Option(
            metavar="BUNDLE",
            help="The model that should have filled it: a folder that `decant export` made, or the "
            "http(s)://… address of a decant server.",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder of the bundle's model, which PyTorch then runs by the bundle's "
            "recipe, so that other poolings can be tried, too.",
        ),
    ] = None,
    sample: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many points to embed again.")
    ] = 200,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides which points are drawn.")] = 0,
    text: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="The payload field with the text; found by default."),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="The payload field with the metadata, '' for the other fields; found by default.",
        ),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The vector's name, '' for the one without; found by default."
        ),
    ] = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="If it passes, make it a collection of decant's; only its metadata are written.",
        ),
    ] = False,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    api_key: ApiKey = None,
    grpc: Grpc = False,
    ca: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a model made the vectors of a collection, whoever filled it.

    Reads a sample of points, embeds their texts again, and says how the stored
    vectors were made: as the bundle's recipe says, without its prompt, with the
    query prompt, without EOS, pooled otherwise, cut to fewer values or tokens; or
    that they are a mixture, or another model's. Collections of langchain-qdrant,
    LlamaIndex, mcp-server-qdrant and Haystack are known; of others, name the field
    of the text. Nothing is written without --adopt. Exits with 1 if the vectors
    are not all the bundle's.

    Examples:
      decant audit http://localhost:6333 notes --bundle minilm
      decant audit http://localhost:6333 notes --bundle minilm --model ./all-MiniLM-L6-v2
      decant audit http://localhost:6333 notes --bundle minilm --text body --json
    """
    from decant.integrations.qdrant import AuditSettings

    settings = AuditSettings(sample=sample, seed=seed, text=text, metadata=metadata, vector=vector)
    with (
        open_store(store, api_key, grpc=grpc, ca=ca, read_only=not adopt) as opened,
        open_encoder(
            bundle,
            provider=provider,
            precision=_most_precise(bundle, precision),
            dim=dim,
            allow_any_dim=allow_any_dim,
        ) as encoder,
    ):
        if model is None:
            report = _audit(opened, collection, encoder, settings)
        else:
            with open_model_by_recipe(model, encoder.recipe) as by_recipe:
                report = _audit(opened, collection, by_recipe, settings)
        if as_json:
            show_json({"store": store, "collection": collection, "report": report})
        else:
            for line in report.lines():
                show(Text(printable(line)))
        if not report.passed:
            raise typer.Exit(Exit.FINDING)
        if adopt:
            _adopt(opened, collection, encoder, settings)


def _audit(store: Store, collection: str, encoder: Encoder, settings: AuditSettings) -> AuditReport:
    from decant.integrations.qdrant import audit

    with steps(keep=False) as on_step:
        return audit(store, collection, encoder, settings=settings, on_step=on_step)


def _most_precise(bundle: str, precision: str) -> str:
    """Return fp32 for a bundle that has it, where none is asked for: it tells most ways apart."""
    from decant.embedders import Bundle, Precision

    if precision != "auto" or not Path(bundle).is_dir():
        return precision
    has_full = Precision.FP32.value in Bundle.unchecked(bundle).manifest.graphs
    return Precision.FP32.value if has_full else precision


def _adopt(store: Store, collection: str, encoder: Encoder, settings: AuditSettings) -> None:
    from decant.integrations.qdrant import Collection

    Collection.adopt(
        store,
        collection,
        encoder,
        text=settings.text,
        metadata=settings.metadata,
        vector=settings.vector,
    )
    say(f"{collection!r} is a collection of decant's now; search it with `decant search`")
