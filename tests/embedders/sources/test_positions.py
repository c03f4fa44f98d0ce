"""Positions count tokens, not columns, and rotary angles do not depend on neighbours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.models.bert.modeling_bert import BertEmbeddings

from decant.embedders import Attention, Choices, Pooling, RecipeError, TorchEncoder
from decant.embedders.sources.positions import longest_text
from decant.export.trace.tracing import trace
from models import DECODERS, ENCODERS, LONGEST, save_sentence_transformer, write_json

LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": LONGEST,
}
# All but the last are known by their name; that one is found out by trying.
OFFSET = (
    "roberta", "mpnet", "xlm-roberta-xl", "data2vec-text", "ibert", "markuplm", "xmod", "luke",
    "esm", "longformer", "nystromformer", "layoutlmv3",
)  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}


def stretched(folder: Path, rope: dict[str, object]) -> Path:
    """A decoder whose angles change with the longest text of a batch, beyond ``LONGEST``."""
    save_sentence_transformer(folder, "phi3" if rope is LONGROPE else "llama", pooling="lasttoken")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_parameters"] = {**config["rope_parameters"], **rope}
    if rope is LONGROPE:
        config["max_position_embeddings"] = 4 * LONGEST
        config["original_max_position_embeddings"] = LONGEST
    write_json(folder / "config.json", config)
    return folder


def counting_from(first: int, forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Make embeddings that are told no positions begin at ``first``."""

    def counted(
        self: BertEmbeddings,
        *,
        input_ids: torch.Tensor,
        position_ids: object = None,
        **rest: object,
    ) -> torch.Tensor:
        places = torch.arange(first, first + input_ids.shape[1])[None]
        own = places if position_ids is None else position_ids
        return forward(self, input_ids=input_ids, position_ids=own, **rest)

    return counted


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_left_padding_changes_no_state(tmp_path: Path, family: str) -> None:
    pooling = "lasttoken" if family in DECODERS else "mean"
    folder = save_sentence_transformer(tmp_path, family, pooling=pooling)
    encoder = TorchEncoder.from_pretrained(folder)
    ids = torch.arange(10, 19)[None]
    alone = encoder.model.states(ids, torch.ones_like(ids))[0][0]
    padded = torch.nn.functional.pad(ids, (5, 0))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (5, 0))
    torch.testing.assert_close(encoder.model.states(padded, mask)[0][0][:, 5:], alone)
    encoder.close()


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_positions_of_roberta_begin_after_its_padding_token(tmp_path: Path, padding: int) -> None:
    folder = save_sentence_transformer(tmp_path, "roberta")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "pad_token_id": padding})
    encoder = TorchEncoder.from_pretrained(folder, choices=Choices(max_tokens=32))
    ids = torch.arange(10, 19)[None]
    theirs = encoder.model.backbone(input_ids=ids).last_hidden_state
    ours = encoder.model.states(ids, torch.ones_like(ids))[0][0]
    torch.testing.assert_close(ours, theirs)
    encoder.close()


