"""A bundle is believed only after every check, and is never half there."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from decant.embedders import Bundle, BundleError, ParityError, ProviderError, Role, load
from decant.embedders.bundle import fresh_folder
from decant.embedders.files import write_atomically
from models import tokenizer


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def edit(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**data, **changes}), encoding="utf-8")


def flip_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "tokenizer.json", "reference.npz"])
def test_one_flipped_bit_is_found_and_named(bundle: Path, name: str) -> None:
    flip_a_byte(bundle / name)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "onnx" / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"onnx/model\.onnx is missing"):
        load(bundle)


def test_a_newer_format_is_refused_by_its_number(bundle: Path) -> None:
    edit(bundle / "decant.json", format=7, something_new=1)
    with pytest.raises(BundleError, match=r"format 7.*upgrade"):
        load(bundle)


def test_an_unknown_key_is_refused_by_its_name(bundle: Path) -> None:
    edit(bundle / "decant.json", something_new=1)
    with pytest.raises(BundleError, match="something_new"):
        load(bundle)


def test_an_edited_recipe_is_refused(bundle: Path) -> None:
    recipe = json.loads((bundle / "decant.json").read_text("utf-8"))["recipe"]
    edit(bundle / "decant.json", recipe={**recipe, "pooling": "last"})
    with pytest.raises(BundleError, match="was edited"):
        load(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "one"}'])
def test_a_damaged_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / "decant.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"decant\.json"):
        load(bundle)


def test_a_tokenizer_that_gives_other_ids_is_refused(bundle: Path) -> None:
    changed = tokenizer("<s> $A")  # no </s> at the end
    changed.save(str(bundle / "tokenizer.json"))
    with pytest.raises(BundleError, match="export it again"):
        Bundle.unchecked(bundle).tokenizer()


def test_what_is_no_bundle_is_told_how_to_become_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"does not exist.*decant export"):
        load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="not a bundle"):
        load(tmp_path)


def test_a_bundle_without_a_certificate_for_the_provider_is_refused(bundle: Path) -> None:
    edit(bundle / "certificate.json", entries=[])
    with pytest.raises(ParityError, match="decant verify"):
        load(bundle)
    with load(bundle, allow_uncertified=True) as encoder:
        assert encoder.encode(["a"], role=Role.QUERY).dense.shape == (1, 32)


def test_a_failed_certificate_is_refused_with_its_reason(bundle: Path) -> None:
    stored = json.loads((bundle / "certificate.json").read_text("utf-8"))
    stored["entries"][0]["checks"][2].update(passed=False, finding="left is not right")
    edit(bundle / "certificate.json", entries=stored["entries"])
    with pytest.raises(ParityError, match="left is not right"):
        load(bundle)


def test_a_certificate_of_another_file_does_not_count(bundle: Path) -> None:
    stored = json.loads((bundle / "certificate.json").read_text("utf-8"))
    stored["entries"][0]["sha256"] = "0" * 64
    edit(bundle / "certificate.json", entries=stored["entries"])
    with pytest.raises(ParityError, match="not certified"):
        load(bundle)


def test_a_provider_that_is_not_installed_is_refused_with_advice(bundle: Path) -> None:
    with pytest.raises(ProviderError, match=r"MIGraphXExecutionProvider is not installed"):
        load(bundle, provider="migraphx")
    with pytest.raises(ProviderError, match="no provider is called 'gpu'"):
        load(bundle, provider="gpu")


def test_a_precision_that_is_not_there_is_refused(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no fp16 graph, only fp32"):
        load(bundle, precision="fp16")
    with pytest.raises(BundleError, match="no precision is called"):
        load(bundle, precision="fp7")


def test_auto_says_what_it_took(bundle: Path) -> None:
    with load(bundle) as encoder:
        assert encoder.provider in repr(encoder)
        assert encoder.provider.endswith("ExecutionProvider")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def crash() -> None:
        with fresh_folder(tmp_path / "new") as making:
            (making / "half").write_text("x")
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert list(tmp_path.iterdir()) == []
    with fresh_folder(tmp_path / "new") as making:
        (making / "decant.json").write_text("x")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="disk is full"), fresh_folder(tmp_path / "new"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_is_kept(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(BundleError, match="is no bundle"),
        fresh_folder(tmp_path / "mine", replace=True),
    ):
        pass
    with pytest.raises(BundleError, match="replace"), fresh_folder(bundle):
        pass
    assert (tmp_path / "mine" / "thesis.txt").exists()
    with fresh_folder(bundle, replace=True) as making:
        (making / "decant.json").write_text("new")
    assert (bundle / "decant.json").read_text() == "new"
    assert not (bundle / "onnx").exists()


def test_small_files_are_replaced_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "one")
    write_atomically(tmp_path / "file", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "two"
