"""The models of the GPU benchmark, ready to be measured: folder, bundle, certificate, arithmetic.

Everything is made under one folder by a name that says its sizes, seed and precisions, and is taken
from there if it is complete: a later run with the same folder makes nothing again. Nothing appears
there half made.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig

from decant.embedders import Bundle, BundleError, CertificateEntry, OnStep, Precision
from decant.embedders.onnx import placement
from decant.embedders.tokens import TokenBatch
from decant.export import verify

from .. import minilm
from ..report import Figure, Findings, Target
from .chip import torch_device
from .flops import Arithmetic, arithmetic
from .lean import lean_bundle
from .shapes import LONGEST, SHAPES, save_seeded

MINILM = "minilm"
MODELS = (MINILM, *SHAPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which model in which form.

    Args:
        name: One of ``MODELS``.
        model: MiniLM's folder; the seeded models borrow its tokenizer.
        bundle: MiniLM's bundle; None exports one.
        layers: Most layers of a seeded model; None cuts nothing.
        precisions: The graphs to measure, in order.
        provider: ONNX Runtime's full name.
        seed: Draws weights.
        graphs: Those that a bundle is made with; empty: ``precisions``.
    """

    name: str
    model: Path
    bundle: Path | None
    layers: int | None
    precisions: tuple[Precision, ...]
    provider: str
    seed: int
    graphs: tuple[Precision, ...] = ()

    @property
    def made(self) -> tuple[Precision, ...]:
        """The graphs that a bundle is made with."""
        return self.graphs or self.precisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model that can be measured.

    Args:
        title: What results call it.
        model: Its folder.
        bundle: Its bundle.
        arithmetic: Counts its operations.
        entries: For each precision what the certificate says of it on the provider.
    """

    title: str
    model: Path
    bundle: Bundle
    arithmetic: Arithmetic
    entries: Mapping[Precision, CertificateEntry]


def make_subject(request: Request, folder: Path, *, on_step: OnStep) -> Subject:
    """Make a model and its bundle where they are not there yet, and certify the graphs.

    A graph that fails its certificate is measured all the same; the entry tells.

    Args:
        request: Which model.
        folder: Where they lie.
        on_step: Called with the name of each step as it begins.

    Raises:
        DecantError: The model cannot be made, exported, or opened on the provider.
    """
    if request.name == MINILM:
        title, model = "MiniLM", request.model
        bundle = request.bundle or _exported(request, folder, on_step)
    else:
        title, model, bundle = _seeded(request, folder, on_step)
    entries = {
        each: certificate_entry(bundle, each, request.provider, on_step)
        for each in request.precisions
    }
    return Subject(
        title=title,
        model=model,
        bundle=Bundle.unchecked(bundle),  # verify has just compared the hashes
        arithmetic=arithmetic(model),
        entries=entries,
    )


def verdict(entry: CertificateEntry) -> str:
    """Return a certificate's worst cosine and outcome, for a table."""
    return f"{entry.worst_cosine:.6f} {'passed' if entry.passed else 'FAILED'}"


def certified(subject: Subject) -> Findings:
    """Return, for each graph, how many checks of its certificate failed, which, and why."""
    figures, targets = [], []
    for precision, entry in subject.entries.items():
        failed = sum(not check.passed for check in entry.checks)
        detail = f"of {len(entry.checks)}, worst cosine {entry.worst_cosine:.6f}"
        name = f"{subject.title} {precision}, failed checks of its certificate"
        figures.append(
            Figure(
                name=f"{name} on {entry.provider}",
                value=failed,
                unit=f"{detail}: {entry.failures}" if entry.failures else detail,
            )
        )
        targets.append(Target(name=name, wanted=0, measured=failed, unit="checks", at_most=True))
    return Findings(figures=tuple(figures), targets=tuple(targets))


def placement_figures(subject: Subject, provider: str, batch: TokenBatch) -> list[Figure]:
    """Return, for each graph, how many of its nodes ran elsewhere than asked for, and which."""
    figures = []
    for precision in subject.entries:
        ran = placement(subject.bundle.graph(precision), provider, batch)
        total = sum(count.total() for count in ran.values())
        fallen = [
            f"{operator} ×{times}"
            for other, count in ran.items()
            if other != provider
            for operator, times in count.most_common()
        ]
        figures.append(
            Figure(
                name=f"{subject.title} {precision}, nodes that ran outside {provider}",
                value=total - ran[provider].total() if provider in ran else total,
                unit=f"of {total}" + (f": {', '.join(fallen)}" if fallen else ""),
            )
        )
    return figures


def _exported(request: Request, folder: Path, on_step: OnStep) -> Path:
    home = folder / f"minilm-{_joined(request.made)}"
    if not (home / "bundle").exists():
        further = [each for each in request.made if each is not Precision.FP32]
        model = None if request.model == minilm.model_folder() else request.model
        # Its files say 256, which is how it was trained; it has positions for 512.
        config = AutoConfig.from_pretrained(
            request.model, local_files_only=True, trust_remote_code=False
        )
        longest = min(LONGEST, config.max_position_embeddings)
        minilm.bundle(model, home, precisions=further, max_tokens=longest, on_step=on_step)
    return home / "bundle"


def _seeded(request: Request, folder: Path, on_step: OnStep) -> tuple[str, Path, Path]:
    """Return title, model and bundle of a model with drawn weights."""
    shape = SHAPES[request.name].cut(request.layers)
    home = folder / f"{request.name}-{shape.layers}-layers-seed-{request.seed}"
    model = home / "model"
    if not model.exists():
        making = home / ".model"
        shutil.rmtree(making, ignore_errors=True)
        on_step(f"drawing the weights of the {shape.name}")
        save_seeded(making, request.model, shape, seed=request.seed).rename(model)
    bundle = home / f"bundle-{_joined(request.made)}"
    if not bundle.exists():
        device: torch.device = torch_device(request.provider)
        lean_bundle(model, bundle, request.made, device=device, on_step=on_step)
    return shape.name, model, bundle


def certificate_entry(
    folder: Path, precision: Precision, provider: str, on_step: OnStep
) -> CertificateEntry:
    """Return the certificate's entry on the provider; certify where there is none."""
    bundle = Bundle.unchecked(folder)
    sha256 = bundle.manifest.files[bundle.manifest.graphs[precision]]
    known = bundle.certificate().entry(sha256=sha256, provider=provider)
    if isinstance(known, CertificateEntry):
        return known
    on_step(f"certifying {folder.name} {precision} on {provider}")
    found = verify(folder, provider=provider, precision=precision)
    entry = found.entry(sha256=sha256, provider=provider)
    if not isinstance(entry, CertificateEntry):
        raise BundleError(
            f"{bundle.graph(precision)} is not the file that was made: its hash is not the "
            f"manifest's; delete {folder} to have it made again"
        )
    return entry


def _joined(precisions: Sequence[Precision]) -> str:
    return "-".join(precisions)
