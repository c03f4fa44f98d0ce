"""Folders of sentence-transformers' layout without weights, for tests of what their files say."""

from __future__ import annotations

from pathlib import Path

from decant.embedders import ModelFiles
from models import write_json


def source(folder: Path, base: str = "tiny") -> ModelFiles:
    return ModelFiles(folder=folder, base=base, revision="0")


def folder_with(tmp_path: Path, **config: object) -> Path:
    """Return a folder that says how it is pooled, with a config of one's own."""
    write_json(
        tmp_path / "config.json", {"model_type": "bert", "max_position_embeddings": 64, **config}
    )
    write_json(
        tmp_path / "modules.json",
        [
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
    )
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    return tmp_path
