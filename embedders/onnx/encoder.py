"""The production encoder: a certified bundle on an execution provider, without torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.precision import Precision
from ..encoding.batch_encoder import BatchEncoder, BatchSettings
from ..encoding.outputs import DENSE, SPARSE, STATES, TOKENS
from ..encoding.quantize import Quantization, Quantizer, VectorRanges
from ..encoding.truncate import cut, cut_recipe
from ..errors import BundleError, ProviderError
from ..recipe.enums import PooledTokens
from ..recipe.recipe import Recipe
from ..tokens.batching import Batching
from ..tokens.rows import TokenBatch
from .calibration_file import calibration_of
from .choose_graph import rank_choices
from .graph_choice import Cause, GraphChoice, RejectedGraph
from .prompt_cache import SharedPrompts
from .providers.graph_session import GraphFile, GraphSession
from .providers.options import ExecutionOptions, Settled
from .providers.table import find_provider
from .session import open_session
from .tuning_file import tuned_settings

_log = logging.getLogger("decant")

# Measured (experiments/log/2026-11-20-attention-operator.md): on CPUs, attention is faster where
# nothing is padded, and batches of so few tokens keep the matrix products busy.
_EVEN_FROM = 64


class OnnxEncoder(BatchEncoder):
    """Runs a bundle's ONNX graph; made by :func:`decant.embedders.load`.

    On the CPU, many batches run on single-threaded workers and a lone one (a query) on all cores;
    the session for many batches opens when it is first needed, and only if the graph's files are
    still those that were checked at loading, so vectors of two models never mix. A forked child
    opens its own sessions and workers. A copy is the encoder itself. Unpickling (spawned pools,
    Ray, Spark) opens the bundle again with the same settings, and only if it still holds the same
    graph and recipe.

    Args:
        bundle: The checked files.
        session: An open session of one of its graphs.
        precision: The precision of that graph.
        runtime: How hard to use the machine.
        recipe: The bundle's recipe, or the same with a smaller ``dim``, to which vectors are then
            cut; None takes the bundle's.
        choice: Why this graph runs; None: it was opened by hand.

    Attributes:
        precision: The precision of the graph that runs.
        provider: The full name of the provider that runs it.
        runtime: The settings in use: the caller's, tuned ones, or the defaults.
        choice: What runs and why, and what does not and why; as a sentence, ``str(choice)``.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: GraphSession,
        *,
        precision: Precision,
        runtime: Settled,
        recipe: Recipe | None = None,
        choice: GraphChoice | None = None,
    ) -> None:
        self._bundle = bundle
        self._recipe = recipe or bundle.manifest.recipe
        self._alone = session
        self._prompts = SharedPrompts(session)
        self._many: GraphSession | None = None
        self._opening = Lock()
        self.precision = precision
        self.provider = session.provider
        self._row = find_provider(session.provider)
        self.runtime = runtime
        self.choice = choice or GraphChoice(
            provider=session.provider, precision=precision, reason="it was opened by hand"
        )
        settings = BatchSettings(
            batching=batching(bundle, session, runtime.token_budget),
            workers=runtime.workers,
            dim=self._recipe.dim or bundle.manifest.dim,
            read_shape=session.read_shape,
        )
        super().__init__(bundle.tokenizer(), settings)

    @property
    def bundle(self) -> Bundle:
        """The bundle that it runs."""
        return self._bundle

    @property
    def recipe(self) -> Recipe:
        """The recipe, which decides the vectors and the width to which they are cut."""
        return self._recipe

    @property
    def variable_fields(self) -> frozenset[str]:
        """The fields of the recipe that :meth:`with_recipe` can change.

        A graph takes the mask of the pooled tokens if its recipe does not pool them all.
        """
        masked = self._recipe.span not in (PooledTokens.ALL, PooledTokens.TAIL)
        return super().variable_fields | ({"span"} if masked else set())

    def quantizer(self, kind: str, *, calibration: VectorRanges | None = None) -> Quantizer:
        """Return a quantizer that turns this encoder's vectors into integers or bits.

        Args:
            kind: ``int8``, ``uint8`` or ``ubinary``.
            calibration: The ranges for the first two; None takes those in the bundle.

        Raises:
            QuantizationError: The kind is unknown, the calibration is of another recipe, or the
                bundle has none for this one.
            BundleError: The bundle's ``calibration.json`` is damaged or of a newer format.
        """
        wanted = Quantization.named(kind)
        if wanted is Quantization.UBINARY:
            return Quantizer(kind=wanted)
        if calibration is None:
            return Quantizer(kind=wanted, calibration=calibration_of(self._bundle, self._recipe))
        calibration.require(self._recipe)
        return Quantizer(kind=wanted, calibration=calibration)

    def __repr__(self) -> str:
        return (
            f"OnnxEncoder({self.recipe.base!r}, {self.precision}, {self.provider}, dim={self.dim})"
        )

    @property
    def identity(self) -> tuple[str, str]:
        """The digest of the recipe, and the SHA-256 of the graph that runs."""
        manifest = self._bundle.manifest
        graph = self._row.graph_of(self.precision)
        return self.recipe.digest(), manifest.files[manifest.graphs[graph]]

    def check_identity(self, wanted: tuple[str, str]) -> None:
        """Close this encoder if it is not the one that was pickled.

        Args:
            wanted: The other's :attr:`identity`.

        Raises:
            BundleError: The bundle holds another model by now.
        """
        found = self.identity
        if found != wanted:
            self.close()
            raise BundleError(
                f"{self._bundle.folder} holds recipe {found[0]} with the graph {found[1][:12]}, "
                f"and the encoder that was pickled ran recipe {wanted[0]} with the graph "
                f"{wanted[1][:12]}; its vectors would be others. Pickle it anew, or put the "
                "bundle back"
            )

    def renew(self) -> None:
        """Make new workers and locks; called in a forked child."""
        super().renew()
        self._opening = Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """Return a call that opens the same graph with equal settings in another process."""
        runtime = self.runtime
        settings = {
            "provider": self.provider,
            "precision": str(self.precision),
            "dim": self.dim,
            # The first load checked what these allow.
            "allow_any_dim": True,
            "allow_uncertified": True,
            "runtime": ExecutionOptions(
                device=runtime.device,
                workers=runtime.workers,
                threads=runtime.threads,
                token_budget=runtime.token_budget,
            ),
        }
        return _open_again, (self._bundle.folder.absolute(), self.identity, settings)

    def run_batch(
        self, batch: TokenBatch, names: Sequence[str], *, alone: bool
    ) -> list[NDArray[np.generic]]:
        """Run the graph on one batch; see :meth:`BatchEncoder.run_batch`."""
        session = self._alone if alone else self._session_for_many()
        return self._cut(session.outputs_of(self._prompts.cut_shared_prompt(batch, names), names))

    def _cut(self, values: list[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Cut the dense vectors, which come first."""
        if self.dim == self._bundle.manifest.dim:
            return values
        dense = np.asarray(values[0], np.float32)
        return [cut(dense, dim=self.dim, normalize=self._recipe.normalize), *values[1:]]

    def _session_for_many(self) -> GraphSession:
        """Return the session for many batches: on the CPU, one of as many threads as they want."""
        if not self._row.is_cpu or self.runtime.threads == self._alone.threads:
            return self._alone
        with self._opening:
            if self._many is None:
                self._many = self._alone.twin(
                    threads=self.runtime.threads, workers=self.runtime.workers
                )
        return self._many


def batching(bundle: Bundle, session: GraphSession, token_budget: int) -> Batching:
    """Return how texts become batches for an open graph of a bundle.

    On CPUs attention is fastest without padding. Elsewhere few different shapes are better, because
    each shape has its own buffers and engines.
    """
    on_cpu = find_provider(session.provider).is_cpu
    return Batching(
        token_budget=token_budget,
        pad_id=bundle.manifest.pad_id,
        even_from=_EVEN_FROM if on_cpu else None,
        few_widths=not on_cpu,
        longest=bundle.manifest.recipe.max_tokens,
        rows=1 + len(bundle.manifest.recipe.further),
        once=session.takes_prompts,
    )


def load_bundle(  # noqa: PLR0913 - each is one thing that a user may say about what runs
    path: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    runtime: ExecutionOptions | None = None,
    dim: int | None = None,
    allow_any_dim: bool = False,
    allow_uncertified: bool = False,
) -> OnnxEncoder:
    """Open a bundle for encoding; see :func:`decant.embedders.load`, which also takes addresses.

    Raises:
        BundleError: As :func:`decant.embedders.load`.
        ProviderError: The provider is unknown, not installed, or does not start.
        ParityError: The graph is not certified on this provider, or failed.
        RecipeError: The model cannot be cut to ``dim``, or was not trained to be.
    """
    bundle = Bundle.open(path)
    recipe, width = bundle.manifest.recipe, bundle.manifest.dim
    if bundle.manifest.reranker is not None:
        raise BundleError(
            f"{path} is a reranker, which scores pairs of a query and a passage and has no "
            "vectors; open it with decant.embedders.load_reranker()"
        )
    if dim is not None:
        recipe = cut_recipe(recipe, width=width, dim=dim, allow_any_dim=allow_any_dim)
    return open_bundle(
        bundle,
        provider=provider,
        precision=precision,
        runtime=runtime,
        recipe=recipe,
        allow_uncertified=allow_uncertified,
    )


def open_bundle(
    bundle: Bundle,
    *,
    provider: str = "auto",
    precision: str = "auto",
    runtime: ExecutionOptions | None = None,
    recipe: Recipe | None = None,
    allow_uncertified: bool = False,
) -> OnnxEncoder:
    """Open a graph of a checked bundle, whatever its vectors mean.

    Args:
        bundle: The checked files.
        provider: As for :func:`decant.embedders.load`.
        precision: As for :func:`decant.embedders.load`.
        runtime: As for :func:`decant.embedders.load`.
        recipe: As for :class:`OnnxEncoder`.
        allow_uncertified: As for :func:`decant.embedders.load`.

    Raises:
        BundleError: As :func:`load_bundle`.
        ProviderError: As :func:`load_bundle`.
        ParityError: As :func:`load_bundle`.
    """
    runtime = runtime or ExecutionOptions()
    ranking = rank_choices(bundle, provider=provider, precision=precision, device=runtime.device)
    failed: list[RejectedGraph] = []
    for choice in ranking.choices:
        name, chosen = choice.provider, choice.precision
        stored = find_provider(name).graph_of(chosen)
        settled = _settled(bundle, chosen, name, runtime)
        try:
            graph = GraphFile(
                path=bundle.graph(stored), precision=chosen, files=bundle.graph_files(stored)
            )
            session = open_session(graph, name, device=settled.device, threads=settled.lone_threads)
        except ProviderError as error:
            if choice is ranking.choices[-1]:
                raise
            _log.warning("%s; trying the next provider", error)
            failed.append(_not_opened(choice, error))
            continue
        if not allow_uncertified:
            bundle.require_certified(chosen, name, graph=stored)
        _check_graph(bundle, session, stored)
        keys = {(one.provider, one.precision) for one in failed}
        others = (one for one in choice.rejected if (one.provider, one.precision) not in keys)
        choice = replace(choice, rejected=(*failed, *others))  # noqa: PLW2901 - the same choice
        _log.info("%s runs %s; %s", bundle.folder, choice, settled)
        return OnnxEncoder(
            bundle, session, precision=chosen, runtime=settled, recipe=recipe, choice=choice
        )
    raise AssertionError("rank_choices returns at least one choice")


def _not_opened(choice: GraphChoice, error: ProviderError) -> RejectedGraph:
    return RejectedGraph(
        provider=choice.provider,
        precision=choice.precision,
        cause=Cause.NOT_OPENED,
        reason=f"it does not open: {error}",
    )


def _open_again(
    folder: Path, identity: tuple[str, str], settings: Mapping[str, Any]
) -> OnnxEncoder:
    """Open the bundle from which an encoder was pickled.

    Args:
        folder: The bundle.
        identity: The recipe's digest and the graph's SHA-256.
        settings: The arguments of :func:`load_bundle`.

    Raises:
        BundleError: The folder holds another model by now, or as in :func:`load_bundle`.
    """
    encoder = load_bundle(folder, **settings)
    encoder.check_identity(identity)
    return encoder


def _check_graph(bundle: Bundle, session: GraphSession, precision: Precision) -> None:
    """Refuse a graph whose inputs or outputs do not fit its recipe."""
    manifest, path = bundle.manifest, bundle.graph(precision)
    recipe = manifest.recipe
    wanted = [
        DENSE,
        *(SPARSE if recipe.sparse_head is not None else ()),
        *([STATES] if recipe.appended is not None else []),
        *([TOKENS] if recipe.token_embeddings else []),
    ]
    if lacking := [name for name in wanted if name not in session.shapes]:
        raise BundleError(f"{path} gives no {lacking[0]}, which its recipe has; export it again")
    known = TokenBatch.__dataclass_fields__
    if strange := [name for name in session.inputs if name not in known]:
        raise BundleError(
            f"{path} takes {strange[0]!r}, which decant does not provide; export it again"
        )
    width = session.shapes[DENSE][-1] if session.shapes[DENSE] else None
    if isinstance(width, int) and width != manifest.dim:
        raise BundleError(
            f"{path} gives vectors of {width} values, decant.json says {manifest.dim}; export the "
            "bundle again"
        )


def _settled(
    bundle: Bundle, precision: Precision, provider: str, runtime: ExecutionOptions
) -> Settled:
    """Return the user's settings; without any, the tuned ones, or else the defaults."""
    found = (
        tuned_settings(bundle, precision, provider, device=runtime.device) if runtime.open else None
    )
    return found or runtime.settled(provider)
