"""Bundles of models of token vectors: certified, and equal to PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decant.embedders import Choices, Output, Pooling, Role, TorchEncoder, load
from decant.export import export
from late_models import save_bge_m3, save_colbert


@pytest.mark.parametrize("added", [(), pytest.param(("int8",), marks=pytest.mark.slow)])
def test_token_vectors_of_a_bundle_are_certified_and_pytorchs(
    tmp_path: Path, added: tuple[str, ...]
) -> None:
    folder, choices = save_colbert(tmp_path / "colbert"), Choices(pooling=Pooling.MEAN)
    certificate = export(folder, tmp_path / "bundle", choices=choices, precisions=added)
    assert certificate.passed
    for entry in certificate.entries:
        (check,) = [one for one in entry.checks if one.name == "token states"]
        assert check.passed
        assert check.worst_cosine > (0.999 if entry.precision == "fp32" else 0.9)
    texts = ["the cat, it ran.", "a", "which of these is it then"]
    with (
        load(tmp_path / "bundle", precision="fp32") as encoder,
        TorchEncoder.from_pretrained(folder, choices=choices) as reference,
    ):
        for role in Role:
            outputs = [Output.TOKEN_EMBEDDINGS]
            found = encoder.encode(texts, role=role, outputs=outputs).token_embeddings
            expected = reference.encode(texts, role=role, outputs=outputs).token_embeddings
            assert found is not None
            assert expected is not None
            for rows, others in zip(found, expected, strict=True):
                assert rows.shape == others.shape
                assert np.abs(rows - others).max() < 1e-4


@pytest.mark.slow
def test_the_three_heads_of_bge_m3_are_one_certified_graph(tmp_path: Path) -> None:
    folder = save_bge_m3(tmp_path / "m3")
    certificate = export(folder, tmp_path / "bundle", strategy="bge-m3")
    (entry,) = certificate.entries
    checked = {one.name: one for one in entry.checks}
    assert checked["sparse vectors"].worst_cosine > 0.999
    assert checked["token states"].worst_cosine > 0.999
    texts = ["a cat sat on a cat", "rain"]
    outputs = [Output.SPARSE, Output.TOKEN_EMBEDDINGS]
    with (
        load(tmp_path / "bundle") as encoder,
        TorchEncoder.from_pretrained(folder, strategy="bge-m3") as reference,
    ):
        found = encoder.encode(texts, role=Role.PASSAGE, outputs=outputs)
        expected = reference.encode(texts, role=Role.PASSAGE, outputs=outputs)
    assert found.sparse is not None
    assert expected.sparse is not None
    np.testing.assert_array_equal(found.sparse.indices, expected.sparse.indices)
    np.testing.assert_allclose(found.sparse.values, expected.sparse.values, atol=1e-4)
