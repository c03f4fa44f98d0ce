"""Write the files with which sentence-transformers loads a trained model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from decant.embedders import Activation, Choices, PooledTokens, Recipe, TextFormat

_ACTIVATIONS = {
    Activation.IDENTITY: "torch.nn.modules.linear.Identity",
    Activation.TANH: "torch.nn.modules.activation.Tanh",
    Activation.RELU: "torch.nn.modules.activation.ReLU",
    Activation.GELU: "torch.nn.modules.activation.GELU",
}


def write_sentence_files(folder: Path, recipe: Recipe, linears: Sequence[nn.Linear]) -> bool:
    """Write dense layers, and sentence-transformers' files if they can express the recipe.

    Args:
        folder: A folder with weights and tokenizer.
        recipe: The recipe of the model.
        linears: The layers of the head, in order.

    Returns:
        Whether sentence-transformers can load the folder.
    """
    for layer, linear in zip(recipe.head, linears, strict=True):
        (folder / layer.path).mkdir(parents=True, exist_ok=True)
        weights = {
            f"linear.{name}": value.contiguous() for name, value in linear.state_dict().items()
        }
        save_file(weights, folder / layer.path / "model.safetensors")
        _write(
            folder / layer.path / "config.json",
            {
                "in_features": layer.inputs,
                "out_features": layer.outputs,
                "bias": layer.bias,
                "activation_function": _ACTIVATIONS[layer.activation],
            },
        )
    if not _plain(recipe):
        return False
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules += [(layer.path, "Dense") for layer in recipe.head]
    if recipe.normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    listed = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (path, kind) in enumerate(modules)
    ]
    _write(folder / "modules.json", listed)
    width = recipe.head[0].inputs if recipe.head else _width(folder)
    (folder / "1_Pooling").mkdir()
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "embedding_dimension": width,
            "pooling_mode": recipe.pooling.sentence_transformers_name,
            "include_prompt": recipe.span is PooledTokens.ALL,
        },
    )
    prompts = {"query": recipe.query_prompt.prefix, "document": recipe.passage_prompt.prefix}
    _write(folder / "config_sentence_transformers.json", {"prompts": prompts})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": recipe.max_tokens})
    return True


def _plain(recipe: Recipe) -> bool:
    """Return whether sentence-transformers' files can express all of a recipe."""
    said = Choices.of(recipe)
    known = Choices(
        attention=recipe.attention,
        pooling=recipe.pooling,
        max_tokens=recipe.max_tokens,
        query_prompt=recipe.query_prompt.prefix + "{text}",
        passage_prompt=recipe.passage_prompt.prefix + "{text}",
        head=recipe.head,
        normalize=recipe.normalize,
        instruction_template=recipe.instruction_template,
        min_dim=recipe.min_dim,
        span=recipe.span,
        layer=-1,
        text_format=TextFormat.VERBATIM,
        ensemble=(),
        token_embeddings=recipe.token_embeddings,
        open_end=False,
    )
    return said == known and recipe.span in (PooledTokens.ALL, PooledTokens.TEXT)


def _width(folder: Path) -> int:
    config: dict[str, int] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config["hidden_size"]


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
