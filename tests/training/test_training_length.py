"""The length to which training cuts texts is the run's; the model that is left keeps its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from appended_objectives import COMPRESSION
from decant.embedders import (
    Attention,
    Choices,
    HashEncoder,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
    resolve,
)
from decant.training import (
    Compression,
    Contrastive,
    ContrastiveSettings,
    Inputs,
    LLM2VecGen,
    LLM2VecGenSettings,
    Mntp,
    MntpSettings,
    Objective,
    SparseContrastive,
    SparseSettings,
    TrainingError,
    TrainingExample,
    TrainingSettings,
    frozen_decoder,
    open_base,
    open_compression,
    open_gen,
    open_language_model,
    read_table,
    train,
)
from models import write_json

LONG = "the white whale in the end that winter " * 4
LIMIT = 48
PROMPTS = Choices(query_prompt="{text}\nsay: ", passage_prompt="{text}")


def _gen(llama: Path, choices: Choices) -> Objective:
    teacher, settings = HashEncoder(dim=8), LLM2VecGenSettings(total=4, read=3, repeat=1.0)
    return LLM2VecGen(open_gen(llama, settings, teacher, choices=choices), settings, teacher)


def _compression(llama: Path, choices: Choices) -> Objective:
    opened = open_compression(llama, COMPRESSION, choices=choices)
    return Compression(opened, COMPRESSION, frozen_decoder(llama))


def _contrastive(llama: Path, choices: Choices) -> Objective:
    mean = Choices(pooling=Pooling.MEAN)
    return Contrastive(open_base(llama, choices=choices.over(mean)), ContrastiveSettings())


def _mntp(llama: Path, choices: Choices) -> Objective:
    both = Choices(attention=Attention.BIDIRECTIONAL, pooling=Pooling.MEAN)
    language = open_language_model(llama, choices=choices.over(both))
    return Mntp(language, MntpSettings(mask_token="<unk>"))


def _sparse(llama: Path, choices: Choices) -> Objective:
    language = open_language_model(llama, choices=choices, strategy="splade")
    return SparseContrastive(language, SparseSettings())


METHODS = {
    "gen": _gen,
    "compress": _compression,
    "contrastive": _contrastive,
    "mntp": _mntp,
    "sparse": _sparse,
}
ENCODERS = ("questions", "repeated", "contexts", "queries", "passages", "input_ids")


def widths(inputs: Inputs) -> list[int]:
    """Return how many tokens the batches hold that the encoder reads."""
    found = []
    for name, value in inputs.items():
        if name in ENCODERS:
            ids = value if isinstance(value, Tensor) else value["input_ids"]
            assert isinstance(ids, Tensor)
            found.append(ids.shape[1])
    return found


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_texts_are_cut_while_training_and_the_model_keeps_its_limit(
    llama: Path, pairs: Path, tmp_path: Path, method: Callable[[Path, Choices], Objective]
) -> None:
    own = method(llama, PROMPTS)
    objective = method(llama, PROMPTS.over(Choices(max_tokens=LIMIT)))
    row = TrainingExample(query=LONG, positive=LONG, place="1")
    assert set(widths(own.collate([row, row]))) == {64}
    assert set(widths(objective.collate([row, row]))) == {LIMIT}
    assert objective.lengths(row)["query"][1] == LIMIT
    with objective.eval_encoder() as encoder:
        assert encoder.recipe.max_tokens == 64
    loop = TrainingSettings(batch_size=4, max_steps=1, learning_rate=1e-3)
    train(objective, read_table([pairs]), tmp_path / "tuned", loop)
    assert resolve(find_model(tmp_path / "tuned")).max_tokens == 64


def test_the_files_of_other_libraries_keep_the_models_limit_too(
    bert: Path, pairs: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(bert, tmp_path / "base")
    write_json(base / "sentence_bert_config.json", {"max_seq_length": 40})
    for number, limit in enumerate((16, 60)):
        target = tmp_path / f"tuned-{number}"
        opened = open_base(base, choices=Choices(max_tokens=limit))
        assert widths({"queries": opened.tokens([LONG], role=Role.QUERY)["input_ids"]}) == [limit]
        loop = TrainingSettings(batch_size=4, max_steps=1)
        train(Contrastive(opened, ContrastiveSettings()), read_table([pairs]), target, loop)
        said = json.loads((target / "sentence_bert_config.json").read_text(encoding="utf-8"))
        assert said["max_seq_length"] == 40
        reader = TorchEncoder.from_pretrained(target)
        whole = reader.encode([LONG], role=Role.PASSAGE).dense
        cut = reader.encode([LONG[:20]], role=Role.PASSAGE).dense
        assert abs(whole - cut).max() > 1e-4


def test_a_length_that_the_prompt_fills_is_refused_before_the_run(llama: Path) -> None:
    with pytest.raises(RecipeError, match="leave no room for text"):
        _gen(llama, PROMPTS.over(Choices(max_tokens=6)))


def test_another_length_is_another_run(bert: Path, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "tuned.partial").mkdir()
    table, loop = read_table([pairs]), TrainingSettings(batch_size=4, max_steps=1)
    opened = open_base(bert, choices=Choices(max_tokens=LIMIT))
    train(Contrastive(opened, ContrastiveSettings()), table, tmp_path / "first", loop)
    about = tmp_path / "first/training/run.json"
    shutil.copyfile(about, tmp_path / "tuned.partial/run.json")
    with pytest.raises(TrainingError, match="begun with other max_tokens"):
        train(Contrastive(open_base(bert), ContrastiveSettings()), table, tmp_path / "tuned", loop)


def test_a_model_of_which_nothing_else_says_the_length_takes_it(
    llama: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(llama, tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    del config["max_position_embeddings"]
    write_json(base / "config.json", config)
    (base / "tokenizer_config.json").unlink(missing_ok=True)
    opened = open_base(base, choices=Choices(pooling=Pooling.MEAN, max_tokens=LIMIT))
    assert opened.model.recipe.max_tokens == LIMIT
