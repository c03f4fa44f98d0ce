"""Weights that are none, damaged or a program are refused in one sentence that names the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import RecipeError, TorchEncoder, find_model, resolve
from decant.embedders.pytorch import load_model
from models import save_embedding_gemma

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n"
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a pointer": (lambda _: POINTER, "is a git-LFS pointer and not the weights.*git lfs pull"),
    "nothing": (lambda _: b"", "is empty; download it again"),
    "a page": (lambda _: b"<!doctype html>\n<p>404", "is a web page.*download it again"),
    "a third": (lambda whole: whole[: len(whole) // 3], "(ends early|damaged).*download it again"),
    "ten bytes": (lambda whole: whole[:10], "(ends|damaged).*download it again"),
    "all but a byte": (lambda whole: whole[:-1], "(ends early|damaged).*download it again"),
    "noise": (lambda whole: b"\x07" * len(whole), "is no .*download it again"),
}
FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "2_Dense/model.safetensors",
    "2_Dense/pytorch_model.bin",
)


class Program:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_embedding_gemma(tmp_path / "tiny")


def weights(folder: Path, name: str) -> Path:
    """Return the file ``name`` of the folder, written in its format if it is not."""
    path = folder / name
    if path.suffix == ".bin":
        stored = path.with_name("model.safetensors")
        torch.save(load_file(stored), path)
        stored.unlink()
    return path


def opened(folder: Path) -> None:
    source = find_model(folder)
    load_model(folder, resolve(source))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_it_is_said_what_the_file_is(folder: Path, name: str, damage: str) -> None:
    path = weights(folder, name)
    opened(folder)
    change, message = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RecipeError, match=message) as caught:
        opened(folder)
    assert str(path) in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".bin")])
@pytest.mark.parametrize("old", [False, True], ids=["archive", "pickle"])
def test_a_program_in_a_pickle_does_not_run(folder: Path, name: str, old: bool) -> None:
    path, made = weights(folder, name), folder / "made by the pickle"
    torch.save({"linear.weight": Program(made)}, path, _use_new_zipfile_serialization=not old)
    with pytest.raises(RecipeError, match="holds more than tensors, and decant does not run it"):
        opened(folder)
    assert not made.exists()


def test_a_link_into_nothing_is_a_file_that_is_gone(folder: Path) -> None:
    path = weights(folder, "2_Dense/model.safetensors")
    path.unlink()
    path.symlink_to(folder / "gone")
    with pytest.raises(RecipeError, match=r"2_Dense.model\.safetensors is no file"):
        opened(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "tensor"),
    [("model.safetensors", "layers.1.mlp.up_proj.weight"), (FILES[2], "linear.weight")],
)
def test_a_tensor_that_holds_no_numbers_is_named(
    folder: Path, name: str, tensor: str, value: float
) -> None:
    stored = load_file(folder / name)
    stored[tensor].view(-1)[3] = value
    save_file(stored, folder / name, metadata={"format": "pt"})
    with pytest.raises(RecipeError, match=f"hold NaN or infinity, in the tensor '{tensor}'"):
        TorchEncoder.from_pretrained(folder)


def test_the_command_line_says_it_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(POINTER)
    ran = Decant()("export", folder, tmp_path / "bundle")
    assert ran.code == Exit.INPUT
    assert "git-LFS pointer" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "bundle").exists()
