"""Open a reranker's graph on a provider and certify it against the bundle's reference scores."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import (
    CertificateCheck,
    OnStep,
    Precision,
    ScoreCheck,
    ScoreEntry,
    SharedPrompts,
)
from decant.embedders.encoding import DENSE
from decant.embedders.files import file_hash
from decant.embedders.onnx import GraphFile, open_session
from decant.embedders.tokens import PairTokenizer, TokenBatch, Tokens

from .certifier import Place
from .checks import Graph
from .score_checks import ScoreSubject, certify_scores, run_one_pair
from .score_reference import ScoreReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCertifier:
    """Certifies the graphs of a reranker's bundle.

    Args:
        folder: The bundle.
        tokenizer: Turns the probe pairs into rows.
        reference: Their scores.
        pad_id: The token id of padded positions.
        on_step: Called with each group of probes as it begins.
    """

    folder: Path
    tokenizer: PairTokenizer
    reference: ScoreReference
    pad_id: int
    on_step: OnStep = lambda _: None

    def rows(self) -> list[Tokens]:
        """Return the probe pairs as tokens."""
        return self.tokenizer.pairs(self.reference.pairs)

    def entry(
        self,
        precision: Precision,
        file: str,
        place: Place,
        *,
        known: Sequence[CertificateCheck] = (),
    ) -> ScoreEntry:
        """Measure one graph; failing is recorded, not raised.

        Args:
            precision: The precision, which decides the gates.
            file: The graph's path in the bundle.
            place: Where it runs.
            known: Checks that were made elsewhere.

        Raises:
            ProviderError: The provider is not installed, or does not open the graph.
        """
        gc.collect()  # graphs of onnx_ir have reference cycles
        path = self.folder / file
        graph_file = GraphFile(path=path, precision=precision)
        session = open_session(graph_file, place.provider, device=place.device)
        prompts = SharedPrompts(session)

        def shared(batch: TokenBatch) -> NDArray[np.float32] | None:
            rest = prompts.cut_shared_prompt(batch, [DENSE])
            return None if rest is batch else session.run(rest)[:, 0]

        subject = ScoreSubject(
            run=lambda batch: session.run(batch)[:, 0],
            shared=shared,
            rows=self.rows(),
            reference=self.reference,
            precision=precision,
            pad_id=self.pad_id,
            on_step=self.on_step,
        )
        run_one_pair(subject)
        graph = Graph(file=file, sha256=file_hash(path), provider=place.provider)
        entry = certify_scores(subject, graph, known=[_as_score(check) for check in known])
        said = {**entry.environment, "reference": self.reference.origin}
        return replace(entry, environment=said)


def _as_score(check: CertificateCheck) -> ScoreCheck:
    """Return a check of weights or files, which compares no scores."""
    return ScoreCheck(
        name=check.name,
        cases=check.cases,
        worst=0.0 if check.passed else 1.0,
        passed=check.passed,
        finding=check.finding,
    )
