"""A bundle is a folder of sentence-transformers, and a model that it saved is a bundle."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize

from decant.embedders import (
    Bundle,
    BundleError,
    ExecutionOptions,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
    load,
)
from decant.embedders.onnx.tuning_file import TUNING
from decant.export import convert
from decant.integrations.sentence_transformers import BundleModule
from models import write_json
from sentence_models import TEXTS, expected, opened, same


def test_a_saved_model_is_a_bundle_and_a_model(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (bundle / TUNING).write_text('{"format": 1, "entries": []}', encoding="utf-8")
    model, saved = opened(bundle), tmp_path / "saved"
    model.truncate_dim = 8
    model.save(str(saved))
    assert (saved / TUNING).is_file()
    again = opened(saved)
    same(again.encode_query(TEXTS), expected(tiny_bundle, TEXTS, Role.QUERY)[:, :8])
    same(expected(saved, TEXTS), expected(tiny_bundle, TEXTS))
    again.save(str(tmp_path / "thrice"))
    same(expected(tmp_path / "thrice", TEXTS), expected(tiny_bundle, TEXTS))
    model.save(str(bundle))  # over the one that it reads
    same(expected(bundle, TEXTS), expected(tiny_bundle, TEXTS))
    assert opened(bundle).truncate_dim == 8


def test_modules_may_stand_behind_the_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    module = BundleModule(load(tiny_bundle, provider="cpu", precision="fp32"))
    model = SentenceTransformer(modules=[module, Normalize()])
    model.save(str(tmp_path / "saved"))
    again = opened(tmp_path / "saved")
    assert [type(one) for one in again] == [BundleModule, Normalize]
    same(again.encode(TEXTS), expected(tiny_bundle, TEXTS))
    convert(tmp_path / "saved", "w8")  # leaves sentence-transformers' own files alone
    assert len(opened(tmp_path / "saved")) == 2


def test_vectors_that_are_cut_are_not_saved_whole(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cuts them to 8"):
        opened(tiny_bundle, dim=8, allow_any_dim=True).save(str(tmp_path / "saved"))


def test_another_process_opens_the_bundle_again(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    convert(bundle, "int8")
    runtime = ExecutionOptions(workers=1, threads=1)
    with load(bundle, precision="int8", dim=8, allow_any_dim=True, runtime=runtime) as encoder:
        again = pickle.loads(pickle.dumps(BundleModule(encoder)))
        assert repr(again.encoder) == repr(encoder)
        assert again.encoder.runtime == encoder.runtime
        wanted = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    same(SentenceTransformer(modules=[again]).encode(TEXTS), wanted)


def test_a_damaged_bundle_does_not_open(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with (bundle / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=r"tokenizer\.json was altered or damaged"):
        opened(bundle)


def test_the_files_are_part_of_the_bundle(tiny_bundle: Path) -> None:
    files = Bundle.open(tiny_bundle).manifest.files
    assert {"modules.json", "config_sentence_transformers.json"} <= files.keys()
    said = json.loads((tiny_bundle / "config_sentence_transformers.json").read_text("utf-8"))
    assert said["default_prompt_name"] == "document"


def test_an_older_bundle_opens_and_gets_them_with_its_next_precision(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((bundle / "decant.json").read_text("utf-8"))
    for name in ("modules.json", "config_sentence_transformers.json"):
        (bundle / name).unlink()
        del manifest["files"][name]
    write_json(bundle / "decant.json", manifest)
    before = expected(bundle, TEXTS)
    convert(bundle, "w8")
    assert "modules.json" in Bundle.open(bundle).manifest.files
    same(opened(bundle, precision="fp32").encode(TEXTS), before)


def test_a_bundle_is_no_model_to_export(tiny_bundle: Path) -> None:
    for refused in (find_model, TorchEncoder.from_pretrained):
        with pytest.raises(RecipeError, match="is a bundle"):
            refused(tiny_bundle)


def test_training_says_that_there_is_nothing_to_train(tiny_bundle: Path) -> None:
    model = opened(tiny_bundle)
    features = model.preprocess(TEXTS)
    same(model(features)["sentence_embedding"].numpy(), expected(tiny_bundle, TEXTS))
    assert list(model.parameters()) == []
    with pytest.raises(RecipeError, match="without parameters to train"):
        model.train()(features)
