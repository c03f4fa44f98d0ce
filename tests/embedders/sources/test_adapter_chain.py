"""LoRA adapters as LLM2Vec publishes them: merged in order, hashed, and refused if they misfit."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM

from decant.embedders import (
    Attention,
    Choices,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
)
from decant.embedders.onnx import Session
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export
from models import save_model, save_sentence_transformer, write_json

RANK, ALPHA = 4, 8
SAID = Choices(attention=Attention.BIDIRECTIONAL, pooling=Pooling.MEAN)
ROW = Tokens(ids=(9, 30, 41, 17, 52), counted=0)


def save_adapter(base: Path, folder: Path, *, seed: int, causal_lm: bool = False) -> Path:
    """Write a seeded adapter of two projections, trained on ``base`` as it were."""
    torch.manual_seed(seed)
    kind = AutoModelForCausalLM if causal_lm else AutoModel
    settings = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "down_proj"], init_lora_weights=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        peft.get_peft_model(kind.from_pretrained(base), settings).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A base model, a first adapter, and a second."""
    root = tmp_path_factory.mktemp("llm2vec")
    base = save_model(root / "base", "mistral")
    first = save_adapter(base, root / "LLM2Vec-mntp", seed=1)
    return base, first, save_adapter(base, root / "LLM2Vec-mntp-supervised", seed=2)


def merged_by_hand(base: Path, adapters: list[Path], folder: Path) -> Path:
    """Write W + (alpha / r) B A for every adapted matrix, without peft."""
    save_model(folder, "mistral")
    weights = load_file(base / "model.safetensors")
    for adapter in adapters:
        parts = load_file(adapter / "adapter_model.safetensors")
        for name in [name for name in parts if name.endswith("lora_A.weight")]:
            target = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
            product = parts[name.replace("lora_A", "lora_B")] @ parts[name]
            weights[target] = weights[target] + ALPHA / RANK * product
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def vector(encoder: TorchEncoder) -> np.ndarray:
    found = encoder.run(pad([ROW], pad_id=0))
    encoder.close()
    return found


@pytest.mark.slow
def test_adapters_are_merged_in_order_and_the_graph_holds_the_sum(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    base, *adapters = folders
    expected = vector(
        TorchEncoder.from_pretrained(
            merged_by_hand(base, adapters, tmp_path / "by-hand"), choices=SAID
        )
    )
    plain = vector(TorchEncoder.from_pretrained(base, choices=SAID))
    source = find_model(base, adapters=adapters)
    export(source, tmp_path / "bundle", choices=SAID)
    session = Session(tmp_path / "bundle" / "onnx" / "model.onnx", "CPUExecutionProvider")
    graph = session.run(pad([ROW], pad_id=0))
    encoder = TorchEncoder.from_pretrained(source, choices=SAID)
    assert type(encoder.model.backbone).__name__ == "MistralModel"
    found = vector(encoder)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(graph, expected, atol=1e-5)
    assert (plain * expected).sum() < 0.999


def test_name_and_revision_follow_all_folders_and_their_order(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    base, first, second = folders
    both = find_model(base, adapters=[first, second])
    assert both.base == "LLM2Vec-mntp-supervised"
    assert find_model(base, adapters=[first], name="mine").base == "mine"
    louder = save_adapter(base, tmp_path / "other", seed=2)
    settings = json.loads((louder / "adapter_config.json").read_text(encoding="utf-8"))
    (louder / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 16}), "utf-8")
    sources = [
        both,
        find_model(base),
        find_model(base, adapters=[first]),
        find_model(base, adapters=[second, first]),
        find_model(base, adapters=[first, louder]),
    ]
    assert len({source.revision for source in sources}) == len(sources)
    assert both.revision == find_model(base, adapters=[first, second]).revision


def test_an_adapter_of_another_class_is_refused_instead_of_ignored(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    """An adapter is never passed over silently (UKPLab/sentence-transformers PR 3865)."""
    base = folders[0]
    wrong = save_adapter(base, tmp_path / "wrong", seed=3, causal_lm=True)
    with pytest.raises(RecipeError, match="does not fit the model"):
        TorchEncoder.from_pretrained(find_model(base, adapters=[wrong]), choices=SAID)


def test_an_adapter_of_another_width_is_refused(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    encoder = save_sentence_transformer(tmp_path / "bert", "bert")
    with pytest.raises(RecipeError, match="does not load as a LoRA adapter"):
        TorchEncoder.from_pretrained(find_model(encoder, adapters=[folders[1]]))


def test_a_folder_that_is_no_adapter_is_refused(folders: tuple[Path, Path, Path]) -> None:
    with pytest.raises(RecipeError, match=r"holds no adapter_config\.json"):
        find_model(folders[0], adapters=[folders[0]])


@pytest.mark.parametrize("configured", [False, True])
def test_an_adapter_alone_names_its_base_and_how_both_are_passed(
    tmp_path: Path, folders: tuple[Path, Path, Path], *, configured: bool
) -> None:
    """A folder with an adapter alone (UKPLab/sentence-transformers#2979)."""
    adapter = tmp_path / "mntp"
    shutil.copytree(folders[1], adapter)
    if configured:  # as LLM2Vec publishes them
        shutil.copy(folders[0] / "config.json", adapter)
    for adapters in ([], [adapter]):
        with pytest.raises(RecipeError, match=r"an adapter \(peft\) of") as told:
            find_model(adapter, adapters=adapters)
        assert f"of {folders[0]}, and no weights" in str(told.value)
        assert f"find_model('{folders[0]}', adapters=['{adapter}'])" in str(told.value)
        assert f"decant export {folders[0]} TARGET --adapter {adapter}" in str(told.value)
    write_json(adapter / "adapter_config.json", {"base_model_name_or_path": None})
    with pytest.raises(RecipeError, match=r"does not name, .*decant export BASE TARGET"):
        find_model(adapter)


def test_a_whole_model_beside_an_adapter_is_a_model(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    both = tmp_path / "both"
    shutil.copytree(folders[1], both)
    shutil.copytree(folders[0], both, dirs_exist_ok=True)
    assert find_model(both).base == "both"


def test_an_adapter_beside_its_model_is_used(
    tmp_path: Path, folders: tuple[Path, Path, Path]
) -> None:
    """Not passed over in silence (UKPLab/sentence-transformers#3247, PR 3865)."""
    base, adapter, _ = folders
    both = tmp_path / "both"
    shutil.copytree(adapter, both)
    shutil.copytree(base, both, dirs_exist_ok=True)
    rows = []
    for source in (find_model(both), find_model(base, adapters=[adapter]), find_model(base)):
        with TorchEncoder.from_pretrained(source, choices=SAID) as encoder:
            rows.append(encoder.encode(["what the wind wants"], role=Role.QUERY).dense[0])
    beside, passed, without = rows
    assert beside @ passed > 0.99999
    assert beside @ without < 0.9999
