"""``decant export``, ``inspect`` and ``verify`` of rerankers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from rerank_models import NO, YES, save_causal_reranker, save_cross_encoder

TEMPLATE = "do {instruction} <query>{query} {text} in"


def test_a_language_model_becomes_a_reranker_that_is_shown_and_certified(
    decant: Decant, tmp_path: Path
) -> None:
    folder = save_causal_reranker(tmp_path / "llama", longest=128)
    made = decant(
        "export", folder, "made", "--pair-template", TEMPLATE, "--instruction", "judge",
        "--true-token", YES, "--false-token", NO, "--max-tokens", 64, "--activation", "identity",
    )  # fmt: skip
    assert made.code == Exit.OK, made.err
    assert "shared query" in made.out + made.err
    shown = decant("inspect", "made")
    assert shown.code == Exit.OK, shown.err
    for words in (
        "the logit of 'a' less that of 'w', then identity",
        "judge",
        "Kendall tau 1.0000",
    ):
        assert words in " ".join(shown.out.split()), shown.out
    verified = decant("verify", "made", "--provider", "cpu", "--json")
    assert verified.code == Exit.OK
    assert verified.json["passed"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--true-token", YES], "--pair-template"),
        (["--pair-template", "{query} {text}"], "--true-token yes --false-token no"),
        (["--pair-template", "{text} {query}", "--true-token", YES], "in this order"),
        (["--pair-template", TEMPLATE, "--true-token", YES], "instruction"),
        (["--false-token", NO], "name that one, too"),
        (["--true-token", YES, "--dim", "8"], "leave one out"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(
    decant: Decant, tmp_path: Path, options: list[str], message: str
) -> None:
    folder = save_causal_reranker(tmp_path / "llama")
    ran = decant("export", folder, "made", *options)
    assert ran.code == Exit.INPUT
    assert message in " ".join(ran.err.split())
    assert not Path("made").exists()


def test_several_labels_need_one(decant: Decant, tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "nli", "bert", labels=3)
    ran = decant("export", folder, "made")
    assert ran.code == Exit.INPUT
    assert "3 outputs (LABEL_0, LABEL_1, LABEL_2)" in " ".join(ran.err.split())


def test_a_reranker_is_verified_and_tuned_and_loaded_as_it_was_tuned(
    decant: Decant, tiny_reranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shutil.copytree(tiny_reranker, tmp_path / "reranker")
    verified = decant("verify", bundle, "--provider", "cpu")
    assert verified.code == Exit.OK
    assert "Kendall tau 1.0000" in " ".join(verified.out.split())
    monkeypatch.setattr("decant.embedders.onnx.speed_bench._TRIAL_SECONDS", 0.0)
    texts = tmp_path / "texts.txt"
    texts.write_text("one passage\n\nanother passage\n", encoding="utf-8")
    tuned = decant("tune", bundle, "--texts", texts)
    assert tuned.code == Exit.OK, tuned.err
    assert "tokens/s" in tuned.out
    assert "is loaded here as fp32 on CPUExecutionProvider" in " ".join(tuned.err.split())
    tuning = decant("inspect", bundle, "--json").json["tuning"]
    assert isinstance(tuning, dict)
    assert len(tuning["entries"]) == 1
    ran = decant("rerank", bundle, "one", texts, "--skip-empty", "--json")
    assert ran.code == Exit.OK, ran.err
