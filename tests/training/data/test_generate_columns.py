"""Texts that a language model writes: what it is asked, what is kept, and how a run goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from decant.embedders.tokens import load_tokenizer
from decant.training import (
    Answer,
    Column,
    Generated,
    GenerationSettings,
    OutputColumn,
    TextGenerator,
    TrainingDataset,
    TrainingError,
    generate,
    read_table,
)

GREEDY = GenerationSettings(sample=False, max_new_tokens=8, batch_size=3)
DRAWN = replace(GREEDY, sample=True, seed=7)
TEXTS = ("the cat", "a", "what heat in winter", "white", "the end of it", "that hat", "hint", "in")


@pytest.fixture(scope="module")
def speaker(llama: Path) -> TextGenerator:
    return TextGenerator.open(llama)


@pytest.fixture
def table(tmp_path: Path) -> TrainingDataset:
    """Return eight texts."""
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS), encoding="utf-8")
    return read_table([path])


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def said(speaker: TextGenerator, text: str, generating: GenerationSettings) -> str:
    (answer,) = speaker.answer([text], generating, seed=0)
    return answer.response


def test_a_greedy_answer_is_that_of_a_naive_loop(llama: Path, speaker: TextGenerator) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    tokenizer = load_tokenizer(llama)
    for text in TEXTS[:3]:
        ids = tokenizer.encode(text).ids[:-1]  # the tokenizer ends every input
        begun = len(ids)
        for _ in range(8):
            with torch.no_grad():
                best = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if best == 2:
                break
            ids.append(best)
        assert said(speaker, text, GREEDY) == tokenizer.decode(ids[begun:]).strip()


def test_a_greedy_answer_does_not_depend_on_the_batch(speaker: TextGenerator) -> None:
    together = speaker.answer(TEXTS, GREEDY, seed=0)
    assert [one.response for one in together] == [said(speaker, text, GREEDY) for text in TEXTS]
    assert len({one.response for one in together}) > 2


def test_answers_and_texts_are_written_as_pairs_that_training_reads(
    speaker: TextGenerator, table: TrainingDataset, tmp_path: Path
) -> None:
    told: list[int] = []
    report = generate(speaker, table, tmp_path / "a.jsonl", GREEDY, progress=told.append)
    assert told == [3, 3, 2]
    wanted = [(text, answer) for text in TEXTS if (answer := said(speaker, text, GREEDY))]
    assert [(row["query"], row["response"]) for row in lines(tmp_path / "a.jsonl")] == wanted
    assert report == Generated(rows=len(wanted), empty=8 - len(wanted), cut=0)
    asking = replace(GREEDY, written=OutputColumn.QUERY)
    generate(speaker, table, tmp_path / "b.jsonl", asking)
    pairs = read_table([tmp_path / "b.jsonl"], needs=(Column.QUERY, Column.POSITIVE))
    assert [(row.positive, row.query) for row in pairs] == wanted
    assert not list(tmp_path.glob("*.partial"))


def test_draws_depend_on_the_seed_and_nothing_else(
    speaker: TextGenerator, table: TrainingDataset, tmp_path: Path
) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        torch.rand(5)
        generate(speaker, table, tmp_path / name, replace(DRAWN, seed=seed))
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


class Stop(Exception):
    """Ends a run."""


@pytest.mark.parametrize("generating", [GREEDY, DRAWN])
def test_a_run_goes_on_from_wherever_it_was_cut_to_the_same_file(
    speaker: TextGenerator, table: TrainingDataset, tmp_path: Path, generating: GenerationSettings
) -> None:
    generate(speaker, table, tmp_path / "whole.jsonl", generating)

    def stop(_: int) -> None:
        told.append(1)
        if len(told) == 2:
            raise Stop

    told: list[int] = []
    target, partial = tmp_path / "cut.jsonl", tmp_path / "cut.jsonl.partial"
    with pytest.raises(Stop):
        generate(speaker, table, target, generating, progress=stop)
    assert not target.exists()
    begun = partial.read_bytes()
    assert begun.count(b"\n") == 7  # what the run is, and two batches of three
    for size in (0, 40, begun.index(b"\n") + 1, len(begun) - 200, len(begun) - 3, len(begun)):
        partial.write_bytes(begun[:size])
        first: list[int] = []
        generate(speaker, table, target, generating, progress=first.append)
        assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert sum(first) == 8
        assert not partial.exists()
        target.unlink()
    assert first[0] == 6


def test_a_begun_run_with_other_settings_is_refused(
    speaker: TextGenerator, table: TrainingDataset, tmp_path: Path
) -> None:
    def stop(_: int) -> None:
        raise Stop

    target = tmp_path / "a.jsonl"
    with pytest.raises(Stop):
        generate(speaker, table, target, GREEDY, progress=stop)
    begun = (tmp_path / "a.jsonl.partial").read_bytes()
    with pytest.raises(TrainingError, match=r"begun with other settings; delete the file"):
        generate(speaker, table, target, replace(GREEDY, seed=1))
    with pytest.raises(TrainingError, match=r"begun with other texts, data"):
        generate(speaker, table[:5], target, GREEDY)
    assert (tmp_path / "a.jsonl.partial").read_bytes() == begun
    (tmp_path / "a.jsonl.partial").write_bytes(b"something else\n")
    with pytest.raises(TrainingError, match="is not a run of decant"):
        generate(speaker, table, target, GREEDY)


class Silent(TextGenerator):
    """Says nothing to texts with an h, and stops once when it has been asked six."""

    def __init__(self, inner: TextGenerator) -> None:
        super().__init__(
            inner.source, inner._model, inner._tokenizer, chat=None, precision=inner.precision
        )
        self.asked: list[str] = []

    def answer(
        self, texts: Sequence[str], generating: GenerationSettings, *, seed: int
    ) -> list[Answer]:
        self.asked += texts
        if len(self.asked) == 6:
            raise Stop
        found = super().answer(texts, generating, seed=seed)
        return [replace(one, response="" if "h" in one.query else "yes") for one in found]


def test_texts_without_an_answer_are_counted_left_out_and_not_asked_again(
    speaker: TextGenerator, table: TrainingDataset, tmp_path: Path
) -> None:
    silent = Silent(speaker)
    target = tmp_path / "a.jsonl"
    with pytest.raises(Stop):
        generate(silent, table, target, GREEDY)
    report = generate(silent, table, target, GREEDY)
    spoken = [text for text in TEXTS if "h" not in text]
    assert report == Generated(rows=len(spoken), empty=8 - len(spoken), cut=0)
    assert [row["query"] for row in lines(target)] == spoken
    assert silent.asked == [*TEXTS[:6], *TEXTS[3:]]


def test_a_model_that_never_answers_is_an_error(
    llama: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    mute = TextGenerator.open(llama)
    with torch.no_grad():  # then the likeliest token is the first, which is no word
        cast("nn.Linear", mute._model.get_output_embeddings()).weight.zero_()
    with pytest.raises(TrainingError, match="an empty answer to all 8 texts"):
        generate(mute, table, tmp_path / "a.jsonl", GREEDY)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


def shown(speaker: TextGenerator, text: str, generating: GenerationSettings) -> str:
    prompt = speaker.prompt(text, generating)
    return speaker._tokenizer.decode(prompt.ids, skip_special_tokens=False)


def test_a_template_or_else_the_chat_template_stands_around_the_text(
    llama: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(llama, tmp_path / "chat")
    template = (
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<me>{% if enable_thinking is false %}!{% endif %}{% endif %}"
    )
    config = {"bos_token": {"content": "<s>"}, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    speaker = TextGenerator.open(folder)
    asked = replace(GREEDY, template="say {text} {now}")
    assert shown(speaker, "hi", GREEDY) == "<s><user>hi<me>!"
    assert shown(speaker, "hi", asked) == "<s>say hi {now}"
    assert shown(speaker, "hi", replace(asked, chat=True)) == "<s><user>say hi {now}<me>!"
    assert shown(speaker, "hi", replace(GREEDY, chat=False)) == "<s>hi"
    (folder / "chat_template.jinja").write_text("[{{ messages[0].content }}]", encoding="utf-8")
    assert shown(TextGenerator.open(folder), "hi", GREEDY) == "[hi]"


def test_a_long_text_loses_its_end_and_the_prompt_keeps_its_own(
    speaker: TextGenerator, tmp_path: Path
) -> None:
    asked = replace(GREEDY, template="<{text}> so:", max_tokens=20)
    prompt = speaker.prompt("the white cat " * 9, asked)
    assert prompt.cut
    assert len(prompt.ids) <= 20
    text = speaker._tokenizer.decode(prompt.ids)
    assert text.startswith("<the white cat")
    assert text.endswith("> so:")
    (answer,) = speaker.answer(["é" * 90], asked, seed=0)
    assert answer.cut
    assert not speaker.prompt("cat", asked).cut


def test_a_prompt_without_room_is_refused(speaker: TextGenerator) -> None:
    with pytest.raises(TrainingError, match=r"takes 64 tokens.*lower max_new_tokens"):
        speaker.answer(["the cat"], replace(GREEDY, max_new_tokens=64), seed=0)
    with pytest.raises(TrainingError, match="shorten the template"):
        speaker.prompt("a", replace(GREEDY, template="long " * 20 + "{text}"))


def test_what_cannot_be_asked_is_refused(
    bert: Path, speaker: TextGenerator, table: TrainingDataset, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="has no language-model head"):
        TextGenerator.open(bert)
    with pytest.raises(TrainingError, match="has no chat template"):
        speaker.answer(["a"], replace(GREEDY, chat=True), seed=0)
    with pytest.raises(TrainingError, match=r"and has none"):
        GenerationSettings(template="no slot")
    with pytest.raises(TrainingError, match="batch_size must be at least 1"):
        GenerationSettings(batch_size=0)
    with pytest.raises(TrainingError, match="exists; choose another name"):
        generate(speaker, table, tmp_path, GREEDY)
