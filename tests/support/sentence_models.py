"""Bundles as sentence-transformers opens them, and what they should give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from decant.embedders import Role, load
from models import LONGEST, write_json

TEXTS = ["What is a PEP?", "a", "two  spaces", "日本語 and 🎉", "a text that is cut " * 20, "b"]
Float = NDArray[np.float32]


def save_tokenizer_settings(folder: Path) -> None:
    """Say what Transformers, too, needs to read a model folder's tokenizer as it is meant."""
    settings = {
        "model_max_length": LONGEST,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    write_json(folder / "tokenizer_config.json", settings)


def opened(bundle: Path, **settings: object) -> SentenceTransformer:
    return SentenceTransformer(
        str(bundle),
        trust_remote_code=True,
        model_kwargs={"provider": "cpu", "precision": "fp32", **settings},
        local_files_only=True,
    )


def expected(bundle: Path, texts: list[str], role: Role = Role.PASSAGE) -> Float:
    with load(bundle, provider="cpu", precision="fp32") as encoder:
        return encoder.encode(texts, role=role).dense


def same(found: object, wanted: Float) -> None:
    """Compare up to the rounding of other batches."""
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=1e-6)


def alike(found: object, wanted: object) -> bool:
    """Tell whether two arrays of unit vectors point the same way, row by row."""
    return bool((np.asarray(found) * np.asarray(wanted)).sum(axis=1).min() >= 0.99999)
