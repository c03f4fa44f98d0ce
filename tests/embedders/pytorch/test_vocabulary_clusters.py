"""Clusters of a vocabulary: found, told of, kept beside the model, and never another model's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from decant.embedders import RecipeError, SparseHead, TorchEncoder, find_model, resolve
from decant.embedders.pytorch.vocabulary_clusters import cluster_centres
from models import save_language_model

LENS = SparseHead(clusters=12, passes=3)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    return np.asarray(np.random.default_rng(3).normal(size=(480, 16)), np.float32)


def found(rows: NDArray[np.float32], folder: Path | None = None) -> NDArray[np.float32]:
    return cluster_centres(rows, LENS, folder=folder, on_step=None)


def inertia(rows: NDArray[np.float32], centres: NDArray[np.float32]) -> float:
    return float((np.linalg.norm(rows[:, None] - centres[None], axis=2).min(1) ** 2).sum())


def test_centres_are_about_as_good_as_those_of_whole_k_means(rows: NDArray[np.float32]) -> None:
    centres = found(rows)
    best = min(
        inertia(rows, KMeans(12, random_state=seed).fit(rows).cluster_centers_) for seed in range(5)
    )
    assert best <= inertia(rows, centres) < 1.06 * best
    assert inertia(rows, rows[:12]) > 1.2 * best
    assert np.array_equal(found(rows), centres)


def test_every_pass_is_told_and_so_is_where_the_centres_lie(
    tmp_path: Path, rows: NDArray[np.float32]
) -> None:
    told: list[str] = []
    first = cluster_centres(rows, LENS, folder=tmp_path, on_step=told.append)
    (kept,) = tmp_path.iterdir()
    assert told == [
        *(f"clustering 480 tokens into 12: pass {number} of 3" for number in (1, 2, 3)),
        f"kept the clusters in {kept}",
    ]
    told.clear()
    again = cluster_centres(rows, LENS, folder=tmp_path, on_step=told.append)
    assert np.array_equal(first, again)
    assert told == []


def test_kept_centres_are_those_of_the_same_rows_and_settings(
    tmp_path: Path, rows: NDArray[np.float32]
) -> None:
    found(rows, tmp_path)
    (kept,) = tmp_path.iterdir()
    np.save(kept, np.ones((12, 16), np.float32))
    assert (found(rows, tmp_path) == 1).all(), "it is read"
    assert not (found(rows + 1, tmp_path) == 1).all()
    other = SparseHead(clusters=12, passes=4)
    assert not (cluster_centres(rows, other, folder=tmp_path, on_step=None) == 1).all()
    kept.write_bytes(kept.read_bytes()[:40])
    assert np.array_equal(found(rows, tmp_path), found(rows))


def test_a_folder_that_takes_no_file_costs_time_alone(
    tmp_path: Path, rows: NDArray[np.float32]
) -> None:
    told: list[str] = []
    centres = cluster_centres(rows, LENS, folder=tmp_path / "gone", on_step=told.append)
    assert np.array_equal(centres, found(rows))
    assert told[-1].startswith(f"the clusters cannot be kept in {tmp_path / 'gone'}")


def test_more_clusters_than_tokens_are_refused(rows: NDArray[np.float32]) -> None:
    with pytest.raises(RecipeError, match="12 clusters of 9 tokens"):
        found(rows[:9])


def test_a_second_load_finds_the_clusters_and_the_revision_stays(tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "model", "llama")
    source = find_model(folder)
    recipe = resolve(source, strategy="lens")
    told: list[str] = []
    TorchEncoder.from_source(source, recipe, on_step=told.append).close()
    assert any(words.startswith("kept the clusters in ") for words in told)
    told.clear()
    TorchEncoder.from_source(source, recipe, on_step=told.append).close()
    assert told == []
    assert find_model(folder).revision == source.revision
