"""``decant verify``: certify a bundle on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import Exit
from .options import AsJson, BundlePath, Provider
from .progress import steps
from .quiet import silenced
from .terminal import say, show_json
from .views import show_certificate


def verify(
    bundle: BundlePath,
    *,
    provider: Provider = "auto",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="fp32, fp16 …; auto is every one in the bundle.")
    ] = "auto",
    device: Annotated[int, typer.Option(metavar="N", min=0, help="Which GPU.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Certify a bundle on this machine, without PyTorch.

    Runs the bundle's probe texts on an execution provider, compares with the
    reference vectors that the bundle keeps, and writes the result into its
    certificate. Exits with 1 if the certificate, which may hold other providers
    too, has not passed.

    Examples:
      decant verify minilm
      decant verify minilm --provider cuda --json
    """
    with silenced(), steps(keep=False) as step:
        step("certifying")
        from decant.export import verify as run

        certificate = run(bundle, provider=provider, precision=precision, device=device)
    if as_json:
        show_json({"bundle": str(bundle), "passed": certificate.passed, "certificate": certificate})
    else:
        show_certificate(certificate)
    if not certificate.passed:
        say(f"{bundle} has not passed; do not use it as it is", label="failed", style="bold red")
        raise typer.Exit(Exit.FINDING)
