"""Public reports of other tools about models and graphs that no other file replays.

The others carry the report's id in the docstring of the test that holds for it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from decant.embedders import Attention, Choices, Pooling, Role, TorchEncoder, load
from decant.export import convert, export
from models import LONGEST, save_model, save_sentence_transformer, write_json


def test_an_end_that_the_tokenizer_leaves_out_is_added_and_kept_through_truncation(
    tmp_path: Path,
) -> None:
    """``add_eos_token`` (embeddings-benchmark/mteb#5237, UKPLab/sentence-transformers#2591)."""
    folder = save_model(tmp_path / "tiny", "mistral", ending="<s> $A")
    settings = {"add_eos_token": True, "eos_token": "</s>", "model_max_length": LONGEST}
    write_json(folder / "tokenizer_config.json", settings)
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = words.token_to_id("</s>")
    plain = AutoModel.from_pretrained(folder).eval()
    said = Choices(pooling=Pooling.LAST, attention=Attention.CAUSAL)
    with TorchEncoder.from_pretrained(folder, choices=said) as encoder:
        for text in ("what the wind wants", "what the wind wants " * 40):
            ids = [*words.encode(text).ids[: LONGEST - 1], end]
            with torch.inference_mode():
                last = plain(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
            found = encoder.encode([text], role=Role.PASSAGE).dense[0]
            assert found @ torch.nn.functional.normalize(last, dim=-1).numpy() > 0.999999


def test_mixed_lengths_with_sliding_windows_give_what_each_text_gives_alone(tmp_path: Path) -> None:
    """Gemma 3 gave NaN for batches of mixed lengths (huggingface/transformers#45491)."""
    folder = save_sentence_transformer(tmp_path / "tiny", "gemma3_text", pooling="mean")
    texts = ["a", "what the winds want", "the keeper of the lighthouse " * 9, "x y"]
    for attention in Attention:
        with TorchEncoder.from_pretrained(
            folder, choices=Choices(attention=attention, pooling=Pooling.MEAN)
        ) as encoder:
            together = encoder.encode(texts, role=Role.PASSAGE).dense
            alone = [encoder.encode([text], role=Role.PASSAGE).dense for text in texts]
        assert np.isfinite(together).all()
        assert (together * np.concatenate(alone)).sum(axis=1).min() > 0.99999


def test_int8_vectors_do_not_depend_on_the_batch(tiny_bundle: Path, tmp_path: Path) -> None:
    """Others' dynamic int8 do (microsoft/onnxruntime#10111, Anush008/fastembed-rs#107)."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    convert(bundle, "int8")
    others = [f"{number} ships in the harbour" for number in range(15)]
    with load(bundle, provider="cpu", precision="int8") as encoder:
        alone = encoder.encode(["the wind"], role=Role.QUERY).dense[0]
        for count in (3, 15):
            crowd = encoder.encode(["the wind", *others[:count]], role=Role.QUERY).dense[0]
            assert alone @ crowd > 0.99999


def test_a_model_folder_of_links_exports_and_no_link_is_copied(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """The hub's cache holds symbolic links (microsoft/onnxruntime#27353)."""
    linked = tmp_path / "snapshot"
    for path in tiny_folder.rglob("*"):
        if path.is_file():
            link = linked / path.relative_to(tiny_folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    export(linked, tmp_path / "bundle")
    assert not [path for path in (tmp_path / "bundle").rglob("*") if path.is_symlink()]
