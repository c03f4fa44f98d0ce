"""Runs: what they leave, that they repeat, and that a killed one goes on as if nothing happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from decant.embedders import Role, TorchEncoder, find_model, resolve
from decant.embedders.json_records import to_json
from decant.training import (
    Contrastive,
    ContrastiveSettings,
    DataError,
    Lora,
    Plan,
    SimCSE,
    TrainingCallbacks,
    TrainingDataset,
    TrainingError,
    TrainingSettings,
    open_base,
    read_plan,
    read_table,
    train,
)

SETTINGS = ContrastiveSettings(matryoshka_dims=(16,))
LOOP = TrainingSettings(batch_size=4, epochs=2, learning_rate=1e-3, log_every=2)


@pytest.fixture
def table(pairs: Path) -> TrainingDataset:
    return read_table([pairs], needs=Contrastive.needs)


def logged(folder: Path) -> list[dict[str, float]]:
    """Return the log of a run."""
    text = (folder / "training/log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_leaves_a_model_that_every_command_can_open(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    base = open_base(bert)
    target = tmp_path / "tuned"
    report = train(Contrastive(base, SETTINGS), table, target, LOOP)
    assert report.steps == 14
    assert report.frozen == 32 * 33  # BERT's pooler, which no vector reads
    with base.eval_encoder() as trained:
        wanted = trained.encode(["the cat"], role=Role.QUERY).dense
    opened = TorchEncoder.from_pretrained(target)
    assert abs(opened.encode(["the cat"], role=Role.QUERY).dense - wanted).max() < 1e-6
    recipe = resolve(find_model(target))
    assert recipe.query_prompt.prefix == "query: "
    assert recipe.min_dim == 16
    lines = logged(target)
    assert [line["step"] for line in lines] == [1, *range(2, 15, 2)]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[0]["loss"] == pytest.approx(lines[0]["contrast"], abs=1e-3)
    assert (target / "training/curves.svg").read_text().count("<path") > 10
    assert not list(tmp_path.glob("*.partial"))


def test_sentence_transformers_gives_the_same_vectors(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    # Transformers makes a WordPiece tokenizer of any BERT's, unless the folder says which it is.
    said = {"model_max_length": 64, "tokenizer_class": "PreTrainedTokenizerFast"}
    bert = shutil.copytree(bert, tmp_path / "bert")
    (bert / "tokenizer_config.json").write_text(json.dumps({**said, "pad_token": "<pad>"}))
    target = tmp_path / "tuned"
    train(Contrastive(open_base(bert), SETTINGS), table, target, replace(LOOP, epochs=1))
    peer = sentence_transformers.SentenceTransformer(str(target), device="cpu")
    ours = TorchEncoder.from_pretrained(target)
    texts = ["the white whale", "a hat"]
    assert abs(peer.encode_query(texts) - ours.encode(texts, role=Role.QUERY).dense).max() < 1e-5
    found = peer.encode_document(texts)
    assert abs(found - ours.encode(texts, role=Role.PASSAGE).dense).max() < 1e-5


def test_the_same_seed_gives_the_same_weights(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    loop = replace(LOOP, epochs=1)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        base = open_base(bert, dropout=0.1)
        train(SimCSE(base, SETTINGS), table, tmp_path / name, replace(loop, seed=seed))
    first, again, other = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


_RUN = """
import sys, time
from pathlib import Path
from decant.training import *
model, pairs, target, pause = sys.argv[1:]
def watch(step, steps, values):
    print(step, flush=True)
    time.sleep(float(pause))
base = open_base(model, dropout=0.2, lora=Lora(rank=2))
loop = TrainingSettings(
    batch_size=4, epochs=3, learning_rate=1e-2, log_every=1, save_every=2,
    gradient_accumulation_steps=2,
)
objective, table = SimCSE(base, ContrastiveSettings()), read_table([pairs])
train(objective, table, Path(target), loop, callbacks=TrainingCallbacks(progress=watch))
"""


@pytest.fixture(scope="module")
def undisturbed(bert: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the run leaves that nobody kills; in a process like those that are killed."""
    target = tmp_path_factory.mktemp("undisturbed") / "whole"
    subprocess.run(_run_of(bert, pairs, target), check=True, capture_output=True)
    return target