@pytest.mark.parametrize("padding", [1, 3])
@pytest.mark.parametrize("family", OFFSET)
def test_positions_are_those_that_the_model_counts_itself(
    tmp_path: Path, family: str, padding: int
) -> None:
    """The offset of RoBERTa and its kin is kept (UKPLab/sentence-transformers PR 3879)."""
    folder = save_sentence_transformer(tmp_path, family)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "pad_token_id": padding})
    said = Choices(attention=Attention.BIDIRECTIONAL, max_tokens=32)
    with TorchEncoder.from_pretrained(folder, choices=said) as encoder:
        ids = torch.arange(10, 19)[None]
        mask = torch.ones_like(ids)
        backbone = encoder.model.backbone
        theirs = backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        ours = encoder.model.states(ids, mask)[0][0]
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("padding", [1, 3])
@pytest.mark.parametrize("family", [*OFFSET, "bert"])
def test_a_padding_token_that_is_a_word_counts_as_in_the_model(
    tmp_path: Path, family: str, padding: int
) -> None:
    folder = save_sentence_transformer(tmp_path, family)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "pad_token_id": padding})
    said = Choices(attention=Attention.BIDIRECTIONAL, max_tokens=32)
    with TorchEncoder.from_pretrained(folder, choices=said) as encoder:
        for ids in ([10, 11, 1, 12, 3, 13], [1, 10, 11], [3, 3, 12], [12, 3, 1]):
            row = torch.tensor([ids])
            backbone, mask = encoder.model.backbone, torch.ones_like(row)
            theirs = backbone(input_ids=row, attention_mask=mask).last_hidden_state
            torch.testing.assert_close(encoder.model.states(row, mask)[0][0], theirs)
            # And padding, which the mask tells from the word; Nystromformer's landmarks see it.
            for sides in ((4, 0), (0, 4)) if family != "nystromformer" else ():
                wide = torch.nn.functional.pad(row, sides, value=padding)
                shown = torch.nn.functional.pad(mask, sides)
                states = encoder.model.states(wide, shown)[0][0][shown.bool()]
                torch.testing.assert_close(states[None], theirs)


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("xmod", 512), ("data2vec-text", 512), ("nystromformer", 514), ("bert", 514), (None, 514)],
)
def test_positions_that_begin_late_leave_fewer_for_text(kind: str | None, longest: int) -> None:
    assert longest_text(kind, 1, 514) == longest


def test_a_model_that_counts_in_a_way_of_its_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_sentence_transformer(tmp_path, "bert")
    with monkeypatch.context() as patched:
        patched.setattr(BertEmbeddings, "forward", counting_from(7, BertEmbeddings.forward))
        with pytest.raises(RecipeError, match="positions neither from 0 nor from 1"):
            TorchEncoder.from_pretrained(folder)
        patched.undo()
    TorchEncoder.from_pretrained(folder).close()


def test_a_model_that_is_told_no_positions_is_not_tried(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path, "bloom", pooling="lasttoken")
    with TorchEncoder.from_pretrained(folder, choices=Choices(max_tokens=32)) as encoder:
        assert not encoder.model.takes_positions


def test_a_configuration_that_transformers_refuses_is_a_recipe_error(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path, "phi3", pooling="lasttoken")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_parameters"] = {**config["rope_parameters"], **DYNAMIC}
    write_json(folder / "config.json", config)
    with pytest.raises(RecipeError, match="does not load as a Transformers model"):
        TorchEncoder.from_pretrained(folder)


@pytest.mark.parametrize("rope", [LONGROPE, DYNAMIC], ids=["longrope", "dynamic"])
def test_angles_that_change_with_a_batch_are_refused_beyond_their_limit(
    tmp_path: Path, rope: dict[str, object]
) -> None:
    folder = stretched(tmp_path, rope)
    with pytest.raises(RecipeError, match=f"pass max_tokens={LONGEST} or less, got 65"):
        TorchEncoder.from_pretrained(folder, choices=Choices(max_tokens=LONGEST + 1))


@pytest.mark.parametrize(
    "rope",
    [LONGROPE, pytest.param(DYNAMIC, marks=pytest.mark.slow)],
    ids=["longrope", "dynamic"],
)
def test_angles_that_change_with_a_batch_are_traced_as_those_of_short_texts(
    tmp_path: Path, rope: dict[str, object]
) -> None:
    folder = stretched(tmp_path / "model", rope)
    said = Choices(max_tokens=LONGEST, pooling=Pooling.LAST)
    encoder = TorchEncoder.from_pretrained(folder, choices=said)
    ids = torch.arange(10, 19)[None]
    ours = encoder.model.states(ids, torch.ones_like(ids))[0][0]
    rotary = encoder.model.backbone.get_submodule("rotary_emb")
    vars(rotary)["rope_type"] = rope["rope_type"]  # as Transformers left it
    torch.testing.assert_close(encoder.model.backbone(input_ids=ids).last_hidden_state, ours)
    vars(rotary)["rope_type"] = "default"
    trace(encoder.model, tmp_path / "model.onnx")
    encoder.close()
