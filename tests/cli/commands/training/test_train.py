"""``decant train``: from a file to a model that exports, and what it says on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from command_line import Decant, Ran
from decant.cli.commands.training.train import train as application
from decant.cli.exit_codes import Exit
from decant.cli.options.train import RunOptions
from decant.embedders import Attention, find_model, load, resolve
from decant.training import Lora, MntpSettings, Plan, TrainingSettings
from models import save_language_model, write_json

WORDS = ("cat", "hat", "whale", "winter", "heat", "end", "white", "then")
QUICK = ("--batch-size", 8, "--max-steps", 3, "--learning-rate", 0.001, "--out", "tuned")
METHODS = [command.name for command in application.registered_commands]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny causal language model."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    return save_language_model(folder, "llama", layers=2, longest=64)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return 48 graded pairs under common names, but for the score."""
    path = tmp_path / "pairs.tsv"
    rows = [f"{n % 3}\tthe {one} {n}\t{one} again {n}\n" for n in range(6) for one in WORDS]
    path.write_text("grade\tquestion\tanswer\n" + "".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Return settings for a vocabulary without an underscore of its own."""
    path = tmp_path / "mntp.toml"
    path.write_text('[objective]\nmask_token = "<unk>"\n', encoding="utf-8")
    return path


def facts(ran: Ran, name: str) -> Mapping[str, object]:
    """Return one part of what a command printed."""
    found = ran.json[name]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", METHODS)
def test_every_method_explains_itself_with_an_example(decant: Decant, name: str) -> None:
    ran = decant("train", name, "--help")
    assert ran.code == Exit.OK
    assert f"decant train {name} --" in ran.out


def test_pairs_become_a_model_that_exports(
    decant: Decant, tiny_folder: Path, pairs: Path, tmp_path: Path
) -> None:
    ran = decant("train", "contrastive", "--base", tiny_folder, "--pairs", pairs, *QUICK)
    assert ran.code == Exit.OK, ran.err
    for part in ("43 rows in 43 groups", "median", "query", "positive"):
        assert part in ran.err
    for part in ("before", "after", "held out", "ndcg", "3, last loss"):
        assert part in ran.out.lower()
    assert "next: decant export tuned BUNDLE" in ran.err
    standing = json.loads((tmp_path / "tuned/training/standing.json").read_text(encoding="utf-8"))
    assert "held out" in json.dumps(standing)
    assert not list(tmp_path.glob("*.partial"))
    exported = decant("export", "tuned", "bundle")
    assert exported.code == Exit.OK, exported.err
    assert decant("verify", "bundle").code == Exit.OK
    with load(tmp_path / "bundle") as encoder:
        assert encoder.recipe.query_prompt.prefix == "query: "


def test_json_says_data_run_and_standing(decant: Decant, tiny_folder: Path, pairs: Path) -> None:
    ran = decant(
        "train", "contrastive", "--base", tiny_folder, "--pairs", pairs, *QUICK, "--json",
        "--held-out", 0.2, "--lora", 2,
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert ran.json["model"] == "tuned"
    assert facts(ran, "data")["rows"] == 38
    assert facts(ran, "run")["steps"] == 3
    standing = json.dumps(facts(ran, "standing"))
    assert '"before"' in standing
    assert '"after"' in standing


def test_without_a_held_out_part_nothing_is_measured(
    decant: Decant, tiny_folder: Path, pairs: Path
) -> None:
    ran = decant(
        "train", "contrastive", "--base", tiny_folder, "--pairs", pairs, *QUICK, "--json",
        "--held-out", 0,
    )  # fmt: skip
    assert facts(ran, "data")["rows"] == 48
    assert ran.json["standing"] is None


@pytest.mark.parametrize("made", ["crops", "cloze"])
def test_documents_alone_are_enough(
    decant: Decant, tiny_folder: Path, tmp_path: Path, made: str
) -> None:
    (tmp_path / "docs").mkdir()
    for number, word in enumerate(WORDS):
        text = f"The {word} was there. It went to sea number {number}. Then the {word} came back. "
        (tmp_path / "docs" / f"{word}.txt").write_text(3 * text, encoding="utf-8")
    ran = decant(
        "train", "contrastive", "--base", tiny_folder, "--corpus", "docs", "--made", made, *QUICK,
        "--batch-size", 4, "--json",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert facts(ran, "data")["groups"] == 7  # of eight documents one is held out
    assert (tmp_path / "tuned/model.safetensors").exists()


@pytest.mark.slow
def test_what_was_interrupted_while_it_was_measured_is_measured_by_the_same_command(
    decant: Decant, tiny_folder: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", "contrastive", "--base", tiny_folder, "--pairs", pairs, *QUICK, "--json")
    whole = decant(*words, "--out", "undisturbed")
    with monkeypatch.context() as patch:
        patch.setattr("decant.evaluation.compare_systems", _interrupt)
        ran = decant(*words)
    assert ran.code == Exit.INTERRUPTED
    weights = tmp_path / "tuned/model.safetensors"
    written = weights.stat().st_mtime_ns
    assert not (tmp_path / "tuned/training/standing.json").exists()
    (tmp_path / "tuned.partial/checkpoints").mkdir(parents=True)  # a kill before they are deleted
    other = decant(*words, "--seed", 1)
    assert other.code == Exit.INPUT
    assert "tuned exists; choose another name" in " ".join(other.err.split())
    again = decant(*words)
    assert again.code == Exit.OK, again.err
    assert "tuned is trained already; it is evaluated now" in " ".join(again.err.split())
    assert facts(again, "standing") == facts(whole, "standing")
    assert {**facts(again, "run"), "peak_mb": 0} == {**facts(whole, "run"), "peak_mb": 0}
    assert weights.stat().st_mtime_ns == written
    standing = json.loads((tmp_path / "tuned/training/standing.json").read_text(encoding="utf-8"))
    assert standing == facts(again, "standing")
    assert not list(tmp_path.glob("*.partial"))
    assert decant(*words).code == Exit.INPUT  # all is done: the target exists


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_simcse_needs_texts_alone(decant: Decant, tiny_folder: Path, pairs: Path) -> None:
    pairs.with_name("sts.tsv").write_text("3\ta\tb\n1\tc\td\n2\te\tf\n", encoding="utf-8")
    ran = decant(
        "train", "simcse", "--base", tiny_folder, "--texts", pairs, *QUICK, "--json",
        "--sts", pairs.with_name("sts.tsv"),
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert "spearman" in json.dumps(facts(ran, "standing")).lower()


def test_scores_are_learnt(decant: Decant, tiny_folder: Path, pairs: Path) -> None:
    ran = decant(
        "train", "graded", "--base", tiny_folder, "--pairs", pairs, *QUICK, "--json",
        "--columns", "score=grade,query=question,positive=answer",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert facts(ran, "data")["scores"] == {"0": 16, "1": 16, "2": 16}


def test_a_bundle_is_a_teacher(
    decant: Decant, tiny_folder: Path, tiny_bundle: Path, pairs: Path
) -> None:
    ran = decant(
        "train", "distil", "--base", tiny_folder, "--teacher", tiny_bundle, "--texts", pairs,
        *QUICK, "--json",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert facts(ran, "run")["loss"] == pytest.approx(0, abs=0.005)  # its own student


def test_a_causal_model_learns_to_look_both_ways(
    decant: Decant, llama: Path, pairs: Path, masked: Path, tmp_path: Path
) -> None:
    ran = decant(
        "train", "mntp", "--base", llama, "--texts", pairs, *QUICK, "--json", "--lora", 2,
        "--settings", masked,
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert resolve(find_model(tmp_path / "tuned")).attention is Attention.BIDIRECTIONAL


def test_what_is_said_of_the_base_is_in_the_trained_model(
    decant: Decant, llama: Path, pairs: Path, tmp_path: Path
) -> None:
    config = json.loads((llama / "config.json").read_text(encoding="utf-8"))
    # Code of its own, so that nobody knows how it attends.
    shutil.copytree(llama, tmp_path / "base")
    write_json(tmp_path / "base" / "config.json", {**config, "auto_map": {"AutoModel": "own.Own"}})
    words = (
        "train",
        "contrastive",
        "--base",
        "base",
        "--pairs",
        pairs,
        *QUICK,
        "--pooling",
        "last",
    )
    ran = decant(*words)
    assert ran.code == Exit.INPUT
    assert "--attention" in ran.err
    ran = decant(
        *words, "--attention", "bidirectional", "--query-prompt", "find: {text}",
        "--passage-prompt", "text: {text}", "--max-tokens", 24,
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    recipe = resolve(find_model(tmp_path / "tuned"))
    assert recipe.max_tokens == 64  # training's length is training's alone
    assert recipe.attention is Attention.BIDIRECTIONAL
    assert (recipe.query_prompt.template, recipe.passage_prompt.template) == (
        "find: {text}",
        "text: {text}",
    )


@pytest.mark.parametrize(
    "name", [name for name in METHODS if name not in ("generate", "mine", "rerank")]
)
def test_every_method_takes_what_is_said_of_its_base(decant: Decant, name: str) -> None:
    told = decant("train", name, "--help").out
    for option in ("--attention", "--query-prompt", "--passage-prompt", "--max-tokens"):
        assert option in told


def test_a_rank_leaves_what_the_settings_say_of_dropout(tmp_path: Path) -> None:
    file = tmp_path / "lora.toml"
    file.write_text("[lora]\ndropout = 0.0\n", encoding="utf-8")
    options = RunOptions(base="any", out=tmp_path / "out", settings=file, lora=4)
    plan = options.plan(Plan(objective=MntpSettings(), loop=TrainingSettings()))
    assert plan.lora == Lora(rank=4, alpha=8, dropout=0.0)


def test_documents_that_are_too_few_are_told_and_leave_nothing(
    decant: Decant, tiny_folder: Path, notes: Path, tmp_path: Path
) -> None:
    ran = decant("train", "contrastive", "--base", tiny_folder, "--corpus", notes, *QUICK)
    assert ran.code == Exit.INPUT
    assert "do not fill one batch of 8" in ran.err
    assert list(tmp_path.iterdir()) == [notes]


BAD = {
    "a column that is not there": (
        ("contrastive", "--columns", "query=topic,positive=answer"),
        "pairs.tsv:1: no column is the query",
    ),
    "a column that is not a column": (
        ("contrastive", "--columns", "topic=answer"),
        "is not a column",
    ),
    "an empty text": (("contrastive", "--pairs", "empty.tsv"), "empty.tsv:3: the positive is empt"),
    "fewer rows than a batch": (
        ("contrastive", "--batch-size", "64"),
        "pairs.tsv: 43 rows do not fill one batch of 64; give more rows or a smaller batch_size",
    ),
    "a target that exists": (("contrastive", "--out", "there"), "there exists; choose another"),
    "no such model": (("contrastive", "--base", "./nowhere"), "nowhere"),
    "no data": (("contrastive", "--pairs", "nothing.tsv"), "nothing.tsv does not exist"),
    "an unknown setting": (("contrastive", "--settings", "lr.toml"), "lr.toml: loop: unknown key"),
    "settings that are not there": (
        ("contrastive", "--settings", "no.toml"),
        "no.toml does not exist",
    ),
    "no scores": (("graded",), "pairs.tsv:1: no column is the score"),
    "a teacher that is no bundle": (("distil", "--teacher", "there"), "there"),
    "a base without a head": (("mntp",), "has no language-model head, which this method needs"),
    "a rate of nothing": (
        ("contrastive", "--learning-rate", "0"),
        "learning_rate must be positive",
    ),
    "instructions without a place": (
        ("contrastive", "--pairs", "told.jsonl", "--batch-size", "1"),
        "there is an instruction, which this method does not use",
    ),
    "looking one way where both are learnt": (
        ("mntp", "--attention", "causal"),
        "bidirectional attention",
    ),
    "pairs and a corpus": (("contrastive", "--corpus", "there"), "give either --pairs or --corpus"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_with_its_cure_and_leaves_nothing(
    decant: Decant, tiny_folder: Path, pairs: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "lr.toml").write_text("[loop]\nlr = 1\n", encoding="utf-8")
    (tmp_path / "empty.tsv").write_text("query\tpositive\na\tb\nc\t \n", encoding="utf-8")
    told = [{"query": one, "positive": one * 2, "instruction": "Find it"} for one in "abc"]
    (tmp_path / "told.jsonl").write_text("\n".join(map(json.dumps, told)), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    (method, *words), message = BAD[name]
    data = "--texts" if method in ("distil", "mntp") else "--pairs"
    given = dict(zip(words[::2], words[1::2], strict=True))
    if data not in given:
        given[data] = str(pairs)
    options = {"--base": tiny_folder, "--out": "tuned", "--batch-size": "8", **given}
    flat = [str(word) for pair in options.items() for word in pair]
    ran = decant("train", method, *flat)
    assert ran.code == Exit.INPUT, ran.err
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert sorted(tmp_path.rglob("*")) == before
