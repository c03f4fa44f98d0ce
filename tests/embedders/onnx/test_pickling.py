"""An encoder of a bundle reaches another process by opening the bundle there again."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest

from decant.embedders import (
    BundleError,
    ExecutionOptions,
    HashEncoder,
    OnnxEncoder,
    Prompt,
    Role,
    TorchEncoder,
    load,
)
from decant.embedders.bundle import read_manifest
from decant.embedders.json_records import to_json
from decant.integrations.langchain import DecantEmbeddings
from decant.integrations.llama_index import DecantEmbedding

TEXTS = ["what wind wants", "the water"]


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Iterator[OnnxEncoder]:
    runtime = ExecutionOptions(workers=2, threads=1, token_budget=77)
    with load(tiny_bundle, provider="cpu", dim=8, allow_any_dim=True, runtime=runtime) as opened:
        yield opened


def rows(encoder: OnnxEncoder | HashEncoder) -> list[list[float]]:
    found: list[list[float]] = encoder.encode(TEXTS, role=Role.QUERY).dense.tolist()
    return found


def test_it_opens_again_with_the_same_settings(encoder: OnnxEncoder) -> None:
    """Sessions of ONNX Runtime do not pickle (microsoft/onnxruntime#643)."""
    with pickle.loads(pickle.dumps(encoder)) as again:
        assert again is not encoder
        assert (again.provider, again.precision) == (encoder.provider, encoder.precision)
        assert (again.dim, again.recipe) == (8, encoder.recipe)
        assert again.runtime == encoder.runtime
        assert rows(again) == rows(encoder)


def test_a_spawned_pool_encodes_as_its_parent(encoder: OnnxEncoder) -> None:
    # What the other process calls must be found there, and modules of tests are not.
    encode = methodcaller("encode", TEXTS, role=Role.QUERY)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(encode, encoder).result(timeout=120)
    np.testing.assert_allclose(found.dense, rows(encoder), atol=1e-6)


def test_a_relative_path_is_found_from_another_folder(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle.parent)
    with load(tiny_bundle.name, provider="cpu") as opened:
        stored = pickle.dumps(opened)
    monkeypatch.chdir(tmp_path)
    with pickle.loads(stored) as again:
        assert again.bundle.folder.samefile(tiny_bundle)


def test_another_model_at_the_same_place_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with load(tmp_path / "bundle", provider="cpu") as opened:
        stored = pickle.dumps(opened)
    manifest = read_manifest(tmp_path / "bundle")
    recipe = replace(manifest.recipe, base="another")
    other = replace(manifest, recipe=recipe, digest=recipe.digest())
    (tmp_path / "bundle" / "decant.json").write_text(to_json(other), encoding="utf-8")
    with pytest.raises(BundleError, match=r"the encoder that was pickled ran recipe"):
        pickle.loads(stored)
    shutil.rmtree(tmp_path / "bundle")
    with pytest.raises(BundleError, match="does not exist"):
        pickle.loads(stored)


def test_embeddings_around_a_loaded_encoder_are_pickled_too(encoder: OnnxEncoder) -> None:
    chain = pickle.loads(pickle.dumps(DecantEmbeddings(encoder=encoder)))
    index = pickle.loads(pickle.dumps(DecantEmbedding(encoder=encoder, embed_batch_size=7)))
    found = [
        embedded.embed_query(TEXTS[0]) for embedded in (chain, DecantEmbeddings(encoder=encoder))
    ]
    assert found[0] == found[1] == index.get_query_embedding(TEXTS[0])
    assert chain.encoder.runtime == index.encoder.runtime == encoder.runtime
    assert index.embed_batch_size == 7


def test_a_model_in_memory_says_what_to_send_instead(tiny_folder: Path) -> None:
    with TorchEncoder.from_pretrained(tiny_folder) as encoder:
        with pytest.raises(TypeError, match=r"TorchEncoder of .* cannot be pickled.*load\(\)"):
            pickle.dumps(encoder)
        assert copy.deepcopy(encoder) is copy.copy(encoder) is encoder


def test_a_hash_encoder_is_made_anew() -> None:
    encoder = HashEncoder(6, query_prompt=Prompt.parse("q: {text}"), max_tokens=9, sparse=True)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.recipe == encoder.recipe
    assert rows(again) == rows(encoder)
    assert copy.deepcopy(encoder).recipe == encoder.recipe
