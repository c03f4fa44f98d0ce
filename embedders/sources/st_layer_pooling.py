"""Read sentence-transformers' ``WeightedLayerPooling``: learnt weights of a model's layers.

It averages token states over layers, ``sum_l w_l H_l / sum_l w_l`` from ``layer_start`` on, before
they are pooled. Every pooling but the maximum is linear in the states, so that averaging pooled
layers, as :class:`LayerMix` does, gives the same vector.
"""

from __future__ import annotations

from pathlib import Path

from .. import json_records
from ..errors import RecipeError
from ..recipe.enums import Pooling
from ..recipe.layer_mix import LayerMix
from .choices import Choices
from .weight_files import read_safetensors


def weighted_layers(folder: Path, path: str) -> Choices:
    """Return the layer mix of the module in ``folder / path``.

    Raises:
        RecipeError: Settings or weights are missing or do not fit each other, a weight is not
            positive, or the model does not output its hidden states, so that sentence-transformers
            ignores the module.
        MissingExtra: safetensors is not installed.
    """
    home = folder / path
    whole = json_records.read_object(folder / "config.json", error=RecipeError)
    if whole.get("output_hidden_states") is not True:
        raise RecipeError(
            f"{folder} has a WeightedLayerPooling, but no output_hidden_states: "
            "true, without which sentence-transformers ignores the module; add that, or take "
            "the module out of modules.json"
        )
    settings = json_records.read_object(home / "config.json", error=RecipeError)
    start, count = settings.get("layer_start"), settings.get("num_hidden_layers")
    if not isinstance(start, int) or not isinstance(count, int) or not 0 <= start <= count:
        raise RecipeError(f"{home / 'config.json'} lacks a layer_start or num_hidden_layers")
    file = home / "model.safetensors"
    if not file.is_file():
        raise RecipeError(
            f"{file} is missing; save the model again with sentence-transformers, which writes it"
        )
    stored = read_safetensors(file)
    weights = tuple(float(weight) for weight in stored.get("layer_weights", ()))
    if len(weights) != count + 1 - start:
        raise RecipeError(
            f"{file} holds {len(weights)} weights for the layers {start} to {count}; export the "
            "module again"
        )
    layers = tuple(range(start, count + 1))
    return Choices(mix=LayerMix(layers=layers, unit=False, weights=weights))


def check_linear(choices: Choices) -> None:
    """Refuse a pooling that does not commute with averaging.

    Raises:
        RecipeError: The pooling is the maximum.
    """
    if choices.mix is not None and choices.pooling is Pooling.MAX:
        raise RecipeError(
            "the maximum over weighted layers is not the average of their maxima; decant supports "
            "WeightedLayerPooling with every pooling but max"
        )
