"""Read ``modules.json``: the modules of sentence-transformers that make a vector.

Supported are a Transformer, perhaps weighted layers, one Pooling, and behind it any Dense layers
and Normalize, each on the pooled vector. Other settings of a module are refused by name, because
ignoring them would give other vectors than sentence-transformers does.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from .. import json_records
from ..errors import RecipeError
from ..recipe.dense import Dense
from ..recipe.enums import Activation, PooledTokens, Pooling
from .choices import Choices
from .config_files import Object, settings
from .st_layer_pooling import check_linear, weighted_layers

_POOLINGS = {pooling.sentence_transformers_name: pooling for pooling in Pooling}
_ACTIVATIONS = {
    "Identity": Activation.IDENTITY,
    "Tanh": Activation.TANH,
    "ReLU": Activation.RELU,
    "GELU": Activation.GELU,
}
# The keys that Dense of sentence-transformers 6 writes; up to 5 it wrote the first four.
_DENSE_KEYS = (
    "in_features",
    "out_features",
    "bias",
    "activation_function",
    "module_input_name",
    "module_output_name",
    "use_residual",
)
_OURS = "sentence_transformers."
_POOLED = "sentence_embedding"


def sentence_modules(folder: Path) -> Choices:
    """Return the choices in a folder's modules; without Normalize vectors keep their length.

    Raises:
        RecipeError: A file is damaged, or names a module, an order or a setting that decant does
            not support.
    """
    listed = json_records.read_json(folder / "modules.json", error=RecipeError)
    if not isinstance(listed, list):
        raise RecipeError(f"{folder / 'modules.json'} should hold a list")
    found = Choices(normalize=False)
    head: list[Dense] = []
    for entry in cast("list[Object]", listed):
        if not isinstance(entry, dict):
            raise RecipeError(f"{folder / 'modules.json'} should hold a list of objects")
        kind, path = str(entry.get("type")), str(entry.get("path", ""))
        name = kind.rpartition(".")[2]
        _check_order(folder, kind, found, dense=bool(head))
        match name:
            case "Transformer" | "Dropout":
                pass
            case "Pooling":
                found = _pooling(folder / path / "config.json").over(found)
            case "WeightedLayerPooling":
                found = weighted_layers(folder, path).over(found)
            case "Dense":
                head.append(_dense(folder, path))
            case "Normalize":
                file = folder / path / "config.json"
                _check_names(settings(file, required=False), file)
                found = Choices(normalize=True).over(found)
            case _:
                raise RecipeError(
                    f"{folder}: modules.json names a {name} module, which decant does not support; "
                    "supported are Transformer, WeightedLayerPooling, Pooling, Dense and "
                    "Normalize"
                )
    check_linear(found)
    return Choices(head=tuple(head)).over(found)


def _check_order(folder: Path, kind: str, before: Choices, *, dense: bool) -> None:
    """Refuse a module in a place where its input would differ from decant's."""
    name = kind.rpartition(".")[2]
    if before.normalize or (dense and name == "Pooling"):
        last = "Normalize" if before.normalize else "Dense"
        raise RecipeError(f"{folder}: a {name} module after {last} is not supported")
    if name == "Dense" and (before.pooling is None or not kind.startswith(_OURS)):
        place = "with no Pooling before it" if before.pooling is None else "behind Pooling"
        raise RecipeError(
            f"{folder}: modules.json names {kind} {place}; decant supports sentence-transformers' "
            "own Dense, and only behind Pooling, on the pooled vector"
        )


def _pooling(path: Path) -> Choices:
    config = settings(path)
    mode = config.get("pooling_mode")
    modes = mode if isinstance(mode, list) else [] if mode is None else [mode]
    if mode is None:
        modes = [
            name
            for name, pooling in _POOLINGS.items()
            if config.get(pooling.sentence_transformers_switch) is True
        ]
    names = [str(item) for item in modes]
    if len(names) != 1 or names[0] not in _POOLINGS:
        raise RecipeError(
            f"{path} names the pooling {names}; decant supports exactly one of "
            f"{', '.join(_POOLINGS)}"
        )
    span = PooledTokens.TEXT if config.get("include_prompt") is False else PooledTokens.ALL
    return Choices(pooling=_POOLINGS[names[0]], span=span)


def _dense(folder: Path, path: str) -> Dense:
    file = folder / path / "config.json"
    config = settings(file)
    if unknown := sorted(set(config) - set(_DENSE_KEYS)):
        raise RecipeError(
            f"{file} holds {', '.join(map(repr, unknown))}, unknown to sentence-transformers' "
            f"Dense; known are {', '.join(_DENSE_KEYS)}. Take it out if it changes no vector"
        )
    _check_names(config, file)
    if config.get("use_residual", False) is not False:
        raise RecipeError(
            f"{file} has use_residual {config['use_residual']!r}: decant computes "
            "activation(W x + b) alone, without adding its input"
        )
    inputs, outputs = config.get("in_features"), config.get("out_features")
    if not isinstance(inputs, int) or not isinstance(outputs, int):
        raise RecipeError(f"{file} lacks in_features or out_features")
    return Dense(
        path=path,
        inputs=inputs,
        outputs=outputs,
        bias=config.get("bias", True) is True,
        activation=_activation(config, file),
    )


def _activation(config: Object, file: Path) -> Activation:
    """Return a Dense module's activation; the default is Tanh, as in sentence-transformers."""
    said = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    package, _, name = str(said).rpartition(".")
    # For other packages' names, sentence-transformers takes Tanh unless it trusts the folder.
    if name not in _ACTIVATIONS or not f"{package}.".startswith("torch."):
        raise RecipeError(
            f"{file}: activation {said!r} is none of torch's {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _check_names(config: Object, file: Path) -> None:
    """Refuse a module that reads or writes anything but the pooled vector."""
    for key in ("module_input_name", "module_output_name"):
        said = config.get(key)
        if said not in (None, _POOLED):
            raise RecipeError(
                f"{file} has {key} {said!r}; decant supports modules behind Pooling that read and "
                f"write {_POOLED!r} alone"
            )
