"""What sentence-transformers' modules say reaches the recipe whole, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from decant.embedders import Activation, Choices, PooledTokens, Pooling, RecipeError, resolve
from folders import folder_with, source
from models import write_json

LEGACY = {
    "pooling_mode_cls_token": Pooling.FIRST,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_max_tokens": Pooling.MAX,
    "pooling_mode_mean_sqrt_len_tokens": Pooling.MEAN_SQRT,
    "pooling_mode_weightedmean_tokens": Pooling.WEIGHTED_MEAN,
    "pooling_mode_lasttoken": Pooling.LAST,
}
CURRENT = ("cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def test_each_pooling_has_its_names_in_the_table() -> None:
    assert {item: item.sentence_transformers_switch for item in LEGACY.values()} == {
        pooling: switch for switch, pooling in LEGACY.items()
    }
    assert set(LEGACY.values()) == set(Pooling)
    assert {pooling.sentence_transformers_name for pooling in Pooling} == set(CURRENT)


@pytest.mark.parametrize("key", LEGACY)
def test_the_boolean_pooling_schema_is_read(tmp_path: Path, key: str) -> None:
    folder = folder_with(tmp_path)
    write_json(folder / "1_Pooling" / "config.json", {**dict.fromkeys(LEGACY, False), key: True})
    assert resolve(source(folder)).pooling is LEGACY[key]


@pytest.mark.parametrize(("name", "pooling"), [*zip(CURRENT, LEGACY.values(), strict=True)])
def test_the_named_pooling_schema_is_read(tmp_path: Path, name: str, pooling: Pooling) -> None:
    folder = folder_with(tmp_path)
    write_json(
        folder / "1_Pooling" / "config.json", {"pooling_mode": name, "include_prompt": False}
    )
    recipe = resolve(source(folder))
    assert recipe.pooling is pooling
    assert recipe.span is PooledTokens.TEXT


@pytest.mark.parametrize(
    "pooling",
    [
        {},
        {"pooling_mode": ["mean", "max"]},
        {"pooling_mode": "attention"},
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
    ],
)
def test_a_pooling_that_is_not_exactly_one_known_is_refused(
    tmp_path: Path, pooling: dict[str, object]
) -> None:
    folder = folder_with(tmp_path)
    write_json(folder / "1_Pooling" / "config.json", pooling)
    with pytest.raises(RecipeError, match="exactly one"):
        resolve(source(folder))


def test_dense_layers_and_normalisation_are_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    dense = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    normalize = {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"}
    write_json(folder / "modules.json", [*modules, dense, normalize])
    write_json(
        folder / "2_Dense" / "config.json",
        {
            "in_features": 32,
            "out_features": 8,
            "bias": False,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    )
    recipe = resolve(source(folder))
    (layer,) = recipe.head
    assert (layer.outputs, layer.bias, layer.activation) == (8, False, Activation.TANH)
    assert recipe.normalize
    assert not resolve(source(folder), Choices(normalize=False)).normalize
    write_json(folder / "modules.json", [*modules, normalize, dense])
    with pytest.raises(RecipeError, match="after Normalize"):
        resolve(source(folder))


def test_a_folder_without_normalize_is_not_normalised(tmp_path: Path) -> None:
    assert not resolve(source(folder_with(tmp_path))).normalize


def test_a_module_that_decant_does_not_build_is_named(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    write_json(folder / "modules.json", [{"path": "", "type": "sentence_transformers.models.LSTM"}])
    with pytest.raises(RecipeError, match="LSTM"):
        resolve(source(folder))


PLAIN: dict[str, object] = {
    "in_features": 32,
    "out_features": 8,
    "bias": True,
    "activation_function": "torch.nn.modules.linear.Identity",
}


def with_modules(folder: Path, *kinds: str, **dense: object) -> Path:
    """Write a folder with these modules behind the Transformer; Dense has these settings more."""
    folder_with(folder)
    listed = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, kind in enumerate(kinds, start=1):
        package = "" if "." in kind else "sentence_transformers.models."
        listed.append({"path": f"{number}_{kind}", "type": f"{package}{kind}"})
        if kind.endswith("Dense"):
            write_json(folder / f"{number}_{kind}" / "config.json", {**PLAIN, **dense})
        if kind == "Pooling":
            write_json(folder / f"{number}_{kind}" / "config.json", {"pooling_mode": "mean"})
    write_json(folder / "modules.json", listed)
    return folder


def test_a_dense_without_an_activation_has_sentence_transformers_own(tmp_path: Path) -> None:
    folder = with_modules(tmp_path, "Pooling", "Dense")
    bare = {name: value for name, value in PLAIN.items() if name != "activation_function"}
    write_json(folder / "2_Dense" / "config.json", bare)
    (layer,) = resolve(source(folder)).head
    assert layer.activation is Activation.TANH
    theirs = Dense(in_features=32, out_features=8).activation_function
    assert type(theirs).__name__.lower() == layer.activation.value


@pytest.mark.parametrize("name", ["my_model.Tanh", "Tanh", "torch.nn.modules.activation.Mish"])
def test_an_activation_that_is_not_one_of_torchs_is_refused(tmp_path: Path, name: str) -> None:
    folder = with_modules(tmp_path, "Pooling", "Dense", activation_function=name)
    with pytest.raises(RecipeError, match=f"{name!r} is none of torch's Identity, Tanh"):
        resolve(source(folder))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"use_residual": True}, "use_residual True"),
        ({"module_input_name": "token_embeddings"}, "module_input_name 'token_embeddings'"),
        ({"module_output_name": "projected"}, "module_output_name 'projected'"),
        ({"scale": 2, "gate": True}, "holds 'gate', 'scale'"),
    ],
)
def test_a_setting_of_dense_that_decant_does_not_build_is_named(
    tmp_path: Path, said: dict[str, object], told: str
) -> None:
    folder = with_modules(tmp_path, "Pooling", "Dense", **said)
    with pytest.raises(RecipeError, match=rf"2_Dense/config\.json .*{told}"):
        resolve(source(folder))


@pytest.mark.parametrize("same", [False, True])
def test_what_sentence_transformers_itself_writes_for_a_plain_dense_is_read(
    tmp_path: Path, *, same: bool
) -> None:
    folder = with_modules(tmp_path, "Pooling", "Dense", "Normalize")
    output = "sentence_embedding" if same else None
    Dense(32, 8, module_output_name=output).save(str(folder / "2_Dense"))
    (folder / "3_Normalize").mkdir()
    Normalize(module_output_name=output).save(str(folder / "3_Normalize"))
    recipe = resolve(source(folder))
    assert [layer.outputs for layer in recipe.head] == [8]
    assert recipe.normalize


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (("Dense", "Pooling"), "with no Pooling before it"),
        (("Dense",), "with no Pooling before it"),
        (("Pooling", "pylate.models.Dense"), r"pylate\.models\.Dense behind Pooling"),
        (("Pooling", "Dense", "Pooling"), "a Pooling module after Dense"),
    ],
)
def test_a_dense_elsewhere_than_behind_pooling_is_refused(
    tmp_path: Path, kinds: tuple[str, ...], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        resolve(source(with_modules(tmp_path, *kinds)))


@pytest.mark.parametrize("key", ["module_input_name", "module_output_name"])
def test_a_normalize_of_other_values_than_the_pooled_ones_is_refused(
    tmp_path: Path, key: str
) -> None:
    folder = with_modules(tmp_path, "Pooling", "Normalize")
    write_json(folder / "2_Normalize" / "config.json", {key: "token_embeddings"})
    with pytest.raises(RecipeError, match=rf"2_Normalize/config\.json has {key}"):
        resolve(source(folder))
