"""A reranker's entry is judged by its figures, whatever it says of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from decant.embedders import Certificate, ParityError, Precision, ScoreCheck, ScoreEntry
from decant.embedders.errors import BundleError
from decant.embedders.json_records import decode, encode
from decant.embedders.onnx.choose_graph import loses_little

ENTRY = ScoreEntry(
    file="onnx/model.onnx",
    sha256="a" * 64,
    precision=Precision.FP32,
    provider="CPUExecutionProvider",
    spread=2.0,
    worst_difference=1e-6,
    kendall_tau=1.0,
    ndcg_loss=0.0,
    company=1e-6,
    not_finite=0,
    longest=64,
    checks=(ScoreCheck(name="one by one", cases=9, worst=1e-6, passed=True),),
    environment={},
    date="2026-12-01T00:00:00+00:00",
)


def test_an_entry_within_its_gates_passes() -> None:
    assert ENTRY.passed
    assert replace(ENTRY, precision=Precision.INT8, worst_difference=0.5, kendall_tau=0.9).passed


def test_scores_of_float32_differ_by_no_share_of_their_spread() -> None:
    wide = replace(ENTRY, spread=10.0, worst_difference=0.9e-5, company=0.9e-5)
    assert wide.passed
    assert "worst difference" in replace(wide, worst_difference=1.1e-5).failures
    assert "difference in company" in replace(wide, company=1.1e-5).failures
    half = replace(wide, precision=Precision.FP16, worst_difference=1.9e-2, company=1.9e-2)
    assert half.passed


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"worst_difference": 2e-4}, "worst difference"),
        ({"worst_difference": float("nan")}, "worst difference"),
        ({"company": 2e-4}, "difference in company"),
        ({"kendall_tau": 1.1}, "Kendall tau"),
        ({"not_finite": 1}, "NaN or infinite"),
        ({"spread": 0.1}, "spread 0.1 is below 1"),
        ({"longest": 0}, "0 tokens"),
        ({"checks": ()}, "no check"),
        ({"precision": Precision.INT8, "kendall_tau": 0.7}, "Kendall tau"),
        ({"precision": Precision.W4, "ndcg_loss": 0.06}, "nDCG loss"),
    ],
)
def test_a_figure_beyond_its_gate_is_named(changed: dict[str, object], message: str) -> None:
    assert message in replace(ENTRY, **changed).failures  # type: ignore[arg-type]


def test_a_failed_check_is_named_with_its_finding() -> None:
    check = ScoreCheck(name="left padding", cases=3, worst=1.0, passed=False, finding="why")
    assert replace(ENTRY, checks=(check,)).failures == "left padding (why)"


def test_a_certificate_holds_scores_beside_no_vectors() -> None:
    made = Certificate(format=1, digest="d").with_entry(ENTRY)
    again = made.with_entry(replace(ENTRY, longest=65))
    assert [entry.longest for entry in again.scores] == [65]
    assert again.passed
    assert again.require(sha256="a" * 64, provider="CPUExecutionProvider", bundle="b") is not None
    bad = made.with_entry(replace(ENTRY, company=1.0))
    with pytest.raises(ParityError, match="failed its certificate"):
        bad.require(sha256="a" * 64, provider="CPUExecutionProvider", bundle="b")
    assert decode(Certificate, encode(again), where="", error=BundleError) == again


def test_certificates_of_encoders_keep_their_keys() -> None:
    assert set(encode(Certificate(format=1, digest="d"))) == {"format", "digest", "entries"}  # type: ignore[arg-type]


def test_auto_takes_a_graph_that_keeps_the_order() -> None:
    assert loses_little(ENTRY)
    assert not loses_little(replace(ENTRY, kendall_tau=0.94))
    assert not loses_little(replace(ENTRY, ndcg_loss=0.011))
