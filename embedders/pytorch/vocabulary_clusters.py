"""Cluster the rows of a language-model head, once for a model, and cache the centres.

LENS (arXiv 2501.09749, section 3) merges the head's rows by k-means. Here that is scikit-learn's
mini-batch k-means from one initialisation, rows drawn at random, in as many passes over all rows as
the recipe specifies: k-means++ alone takes longer than the passes, at thousands of clusters.
Recipes without passes come from older versions, and are clustered as those did. The centres are
kept in the model's folder as ``decant_clusters_….npy``; the name ends in a hash over rows and
settings, so other weights never read them. A bundle needs no such file, because its graph holds the
centres.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..encoding.protocol import OnStep
from ..errors import RecipeError, need
from ..recipe.sparse_head import SparseHead

_SEED = 0
_BATCH = 4096
_log = logging.getLogger("decant")


def cluster_centres(
    rows: NDArray[np.float32],
    sparse_head: SparseHead,
    *,
    folder: Path | None = None,
    on_step: OnStep | None,
) -> NDArray[np.float32]:
    """Return the centres of k-means over rows.

    Args:
        rows: Float32, shape (V, d).
        sparse_head: Specifies the number of clusters and of passes over the rows.
        folder: The folder in which centres are cached; None caches nothing.
        on_step: Called with each pass, and with the place where the centres are kept; the log
            ``decant`` gets the same messages.

    Returns:
        Float32, shape (clusters, d); the same for the same rows and sparse head.

    Raises:
        RecipeError: There are fewer rows than clusters.
        MissingExtra: scikit-learn is not installed.
    """
    clusters = sparse_head.clusters
    assert clusters is not None
    if clusters > len(rows):
        raise RecipeError(f"{clusters} clusters of {len(rows)} tokens; ask for fewer")
    kept = (
        None
        if folder is None
        else folder / f"decant_clusters_{_fingerprint(rows, sparse_head)}.npy"
    )
    if kept is not None and (found := _read(kept, (clusters, rows.shape[1]))) is not None:
        return found

    def say(words: str) -> None:
        _log.info(words)
        if on_step is not None:
            on_step(words)

    what = f"clustering {len(rows):,} tokens into {clusters:,}"
    if sparse_head.passes is None:
        say(f"{what}, as older versions did; this may take long")
        centres = _as_before(rows, clusters)
    else:
        centres = _centres(
            rows, clusters, sparse_head.passes, lambda words: say(f"{what}: {words}")
        )
    if kept is not None:
        _keep(kept, centres, say)
    return centres


def _centres(
    rows: NDArray[np.float32], clusters: int, passes: int, say: Callable[[str], None]
) -> NDArray[np.float32]:
    cluster = need("sklearn.cluster", extra="evaluation")
    draw = np.random.default_rng(_SEED)
    first = rows[draw.permutation(len(rows))[:clusters]]
    model = cluster.MiniBatchKMeans(
        clusters, init=first, n_init=1, random_state=_SEED, batch_size=_BATCH
    )
    for number in range(passes):
        say(f"pass {number + 1} of {passes}")
        order = draw.permutation(len(rows))
        for begin in range(0, len(order), _BATCH):
            model.partial_fit(rows[order[begin : begin + _BATCH]])
    return np.asarray(model.cluster_centers_, np.float32)


def _as_before(rows: NDArray[np.float32], clusters: int) -> NDArray[np.float32]:
    cluster = need("sklearn.cluster", extra="evaluation")
    found = cluster.MiniBatchKMeans(clusters, random_state=_SEED, n_init=3, batch_size=_BATCH)
    return np.asarray(found.fit(rows).cluster_centers_, np.float32)


def _fingerprint(rows: NDArray[np.float32], sparse_head: SparseHead) -> str:
    digest = hashlib.sha256(f"{rows.shape} {sparse_head.clusters} {sparse_head.passes}".encode())
    digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()[:16]


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return cached centres; None if there are none, or the file is damaged."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return cast("NDArray[np.float32]", found) if found.shape == shape else None


def _keep(path: Path, centres: NDArray[np.float32], say: Callable[[str], None]) -> None:
    """Write centres atomically; if the folder is not writable, they are computed again later."""
    try:
        with NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
            np.save(file, centres)
        Path(file.name).replace(path)
    except OSError as error:
        say(f"the clusters cannot be kept in {path.parent} and will be made again: {error}")
        return
    say(f"kept the clusters in {path}")
