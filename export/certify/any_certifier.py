"""Open the certifier that fits a bundle: of vectors, or of the scores of a reranker."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from decant.embedders import Bundle, OnStep
from decant.embedders.files import REFERENCE
from decant.embedders.tokens import PairTokenizer

from .certifier import Certifier
from .reference import Reference
from .score_certifier import ScoreCertifier
from .score_reference import ScoreReference

AnyCertifier: TypeAlias = Certifier | ScoreCertifier
"""Certifies the graphs of an encoder's bundle, or of a reranker's."""


def open_certifier(
    bundle: Bundle, *, folder: Path | None = None, on_step: OnStep = lambda _: None
) -> AnyCertifier:
    """Return the certifier of a bundle.

    Args:
        bundle: Its tokenizer and its reference.
        folder: Where the graphs lie that it will certify; None: in the bundle.
        on_step: Called with each group of probes as it begins.

    Raises:
        BundleError: The tokenizer or the reference is missing or damaged.
    """
    tokenizer, path = bundle.tokenizer(), bundle.folder / REFERENCE
    home, number = folder or bundle.folder, bundle.manifest.pad_id
    if isinstance(tokenizer, PairTokenizer):
        return ScoreCertifier(
            folder=home,
            tokenizer=tokenizer,
            reference=ScoreReference.read(path),
            pad_id=number,
            on_step=on_step,
        )
    return Certifier(
        folder=home,
        tokenizer=tokenizer,
        reference=Reference.read(path),
        pad_id=number,
        on_step=on_step,
    )
