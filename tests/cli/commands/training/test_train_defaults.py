"""Where a method starts: rates and schedules are those of its authors' scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from models import save_language_model

WORDS = ("cat", "hat", "whale", "winter", "heat", "end", "white", "then")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny causal language model with room for the authors' prompts."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    return save_language_model(folder, "llama", layers=2, longest=192)


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    """Return eight triplets."""
    path = tmp_path / "triplets.tsv"
    rows = [f"the {one}\t{one} again\twhat then {one}" for one in WORDS]
    path.write_text("\n".join(["query\tpositive\tnegative", *rows, ""]), encoding="utf-8")
    return path


def loop_of(decant: Decant, *words: object) -> dict[str, object]:
    """Train one step and return the loop that the run says."""
    ran = decant("train", *words, "--batch-size", 4, "--max-steps", 1)
    assert ran.code == Exit.OK, ran.err
    target = Path(str(words[words.index("--out") + 1]))
    loop: dict[str, object] = json.loads(
        (target / "training/run.json").read_text(encoding="utf-8")
    )["loop"]
    return {name: loop[name] for name in ("learning_rate", "schedule", "warmup", "epochs", "seed")}


def test_autoregembed_starts_with_the_schedules_of_its_scripts(
    decant: Decant, llama: Path, triplets: Path
) -> None:
    # run_information_compress.sh and run_condition_distribution_alignment.sh at 06da589.
    compress = ("compress", "--base", llama, "--pairs", triplets, "--out", "compressed")
    assert loop_of(decant, *compress) == {
        "learning_rate": 1e-5, "schedule": "cosine", "warmup": 0.05, "epochs": 1, "seed": 0,
    }  # fmt: skip
    align = ("align", "--base", "compressed", "--decoder", llama, "--pairs", triplets)
    assert loop_of(decant, *align, "--out", "aligned") == {
        "learning_rate": 5e-6, "schedule": "cosine", "warmup": 0.05, "epochs": 4, "seed": 0,
    }  # fmt: skip


def test_llm2vec_gen_warms_up_for_the_steps_of_its_configuration(
    decant: Decant, llama: Path, tiny_bundle: Path, triplets: Path
) -> None:
    # conf/training at fdec758: 100 steps of warm-up, the run ends after 5,000.
    gen = ("gen", "--base", llama, "--teacher", tiny_bundle, "--pairs", triplets, "--out", "tuned")
    assert loop_of(decant, *gen) == {
        "learning_rate": 3e-4, "schedule": "linear", "warmup": 0.02, "epochs": 1, "seed": 0,
    }  # fmt: skip


def test_simcse_starts_as_llm2vec_does(decant: Decant, llama: Path, triplets: Path) -> None:
    # train_configs/simcse of McGill-NLP/llm2vec: Transformers' default schedule, no warm-up.
    words = ("simcse", "--base", llama, "--texts", triplets, "--pooling", "mean", "--out", "tuned")
    assert loop_of(decant, *words) == {
        "learning_rate": 3e-5, "schedule": "linear", "warmup": 0.0, "epochs": 1, "seed": 0,
    }  # fmt: skip
