"""Export a causal decoder that no registry knows, and see its certificate.

The model is a two-layer Qwen3 with random weights, made here so that nothing is downloaded; a real
folder or hub id takes its place. What its files do not say (pooling, EOS, prompts), ``Choices``
says.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModel

from decant.embedders import Choices, Pooling, Role, load
from decant.export import export


def make_model(folder: Path) -> None:
    """Write a tiny model with random weights as a Transformers folder."""
    letters = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    config = AutoConfig.for_model(
        "qwen3",
        vocab_size=len(letters),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    """Export, show the certificate, embed."""
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place) / "model")
        choices = Choices(
            pooling=Pooling.LAST,
            eos="<|endoftext|>",
            query_prompt="Instruct: Find the passage that answers the question\nQuery:{text}",
        )
        certificate = export(Path(place) / "model", Path(place) / "bundle", choices=choices)
        for check in certificate.entries[0].checks:
            print(f"{check.name:26} {check.cases:4} cases  worst cosine {check.worst_cosine:.7f}")
        with load(Path(place) / "bundle", provider="cpu") as encoder:
            print(encoder, encoder.encode(["What is a PEP?"], role=Role.QUERY).dense.shape)


if __name__ == "__main__":
    main()
