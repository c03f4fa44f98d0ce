"""AutoRegEmbed and LLM2Vec-Gen: losses against loops, what learns, and what is left."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from decant.embedders import (
    Choices,
    Explainer,
    HashEncoder,
    Output,
    Pooling,
    Role,
    TorchEncoder,
    find_source,
    resolve,
)
from decant.training import (
    AlignmentSettings,
    Compression,
    CompressionSettings,
    DataError,
    DistributionAlignment,
    Gen,
    GenSettings,
    Look,
    Loop,
    Lora,
    Margin,
    Objective,
    Row,
    TrainingError,
    frozen_decoder,
    open_base,
    open_compression,
    open_gen,
    read_table,
    train,
)
from decant.training.distribution_alignment import alignment_loss
from decant.training.losses import kept_apart
from decant.training.soft_prompts import end_token

SHORT = Choices(query="{text}\nsay: ", passage="{text}", max_tokens=64)
COMPRESSION = CompressionSettings(tokens=3, instruction="say it")
GEN = GenSettings(total=4, read=3)
ROWS = [
    Row(query="the cat", positive="a hat", negatives=("what then",), place="1"),
    Row(query="white heat", positive="winter, the end", negatives=("in",), place="2"),
]


def compression(llama: Path, lora: Lora | None = None) -> Compression:
    opened = open_compression(llama, COMPRESSION, choices=SHORT, lora=lora)
    return Compression(opened, COMPRESSION, frozen_decoder(llama))


def gen(llama: Path, settings: GenSettings = GEN, dim: int = 8) -> Gen:
    teacher = HashEncoder(dim=dim)
    opened = open_gen(llama, settings, teacher, choices=SHORT)
    return Gen(opened, settings, teacher)


def length(objective: Objective, text: str) -> int:
    """Return how many tokens a text has, its end included."""
    return len(objective.base.tokenizer.bare.encode(text, add_special_tokens=False).ids) + 1


def naive_log_probability(
    objective: Compression | DistributionAlignment | Gen, states: Tensor, text: str
) -> float:
    """Say a text token by token after states, without padding or batches."""
    language = objective.language if isinstance(objective, Gen) else objective.decoder
    words = objective.base.tokenizer.bare.encode(text, add_special_tokens=False).ids
    total = 0.0
    with torch.no_grad():
        inputs = states
        for word in [*words, 2]:
            logits = language(inputs_embeds=inputs[None]).logits[0, -1, :271]
            total += float(logits.log_softmax(-1)[word])
            row = language.get_input_embeddings()(torch.tensor([word]))
            inputs = torch.cat([inputs, row])
    return total


def states_of(objective: Objective, string: str) -> Tensor:
    """Return the read states of one string, tokenised with the appended tokens written out."""
    tokenizer = objective.base.vocabulary or objective.base.tokenizer.bare
    appended = objective.model.recipe.appended
    assert appended is not None
    ids = [*tokenizer.encode(string).ids]
    ids += [cast("int", tokenizer.token_to_id(token)) for token in appended.tokens]
    with torch.no_grad():
        found = objective.model.backbone(torch.tensor([ids])).last_hidden_state[0]
    return cast("Tensor", found)[-appended.read :]


@pytest.mark.parametrize(("said", "end"), [(0, 0), ([0, 2], 0), (2, 2)])
def test_the_end_token_may_be_the_first_of_the_vocabulary(
    llama: Path, said: int | list[int], end: int
) -> None:
    decoder = frozen_decoder(llama)
    decoder.generation_config.eos_token_id = None
    decoder.config.eos_token_id = said
    assert end_token(decoder) == end
    decoder.config.eos_token_id = None
    with pytest.raises(TrainingError, match="names no eos_token_id"):
        end_token(decoder)


def test_compression_is_the_loss_of_saying_the_output_token_by_token(llama: Path) -> None:
    objective = compression(llama).eval()
    rows = [ROWS[0], replace(ROWS[1], instruction="and this")]
    found = objective(objective.collate(rows))["loss"].item()
    total, count = 0.0, 0
    for row in rows:
        states = states_of(objective, f"{row.query}\n{row.instruction or 'say it'}\n")
        assert row.positive is not None
        total -= naive_log_probability(objective, states, row.positive)
        count += length(objective, row.positive)
    assert found == pytest.approx(total / count, abs=1e-4)


def frozen_and_learning(objective: Objective) -> tuple[dict[str, Tensor], list[Tensor]]:
    frozen = {n: p.clone() for n, p in objective.named_parameters() if not p.requires_grad}
    return frozen, [p for p in objective.parameters() if p.requires_grad]


def stepped(objective: Objective, rows: Sequence[Row]) -> None:
    _, learning = frozen_and_learning(objective)
    optimizer = torch.optim.SGD(learning, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        objective(objective.collate(rows))["loss"].backward()
        optimizer.step()


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_the_decoder_of_compression_never_changes(llama: Path, lora: Lora | None) -> None:
    objective = compression(llama, lora).train()
    assert not objective.decoder.training
    frozen, learning = frozen_and_learning(objective)
    stepped(objective, ROWS)
    after = dict(objective.named_parameters())
    assert any(name.startswith("decoder") for name in frozen)
    for name, value in frozen.items():
        assert torch.equal(after[name], value)
        assert after[name].grad is None
    assert all(value.grad is not None for value in learning)
    trained = sum(value.numel() for value in learning)
    whole = sum(value.numel() for value in objective.model.parameters())
    assert trained == whole if lora is None else trained < whole / 2


def test_only_new_rows_and_heads_of_llm2vec_gen_learn(llama: Path) -> None:
    objective = gen(llama).train()
    frozen, learning = frozen_and_learning(objective)
    assert sum(value.numel() for value in learning) == 4 * 32 + 32 * 33 + 8 * 33
    stepped(objective, ROWS)
    after = dict(objective.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert all(float(cast("Tensor", value.grad).abs().max()) > 0 for value in learning)


def test_llm2vec_gen_is_the_sum_of_its_two_losses(llama: Path) -> None:
    objective = gen(llama).eval()
    found = objective(objective.collate(ROWS))
    align, total, count = 0.0, 0.0, 0
    for row in ROWS:
        answer = cast("str", row.positive)
        states = states_of(objective, f"{row.query}\nsay: ")
        with torch.no_grad():
            prompts = objective.reconstruction(states)
            vector = torch.stack([objective.alignment(prompt) for prompt in prompts]).mean(0)
        taught = objective.teacher.encode([answer], role=Role.PASSAGE).dense[0]
        align += float(((vector - torch.from_numpy(taught)) ** 2).mean()) / len(ROWS)
        total -= naive_log_probability(objective, prompts, answer)
        count += length(objective, answer)
    assert found["align"].item() == pytest.approx(align, abs=1e-5)
    assert found["reconstruct"].item() == pytest.approx(total / count, abs=1e-4)
    assert found["loss"].item() == pytest.approx(align + total / count, abs=1e-4)


EXTRAS = GenSettings(total=4, read=3, contrast=0.5, apart=0.25, distance=3.0, repeat=2.0)


def test_the_supervised_extras_of_llm2vec_gen_are_their_formulas(llama: Path) -> None:
    objective = gen(llama, EXTRAS).eval()
    # Two rows of one answer are no negatives of each other.
    rows = [*ROWS, Row(query="in the end", positive="a hat", negatives=(), place="3")]
    found = objective(objective.collate(rows))

    def vector(text: str) -> Tensor:
        with torch.no_grad():
            return cast("Tensor", objective.model.head(states_of(objective, text).mean(0)))

    def taught(text: str) -> Tensor:
        return torch.from_numpy(objective.teacher.encode([text], role=Role.PASSAGE).dense[0])

    answers = [cast("str", row.positive) for row in rows]
    negatives = [text for row in rows for text in row.negatives]
    vectors = [vector(f"{row.query}\nsay: ") for row in rows]
    repeat = sum(
        float((vector(f"Repeat this text word by word. {text}") - taught(text)).square().mean())
        for text in answers
    )
    assert found["repeat"].item() == pytest.approx(2.0 * repeat / 3, abs=1e-5)
    others = [*vectors, *map(vector, negatives)]
    contrast, missing = 0.0, []
    for row, own in enumerate(vectors):
        texts = [*answers, *negatives]
        allowed = [at for at, text in enumerate(texts) if text != answers[row]]
        missing += [max(0.0, 9.0 - float((own - others[at]).square().sum())) for at in allowed]
        cosines = [
            float(torch.cosine_similarity(own, taught(texts[at]), 0)) for at in [row, *allowed]
        ]
        scores = torch.tensor(cosines, dtype=torch.float64) / 0.05
        contrast -= float(scores.log_softmax(0)[0])
    assert len(missing) == 10
    assert found["contrast"].item() == pytest.approx(0.5 * contrast / 3, abs=1e-4)
    assert found["apart"].item() == pytest.approx(0.25 * sum(missing) / 10, abs=1e-4)
    names = ("align", "reconstruct", "contrast", "apart", "repeat")
    parts = sum(found[name].item() for name in names)
    assert found["loss"].item() == pytest.approx(parts, abs=1e-5)


def test_vectors_that_are_far_apart_already_are_left_alone() -> None:
    near, far = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    none = torch.zeros(1, 1, dtype=torch.bool)
    assert kept_apart(near, far, distance=5.0, excluded=none).item() == 0
    assert kept_apart(near, far, distance=6.0, excluded=none).item() == 11
    assert kept_apart(near, far, distance=6.0, excluded=~none).item() == 0


def test_the_order_of_rows_and_their_padding_do_not_matter(llama: Path) -> None:
    for objective in (compression(llama).eval(), gen(llama).eval(), gen(llama, EXTRAS).eval()):
        forth = objective(objective.collate(ROWS))["loss"].item()
        back = objective(objective.collate(ROWS[::-1]))["loss"].item()
        assert forth == pytest.approx(back, abs=1e-5)


numbers = st.floats(-30, 0)


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), min_size=1, max_size=4),
    st.sampled_from(Margin),
)
def test_the_alignment_loss_is_the_loop_of_its_formula(
    rows: list[tuple[float, float, float, float, float]], margin: Margin
) -> None:
    settings = AlignmentSettings(margin=margin)
    total = 0.0
    for a, b, c, a_ref, b_ref in rows:
        sign = -1 if margin is Margin.FIGURE else 1
        inner = (a - b) + sign * (a_ref - b_ref)
        first = -1 / (1 + math.exp(-0.1 * abs(a - c)))
        second = -1 / (1 + math.exp(-0.1 * inner))
        below = math.exp(first / 0.1) + math.exp(second / 0.1)
        total -= math.log(math.exp(first / 0.1) / below)
    columns = torch.tensor(rows, dtype=torch.float64)
    found = alignment_loss(columns[:, 0], columns[:, 1:2], columns[:, 2], columns[:, 3:5], settings)
    assert found.item() == pytest.approx(total / len(rows), abs=1e-6)
    # Between softplus of -5 and of 10, because near is at least a half.
    assert 0.0067 < found.item() < 10.00006


@pytest.mark.parametrize("margin", Margin)
def test_the_loss_falls_when_the_positive_becomes_more_probable(margin: Margin) -> None:
    settings = AlignmentSettings(margin=margin)
    reference, itself = torch.zeros(1, 2), torch.tensor([10.0])
    losses = [
        alignment_loss(torch.tensor([a]), torch.tensor([[0.0]]), itself, reference, settings)
        for a in (0.0, 2.0, 5.0, 10.0)
    ]
    assert losses == sorted(losses, reverse=True)


@pytest.fixture(scope="module")
def stage_one(llama: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stages") / "compressed"
    loop = Loop(batch_size=4, max_steps=4, learning_rate=1e-2)
    train(compression(llama), read_table([pairs]), target, loop)
    return target


def aligned(stage_one: Path, llama: Path) -> DistributionAlignment:
    return DistributionAlignment(open_base(stage_one), AlignmentSettings(), frozen_decoder(llama))


def triplets(tmp_path: Path) -> Path:
    path = tmp_path / "triplets.jsonl"
    rows = [
        {"query": f"{row.query} {n}", "positive": row.positive, "negatives": list(row.negatives)}
        for n in range(4)
        for row in ROWS
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_alignment_scores_texts_after_states_as_a_loop_does(
    stage_one: Path, llama: Path, tmp_path: Path
) -> None:
    objective = aligned(stage_one, llama).eval()
    table = read_table([triplets(tmp_path)])
    objective.prepare(table, tmp_path, batch_size=3)
    rows = list(table[:2])
    found = objective(objective.collate(rows))["loss"].item()
    means = "This sentence means in one word: \u201c"
    a, b, c = [], [], []
    for row in rows:
        query = states_of(objective, f"{row.query}\n{means}\n")
        own = states_of(objective, f"{row.positive}\n{means}\n")
        a.append(naive_log_probability(objective, query, cast("str", row.positive)))
        b.append(naive_log_probability(objective, query, row.negatives[0]))
        c.append(naive_log_probability(objective, own, cast("str", row.positive)))
    columns = [torch.tensor(one) for one in (a, b, c)]
    reference = torch.stack(columns[:2], dim=1)  # the model is still its own reference
    wanted = alignment_loss(
        columns[0], columns[1][:, None], columns[2], reference, objective.settings
    )
    assert found == pytest.approx(wanted.item(), abs=1e-4)
    stored = np.load(tmp_path / "reference.npz")["scores"]
    assert abs(stored[:2] - reference.numpy()).max() < 1e-3


def test_reference_scores_are_computed_once(stage_one: Path, llama: Path, tmp_path: Path) -> None:
    objective = aligned(stage_one, llama)
    table = read_table([triplets(tmp_path)])
    np.savez(tmp_path / "reference.npz", scores=np.full((len(table), 2), 7, np.float32))
    objective.prepare(table, tmp_path, batch_size=3)
    batch = objective.collate(list(table[:2]))
    assert cast("Tensor", batch["reference"]).tolist() == [[7, 7], [7, 7]]


def test_a_begun_run_is_refused_with_another_decoder_or_teacher(
    stage_one: Path, llama: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    changed = frozen_decoder(llama)
    with torch.no_grad():
        next(changed.parameters()).add_(0.1)
    changed.save_pretrained(other)
    stop = Look(watcher=_stop)
    loop = Loop(batch_size=2)
    table = read_table([triplets(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        train(aligned(stage_one, llama), table, tmp_path / "aligned", loop, look=stop)
    elsewhere = aligned(stage_one, other)
    with pytest.raises(TrainingError, match="begun with other decoder"):
        train(elsewhere, table, tmp_path / "aligned", loop)
    with pytest.raises(KeyboardInterrupt):
        train(gen(llama), table, tmp_path / "gen", loop, look=stop)
    wider = gen(llama, dim=16)
    with pytest.raises(TrainingError, match=r"begun with other.* teacher"):
        train(wider, table, tmp_path / "gen", loop)


def _stop(step: int, steps: int, values: object) -> None:
    raise KeyboardInterrupt


def test_both_stages_leave_models_that_can_be_read_back(
    stage_one: Path, llama: Path, tmp_path: Path
) -> None:
    target = tmp_path / "aligned"
    loop = Loop(batch_size=4, max_steps=2, learning_rate=1e-3)
    train(aligned(stage_one, llama), read_table([triplets(tmp_path)]), target, loop)
    encoder = TorchEncoder.from_pretrained(target)
    assert encoder.recipe.appended is not None
    found = encoder.encode(["the cat"], role=Role.QUERY, outputs=[Output.STATES])
    assert found.states is not None
    assert found.states.shape == (1, 3, 32)
    mean = found.states[0].mean(0)
    assert abs(found.dense[0] - mean / np.linalg.norm(mean)).max() < 1e-5
    said = Explainer.from_pretrained(llama).explain(found.states[0], max_new_tokens=4)
    assert len(said.tokens) == 3


def test_llm2vec_gen_leaves_one_layer_and_prompts_for_its_decoder(
    llama: Path, pairs: Path, tmp_path: Path
) -> None:
    objective = gen(llama)
    target = tmp_path / "gen"
    train(
        objective, read_table([pairs]), target, Loop(batch_size=4, max_steps=3, learning_rate=0.01)
    )
    recipe = resolve(find_source(target))
    assert [layer.path for layer in recipe.head] == ["2_Reconstruction", "3_Alignment"]
    encoder = TorchEncoder.from_pretrained(target)
    assert sum(isinstance(one, torch.nn.Linear) for one in encoder.model.head) == 1
    found = encoder.encode(["the cat"], role=Role.QUERY, outputs=[Output.STATES])
    assert found.states is not None
    states = states_of(objective, "the cat\nsay: ")
    with torch.no_grad():
        prompts = objective.reconstruction(states)
        vector = objective.alignment(prompts).mean(0)
    assert abs(found.states[0] - prompts.numpy()).max() < 1e-5
    assert abs(found.dense[0] - (vector / vector.norm()).numpy()).max() < 1e-5


def test_what_cannot_be_trained_is_refused(
    llama: Path, bert: Path, stage_one: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="no causal model"):
        open_gen(bert, GEN, HashEncoder(dim=8))
    with pytest.raises(TrainingError, match="knows the token '<EMBED0>' already"):
        open_compression(stage_one, COMPRESSION)
    with pytest.raises(TrainingError, match="the teacher's vectors have 16 dimensions"):
        Gen(gen(llama).opened, GEN, HashEncoder(dim=16))
    base = open_base(llama, choices=Choices(pooling=Pooling.MEAN))
    with pytest.raises(TrainingError, match="appends no tokens"):
        DistributionAlignment(base, AlignmentSettings(), frozen_decoder(llama))
    with pytest.raises(TrainingError, match="no language-model head"):
        frozen_decoder(stage_one)
    path = tmp_path / "few.jsonl"
    path.write_text('{"query": "q", "positive": "p", "negatives": ["n"]}\n', encoding="utf-8")
    objective = aligned(stage_one, llama)
    objective.settings = AlignmentSettings(negatives=2)
    with pytest.raises(DataError, match=r"few.jsonl:1: 1 negatives, where negatives = 2"):
        objective.check(read_table([path]))
    with pytest.raises(TrainingError, match="must have a weight"):
        GenSettings(align=0, reconstruct=0)
