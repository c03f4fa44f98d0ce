"""Open a bundle's graph on a provider and certify it against the bundle's reference."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from decant.embedders import CertificateCheck, CertificateEntry, OnStep, Precision
from decant.embedders.files import file_hash
from decant.embedders.onnx import GraphFile, open_session
from decant.embedders.tokens import TextTokenizer, Tokens

from .checks import Graph, Subject, certify, run_one_token
from .output_checks import extra_checks
from .probes import probe_rows
from .prompt_cache_checks import prompt_checks
from .reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a graph runs: ONNX Runtime's name of the provider, and the GPU's number."""

    provider: str
    device: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certifier:
    """Certifies the graphs of a bundle.

    Args:
        folder: The bundle.
        tokenizer: Turns the probe texts into rows.
        reference: Their vectors.
        pad_id: The token id of padded positions.
        on_step: Called with each group of probes as it begins.
    """

    folder: Path
    tokenizer: TextTokenizer
    reference: Reference
    pad_id: int
    on_step: OnStep = lambda _: None

    def rows(self) -> list[Tokens]:
        """Return the probe texts as tokens."""
        return probe_rows(self.tokenizer, self.reference.texts)

    def entry(
        self,
        precision: Precision,
        file: str,
        place: Place,
        *,
        known: Sequence[CertificateCheck] = (),
    ) -> CertificateEntry:
        """Measure one graph; failing is recorded, not raised.

        Args:
            precision: The precision, which decides the gates.
            file: The graph's path in the bundle.
            place: Where it runs.
            known: Checks that were made elsewhere.

        Raises:
            ProviderError: The provider is not installed, or does not open the graph.
        """
        # Graphs of onnx_ir have reference cycles; free them before the session loads weights.
        gc.collect()
        path = self.folder / file
        graph_file = GraphFile(path=path, precision=precision)
        session = open_session(graph_file, place.provider, device=place.device)
        rows = self.rows()
        subject = Subject(
            run=session.run,
            rows=rows,
            reference=self.reference,
            pooling=self.tokenizer.recipe.pooling,
            precision=precision,
            pad_id=self.pad_id,
            on_step=self.on_step,
        )
        run_one_token(subject)  # the first batch of the session: see "after one token"
        graph = Graph(file=file, sha256=file_hash(path), provider=place.provider)
        extra = extra_checks(
            session.outputs_of,
            rows,
            self.reference.extras,
            precision=precision,
            pad_id=self.pad_id,
        )
        behind = prompt_checks(
            session, self.tokenizer, self.reference, precision=precision, pad_id=self.pad_id
        )
        entry = certify(subject, graph, known=[*known, *extra, *behind])
        said = {**entry.environment, "reference": self.reference.origin}
        return replace(entry, environment=said)
