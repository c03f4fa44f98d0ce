"""The production reranker: a certified bundle on an execution provider, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bundle.bundle import Bundle
from ..bundle.precision import Precision
from ..errors import BundleError
from ..onnx.encoder import OnnxEncoder, open_bundle
from ..onnx.graph_choice import GraphChoice
from ..onnx.providers.options import ExecutionOptions, Settled
from .encoder_reranker import EncoderReranker

_KEPT = ("provider", "precision", "runtime", "allow_uncertified")


class OnnxReranker(EncoderReranker[OnnxEncoder]):
    """Runs a reranker's bundle; made by :func:`decant.embedders.load_reranker`.

    Where the graph takes a KV cache, what stands before the passages of a query is computed once
    for all of them. Threads, forked children, copies and pickling are those of
    :class:`OnnxEncoder`.
    """

    @property
    def bundle(self) -> Bundle:
        """The bundle that it runs."""
        return self._encoder.bundle

    @property
    def precision(self) -> Precision:
        """The precision of the graph that runs."""
        return self._encoder.precision

    @property
    def provider(self) -> str:
        """The full name of the provider that runs it."""
        return self._encoder.provider

    @property
    def runtime(self) -> Settled:
        """The settings in use."""
        return self._encoder.runtime

    @property
    def choice(self) -> GraphChoice:
        """What runs and why."""
        return self._encoder.choice

    def __repr__(self) -> str:
        return f"OnnxReranker({self._recipe.base!r}, {self.precision}, {self.provider})"

    def __copy__(self) -> OnnxReranker:
        """Return the reranker itself, which is safe to share."""
        return self

    def __deepcopy__(self, memo: Mapping[int, object]) -> OnnxReranker:
        """Return the reranker itself, which is safe to share."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Return a call that opens the same graph with equal settings in another process."""
        parts: Any = self._encoder.__reduce__()[1]
        folder, identity, settings = parts
        kept = {name: settings[name] for name in _KEPT}
        return _open_again, (folder, identity, self._recipe.digest(), kept)


def load_reranker_bundle(
    path: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    runtime: ExecutionOptions | None = None,
    allow_uncertified: bool = False,
) -> OnnxReranker:
    """Open a reranker's bundle; see :func:`decant.embedders.load_reranker`.

    Raises:
        BundleError: As there.
        ProviderError: As there.
        ParityError: As there.
    """
    bundle = Bundle.open(path)
    recipe = bundle.manifest.reranker
    if recipe is None:
        raise BundleError(
            f"{path} is an encoder, which gives vectors and scores no pairs; open it with "
            "decant.embedders.load(), or export a reranker: decant export MODEL TARGET"
        )
    encoder = open_bundle(
        bundle,
        provider=provider,
        precision=precision,
        runtime=runtime,
        allow_uncertified=allow_uncertified,
    )
    return OnnxReranker(encoder, recipe)


def _open_again(
    folder: Path, identity: tuple[str, str], digest: str, settings: Mapping[str, Any]
) -> OnnxReranker:
    """Open the bundle from which a reranker was pickled.

    Raises:
        BundleError: The folder holds another model by now, or as in :func:`load_reranker_bundle`.
    """
    reranker = load_reranker_bundle(folder, **settings)
    reranker.encoder.check_identity(identity)
    if reranker.recipe.digest() != digest:
        reranker.close()
        raise BundleError(f"{folder} holds another reranker than the one that was pickled")
    return reranker
