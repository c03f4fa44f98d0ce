"""Code that comes with a model is never run, and nobody is asked whether it shall be."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from decant.embedders import RecipeError, find_model, resolve
from decant.embedders.pytorch.backbone import load_backbone
from decant.embedders.recipe.enums import Attention
from decant.embedders.tokens import load_tokenizer
from models import save_model, write_json

CODE = """
from pathlib import Path
Path(__file__).with_name("ran").write_text("")
Path({mark!r}).write_text("")
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
class OwnConfig(BertConfig): model_type = "own"
class OwnModel(BertModel): config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizerFast): pass
"""


class Terminal(io.StringIO):
    """A person who answers yes to everything."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the model's code would write."""
    monkeypatch.setattr(sys, "stdin", Terminal("y\n" * 20))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run its code"))
    return tmp_path / "mark"


def own_code(folder: Path, mark: Path, *, kind: str) -> Path:
    """Write a model that names classes of its own for everything."""
    save_model(folder, "bert")
    (folder / "own.py").write_text(CODE.format(mark=str(mark)), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    named = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    write_json(folder / "config.json", {**config, "model_type": kind, "auto_map": named})
    tokenizer = {"auto_map": {"AutoTokenizer": [None, "own.OwnTokenizer"]}, "model_max_length": 40}
    write_json(folder / "tokenizer_config.json", tokenizer)
    return folder


def test_a_model_of_its_own_kind_is_refused_with_the_reason(tmp_path: Path, mark: Path) -> None:
    folder = own_code(tmp_path / "model", mark, kind="own")
    with pytest.raises(RecipeError, match="decant runs no code that comes with a model"):
        load_backbone(folder, Attention.BIDIRECTIONAL)
    assert not mark.exists()


def test_of_a_kind_that_transformers_knows_its_class_is_taken(tmp_path: Path, mark: Path) -> None:
    folder = own_code(tmp_path / "model", mark, kind="bert")
    assert type(load_backbone(folder, Attention.BIDIRECTIONAL)).__name__ == "BertModel"
    assert not mark.exists()


def test_a_tokenizer_of_its_own_is_refused_with_the_reason(tmp_path: Path, mark: Path) -> None:
    folder = own_code(tmp_path / "model", mark, kind="own")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(RecipeError, match="decant runs no code that comes with a model"):
        load_tokenizer(folder)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["own", "bert"])
def test_finding_a_recipe_runs_nothing(tmp_path: Path, mark: Path, kind: str) -> None:
    folder = own_code(tmp_path / "model", mark, kind=kind)
    with pytest.raises(RecipeError):
        resolve(find_model(folder))
    assert not mark.exists()