def _run_of(bert: Path, pairs: Path, target: Path, *, pause: float = 0.0) -> list[str]:
    return [sys.executable, "-c", _RUN, str(bert), str(pairs), str(target), str(pause)]


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 6])
def test_a_killed_run_goes_on_to_the_same_weights(
    bert: Path, pairs: Path, undisturbed: Path, tmp_path: Path, step: int
) -> None:
    target = tmp_path / "cut"
    begun = _run_of(bert, pairs, target, pause=0.3)
    with subprocess.Popen(begun, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if int(line) >= step:
                break
        time.sleep(0.1)
        os.kill(running.pid, signal.SIGKILL)
    assert not target.exists()
    assert list((tmp_path / "cut.partial/checkpoints").glob("checkpoint-*"))
    subprocess.run(_run_of(bert, pairs, target), check=True, capture_output=True)
    whole, cut = (load_file(one / "model.safetensors") for one in (undisturbed, target))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    losses = [[line["loss"] for line in logged(one)] for one in (undisturbed, target)]
    assert losses[0] == losses[1]


def test_a_checkpoint_that_is_half_written_is_passed_over(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    half = tmp_path / "tuned.partial" / "checkpoints" / "checkpoint-9"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    (tmp_path / "tuned.partial" / "log.jsonl").write_text('{"step": 1, "lo', encoding="utf-8")
    report = train(Contrastive(open_base(bert), SETTINGS), table, tmp_path / "tuned", LOOP)
    assert report.steps == 14


def test_a_begun_run_with_other_settings_is_refused(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    def stop(step: int, steps: int, values: object) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "tuned"
    with pytest.raises(KeyboardInterrupt):
        train(
            Contrastive(open_base(bert), SETTINGS),
            table,
            target,
            LOOP,
            callbacks=TrainingCallbacks(progress=stop),
        )
    with pytest.raises(TrainingError, match=r"begun with other loop"):
        train(Contrastive(open_base(bert), SETTINGS), table, target, replace(LOOP, seed=3))
    adapted = Contrastive(open_base(bert, lora=Lora()), SETTINGS)
    with pytest.raises(TrainingError, match=r"begun with other lora"):
        train(adapted, table, target, LOOP)


def test_too_few_rows_for_a_batch_are_refused_before_anything_is_written(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    objective = Contrastive(open_base(bert), SETTINGS)
    with pytest.raises(DataError, match=r"28 rows do not fill one batch of 64"):
        train(objective, table, tmp_path / "tuned", replace(LOOP, batch_size=64))
    assert not list(tmp_path.iterdir())


def test_a_target_that_is_there_is_refused(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="exists; choose another name"):
        train(Contrastive(open_base(bert), SETTINGS), table, tmp_path, LOOP)


def test_a_loss_that_is_no_number_ends_the_run(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    objective = Contrastive(open_base(bert), SETTINGS)
    with torch.no_grad():
        next(objective.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan at step 1"):
        train(objective, table, tmp_path / "tuned", LOOP)
    assert not (tmp_path / "tuned").exists()


def test_the_scorer_is_asked_while_training(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    def score(encoder: TorchEncoder) -> dict[str, float]:
        assert not encoder.model.training
        return {"dev": float(encoder.encode(["the cat"], role=Role.QUERY).dense[0, 0])}

    loop = replace(LOOP, score_every=7)
    train(
        Contrastive(open_base(bert), SETTINGS),
        table,
        tmp_path / "tuned",
        loop,
        callbacks=TrainingCallbacks(scorer=score),
    )
    lines = logged(tmp_path / "tuned")
    assert [line["step"] for line in lines if "dev" in line] == [7, 14]


def test_recomputing_layers_changes_no_weight(
    bert: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    loop = replace(LOOP, max_steps=2)
    for name, checkpointing in (("a", False), ("b", True)):
        objective = Contrastive(open_base(bert), SETTINGS)
        train(
            objective, table, tmp_path / name, replace(loop, gradient_checkpointing=checkpointing)
        )
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=1e-5)


def test_a_plan_is_read_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        "[objective]\ntemperature = 0.02\nmatryoshka_dims = [64, 128]\n[loop]\n"
        'schedule = "cosine"\n[lora]\nrank = 8\n',
        encoding="utf-8",
    )
    start = Plan(objective=ContrastiveSettings(spread=0.1), loop=TrainingSettings(seed=4))
    plan = read_plan(path, start)
    assert plan.objective == ContrastiveSettings(
        spread=0.1, temperature=0.02, matryoshka_dims=(64, 128)
    )
    assert plan.loop == replace(TrainingSettings(seed=4), schedule=plan.loop.schedule)
    assert plan.lora == Lora(rank=8)


def test_a_plan_may_use_the_old_names(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        "[objective]\nwidths = [8]\nchunk = 2\n[loop]\naccumulate = 3\nrecompute = true\n", "utf-8"
    )
    plan = read_plan(path, Plan(objective=ContrastiveSettings(), loop=TrainingSettings()))
    assert plan.objective == ContrastiveSettings(matryoshka_dims=(8,), mini_batch_size=2)
    assert plan.loop == TrainingSettings(gradient_accumulation_steps=3, gradient_checkpointing=True)


def test_the_stored_identity_of_a_run_keeps_its_keys() -> None:
    """A run that an earlier version began is resumed: its run.json is compared key by key."""
    stored = json.loads(to_json(TrainingSettings()))
    assert {"accumulate", "recompute"} <= set(stored)
    assert {"widths", "chunk"} <= set(json.loads(to_json(ContrastiveSettings())))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[loop]\nrecompute = true\ngradient_checkpointing = true", "given twice"),
        ("[optimizer]\nlr = 1", r"unknown table \[optimizer\]"),
        ("[loop]\nlr = 1", "unknown key 'lr'"),
        ("[loop]\nepochs = 0", "epochs must be at least 1"),
        ("[loop]\nepochs = 'two'", "expected int"),
        ("[loop", "is not TOML"),
    ],
)
def test_a_plan_that_says_nonsense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=message):
        read_plan(path, Plan(objective=ContrastiveSettings(), loop=TrainingSettings()))
