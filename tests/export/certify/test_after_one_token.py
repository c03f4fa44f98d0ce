"""A certificate sees what a batch of one token leaves for the batches after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import Bundle, CertificateEntry, Pooling, Precision, ProviderError
from decant.embedders.onnx import Session
from decant.embedders.tokens import TokenBatch
from decant.export.certify.checks import Graph, Subject, certify
from decant.export.certify.probes import probe_rows
from decant.export.certify.reference import Reference

CPU = "CPUExecutionProvider"
GRAPH = Graph(file="onnx/model.onnx", sha256="0", provider=CPU)


@pytest.fixture(scope="module")
def subject(tiny_bundle: Path) -> Subject:
    """The healthy graph of the tiny bundle."""
    bundle = Bundle.open(tiny_bundle)
    reference = Reference.read(tiny_bundle / "reference.npz")
    return Subject(
        run=Session(bundle.graph(Precision.FP32), CPU).run,
        rows=probe_rows(bundle.tokenizer(), reference.texts),
        reference=reference,
        pooling=Pooling.MEAN,
        precision=Precision.FP32,
        pad_id=0,
    )


def failed(entry: CertificateEntry) -> set[str]:
    return {check.name for check in entry.checks if not check.passed}


def test_a_state_that_a_batch_of_one_token_leaves_is_caught_by_that_name(subject: Subject) -> None:
    widths: list[int] = []

    def remembers(batch: TokenBatch) -> NDArray[np.float32]:
        """What a kernel does that keeps a buffer: after one token, the next batch is wrong."""
        after_one_token = widths[-1:] == [1] and batch.input_ids.shape[1] > 16
        widths.append(batch.input_ids.shape[1])
        vectors = subject.run(batch)
        return np.roll(vectors, 1, axis=1) if after_one_token else vectors

    entry = certify(replace(subject, run=remembers), GRAPH)
    assert failed(entry) == {"after one token", "batch invariance"}
    assert "a batch of one token changes the vectors of the batches after it" in entry.failures


def test_what_the_first_batch_of_a_session_decides_is_caught(subject: Subject) -> None:
    widths: list[int] = []

    def fixed_by_the_first(batch: TokenBatch) -> NDArray[np.float32]:
        """What OpenVINO's fused attention does: the first batch decides for all others."""
        widths.append(batch.input_ids.shape[1])
        vectors = subject.run(batch)
        return np.roll(vectors, 1, axis=1) if widths[0] == 1 != widths[-1] else vectors

    assert "after one token" in failed(certify(replace(subject, run=fixed_by_the_first), GRAPH))


def test_a_graph_that_refuses_one_token_is_tried_with_its_shortest_text(subject: Subject) -> None:
    widths: list[int] = []

    def refuses(batch: TokenBatch) -> NDArray[np.float32]:
        widths.append(batch.input_ids.shape[1])
        if widths[-1] == 1:
            raise ProviderError("this graph reads two tokens of each row")
        return subject.run(batch)

    assert certify(replace(subject, run=refuses), GRAPH).passed
    shortest = min(row.width for row in subject.rows)
    assert widths[widths.index(1) + 1] == shortest > 1


def test_an_older_certificate_without_that_check_stays_valid(subject: Subject) -> None:
    entry = certify(subject, GRAPH)
    older = tuple(check for check in entry.checks if check.name != "after one token")
    assert len(older) == len(entry.checks) - 1
    assert replace(entry, checks=older).passed
