"""``decant verify``: certify a bundle on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..exit_codes import Exit
from ..input.wanted_files import BEIR, SCORED, existing
from ..options.shared import AsJson, BundlePath
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import say, show_json
from ..output.views import say_advice, show_certificate

if TYPE_CHECKING:
    from decant.embedders import Encoder


def verify(
    bundle: BundlePath,
    *,
    provider: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Execution provider: cpu, openvino, cuda …; auto is the best that is installed, "
            "all is each one that auto may take when a bundle is loaded.",
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(metavar="NAME", help="fp32, fp16 …; auto takes every graph of the bundle."),
    ] = "auto",
    device: Annotated[int, typer.Option(metavar="N", min=0, help="The number of the GPU.")] = 0,
    sts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(SCORED),
            help="Also score on STS: lines of score, sentence, sentence.",
        ),
    ] = None,
    retrieval: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            callback=existing(BEIR),
            help="Also score nDCG@10 on a retrieval set in BEIR's format.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Certify a bundle on this machine, without PyTorch.

    Runs the bundle's probe texts on an execution provider, compares the vectors
    with the reference vectors in the bundle, and writes the result into its
    certificate. Exits with 1 if the certificate, which may also cover other
    providers, has not passed. With --sts and --retrieval it also scores each
    precision and fp32 on these tasks.

    Examples:
      decant verify minilm
      decant verify minilm --provider all
      decant verify minilm --provider cuda --json
      decant verify minilm --sts sts-dev.tsv --retrieval cranfield
    """
    with silenced(), steps(keep=False) as on_step:
        on_step("opening the bundle")
        from decant.export import verify as run

        scores = _scores(sts or [], retrieval or [])
        certificate = run(
            bundle,
            provider=provider,
            precision=precision,
            device=device,
            scores=scores,
            on_step=on_step,
        )
    if as_json:
        show_json({"bundle": str(bundle), "passed": certificate.passed, "certificate": certificate})
    else:
        show_certificate(certificate)
    if not certificate.passed:
        say(f"{bundle} has not passed; do not use it as it is", label="failed", style="bold red")
        raise typer.Exit(Exit.FINDING)
    if not as_json:
        say_advice(bundle)


def _scores(
    sts: Sequence[Path], retrieval: Sequence[Path]
) -> Callable[[Encoder], Mapping[str, float]] | None:
    """Return a function that scores an encoder on these files, which are read now; or None."""
    if not sts and not retrieval:
        return None
    from decant.evaluation import Retrieval, Task, read_beir, sts_task

    tasks: list[Task] = [sts_task([file]) for file in sts]
    tasks += [Retrieval(data=read_beir(folder)) for folder in retrieval]

    def scored(encoder: Encoder) -> Mapping[str, float]:
        # The first measurement of a retrieval task is nDCG@10.
        firsts = (task.score(encoder)[0].score for task in tasks)
        return {f"{score.name} {score.metric}": score.value for score in firsts}

    return scored
