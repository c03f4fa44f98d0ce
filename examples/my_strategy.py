"""Pool in a way of your own, in one file: a strategy that is exported and certified like ours.

The strategy asks a causal model for a title and averages its last two layers at the last token. The
model is a tiny Llama with random weights, made here so that nothing is downloaded; a real folder
or hub id takes its place.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModel

from decant.embedders import Choices, LayerMix, ModelSize, Pooling, Role, Strategy, load
from decant.export import export


def last_two(shape: ModelSize) -> Choices:
    """Choose for a model of any depth."""
    title = 'Passage: "{text}"\nA good title for this passage is "'
    return Choices(
        query_prompt=title,
        passage_prompt=title,
        open_end=True,
        pooling=Pooling.LAST,
        mix=LayerMix(layers=(shape.layers, shape.layers - 1)),
    )


TITLE = Strategy(
    name="title",
    purpose="what a title of the passage would begin with",
    choose=last_two,
    causal=True,
    adds="a prompt",
)


def make_model(folder: Path) -> None:
    """Write a tiny model with random weights as a Transformers folder."""
    letters = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(letters),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    """Export with the strategy, and embed."""
    with tempfile.TemporaryDirectory() as place:
        model, bundle = Path(place) / "model", Path(place) / "titles"
        make_model(model)
        certificate = export(model, bundle, strategy=TITLE)
        print(f"worst cosine against PyTorch: {certificate.entries[0].worst_cosine:.6f}")
        with load(bundle) as encoder:
            vectors = encoder.encode(["Bread rises because of yeast."], role=Role.PASSAGE)
        print(f"{encoder.recipe.passage_prompt.template!r} gave {vectors.dense.shape}")


if __name__ == "__main__":
    main()
