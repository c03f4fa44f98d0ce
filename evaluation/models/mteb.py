"""Adapt an encoder to mteb, so that its tasks and leaderboards run on decant's vectors.

mteb (Muennighoff et al. 2023, arXiv 2210.07316; the protocol is that of its version 2) passes an
encoder a prompt type and batches of a DataLoader. Here the type becomes a :class:`Role`, the
batches become one stream of texts, and the encoder makes its own batches. Nothing is
imported from mteb before an adapter is built.
Invariant: every vector that mteb gets has a direction, or stands for a text that was counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Encoder, Precision, Recipe, Role
from decant.embedders.errors import need

from ..errors import EvaluationError
from .protocol import Embedder, embedded, known, row_lengths

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import Array, PromptType

# What `mteb.evaluate` hands on to every encoder: how to run, which is this encoder's own affair.
_IGNORED = frozenset({"batch_size", "show_progress_bar"})


class Unembeddable(Enum):
    """How a text is handled that is blank or that the embedder does not know."""

    REFUSED = "refused"
    """An error: mteb has no notion of coverage."""
    ZERO = "zero"
    """A vector of zeros, whose cosine with everything is zero; :attr:`MtebEncoder.zeros` counts."""


class MtebEncoder:
    """Wraps an encoder for ``mteb.evaluate``; fulfils ``mteb.models.EncoderProtocol``.

    mteb keeps results under name, revision and ``experiment_kwargs``, so these must tell vectors
    apart: the revision is the digest of the recipe, and what departs from fp32 or from the defaults
    of this class stands in ``experiment_kwargs``.

    Args:
        embedder: A :class:`decant.embedders.Encoder`, or a smaller ``Embedder`` with ``meta``.
        name: ``organisation/model``; None takes the recipe's base, below ``decant/`` if it has no
            organisation or is a path.
        meta: The model's metadata, for an embedder without a recipe.
        untyped: The role of texts without a prompt type: STS, classification, clustering. The one
            that ``Sts`` takes by default.
        unembeddable: How blank and unknown texts are handled.

    Attributes:
        mteb_model_meta: Name, revision, width, longest input and similarity.
        zeros: How many vectors of zeros were returned so far.

    Raises:
        EvaluationError: The embedder has no recipe and there is no ``meta``, or both name and
            ``meta`` are given.
        MissingExtra: mteb is not installed.
    """

    def __init__(
        self,
        embedder: Encoder | Embedder,
        *,
        name: str | None = None,
        meta: ModelMeta | None = None,
        untyped: Role = Role.QUERY,
        unembeddable: Unembeddable = Unembeddable.REFUSED,
    ) -> None:
        mteb = need("mteb", extra="mteb")
        if name is not None and meta is not None:
            raise EvaluationError(f"both a name ({name!r}) and metadata are given; give one")
        made = _meta(embedder, name) if meta is None else meta
        settings = _departures(embedder, untyped, unembeddable)
        self.mteb_model_meta: ModelMeta = made.model_copy(
            update={"experiment_kwargs": {**(made.experiment_kwargs or {}), **settings} or None}
        )
        self.zeros = 0
        self._embedder = embedder
        self._untyped = untyped
        self._unembeddable = unembeddable
        self._functions = mteb.similarity_functions

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[object]]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **settings: object,
    ) -> NDArray[np.float32]:
        """Return one vector per text of all batches, in their order.

        Args:
            inputs: Batches, each with its texts under ``text``; a document's title is in its text.
            task_metadata: Named in errors; decant's prompts depend on the role alone.
            hf_split: Not read.
            hf_subset: Not read.
            prompt_type: ``query`` or ``document``; None is the role ``untyped``.
            settings: ``batch_size`` and ``show_progress_bar`` of mteb are not used: the encoder
                has its own batches.

        Returns:
            float32, shape ``(N, D)``, of the lengths that the encoder gives.

        Raises:
            EvaluationError: A batch has no texts, a text cannot be embedded, a vector is zero or
                not finite, a setting is unknown (``precision`` of mteb: convert the bundle
                instead).
        """
        del hf_split, hf_subset
        unknown = sorted(settings.keys() - _IGNORED)
        if unknown:
            raise EvaluationError(
                f"mteb asks for {', '.join(unknown)}, which would change nothing here; leave it "
                "out of encode_kwargs, and convert the bundle for another precision"
            )
        task = str(task_metadata.name)
        texts = list(_texts(inputs, task))
        role = self._role(prompt_type)
        can = known(self._embedder, texts)
        kept: list[int] = np.flatnonzero(can).tolist()
        if len(kept) < len(texts):
            self._pass_over(task, texts, can)
        if not kept:
            raise EvaluationError(f"{task}: none of {len(texts)} texts can be embedded")
        asked = [texts[number] for number in kept]
        try:
            found = embedded(self._embedder, asked, role=role)
            row_lengths(found, asked)
        except EvaluationError as error:
            raise EvaluationError(f"{task}: {error}") from error
        if len(kept) == len(texts):
            return found
        dense = np.zeros((len(texts), found.shape[1]), np.float32)
        dense[kept] = found
        return dense

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Return all cosines, shape ``(N, M)``, by mteb's own function."""
        found: Array = self._functions.cos_sim(embeddings1, embeddings2)
        return found

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Return the cosines of rows with the same number, shape ``(N,)``, by mteb's function."""
        found: Array = self._functions.pairwise_cos_sim(embeddings1, embeddings2)
        return found

    def _role(self, prompt_type: PromptType | None) -> Role:
        match None if prompt_type is None else str(prompt_type.value):
            case None:
                return self._untyped
            case "query":
                return Role.QUERY
            case "document":
                return Role.PASSAGE
            case other:
                raise EvaluationError(f"mteb's prompt type {other!r} is neither query nor document")

    def _pass_over(self, task: str, texts: Sequence[str], can: NDArray[np.bool_]) -> None:
        lost = np.flatnonzero(~can)
        match self._unembeddable:
            case Unembeddable.ZERO:
                self.zeros += len(lost)
            case Unembeddable.REFUSED:
                raise EvaluationError(
                    f"{task}: {len(lost)} of {len(texts)} texts are blank or unknown, the first is "
                    f"number {lost[0]}, {texts[lost[0]][:80]!r}; mteb needs a vector for each: "
                    "clean the data, or pass unembeddable=Unembeddable.ZERO"
                )
            case _:
                assert_never(self._unembeddable)


def _texts(inputs: Iterable[Mapping[str, Sequence[object]]], task: str) -> Iterator[str]:
    for number, batch in enumerate(inputs):
        if "text" not in batch:
            raise EvaluationError(
                f"{task}: batch {number} holds {', '.join(sorted(batch)) or 'nothing'} and no "
                "text; decant embeds texts alone"
            )
        for text in batch["text"]:
            if not isinstance(text, str):
                raise EvaluationError(
                    f"{task}: batch {number} holds a {type(text).__name__} where a text should be"
                )
            yield text


def _meta(embedder: Encoder | Embedder, name: str | None) -> ModelMeta:
    """Return mteb's metadata of an encoder; what decant does not know is None."""
    recipe = getattr(embedder, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise EvaluationError(
            f"{type(embedder).__name__} has no recipe to name it by; pass meta=mteb.models."
            "ModelMeta(...) with a name and a revision that change whenever its vectors do"
        )
    models = need("mteb.models", extra="mteb")
    made: ModelMeta = models.ModelMeta(
        loader=None,
        name=_model_name(recipe.base) if name is None else name,
        revision=recipe.digest(),
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=recipe.max_tokens,
        embed_dim=getattr(embedder, "dim", None),
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["ONNX"] if isinstance(getattr(embedder, "precision", None), Precision) else [],
        similarity_fn_name="cosine",
        use_instructions=recipe.query_prompt != recipe.passage_prompt,
        training_datasets=None,
    )
    return made


def _departures(
    embedder: Encoder | Embedder, untyped: Role, unembeddable: Unembeddable
) -> dict[str, str]:
    """Return the settings that change scores and are neither in the name nor in the revision."""
    precision = getattr(embedder, "precision", Precision.FP32)
    found = {
        "precision": (str(precision), str(Precision.FP32)),
        "untyped": (untyped.value, Role.QUERY.value),
        "unembeddable": (unembeddable.value, Unembeddable.REFUSED.value),
    }
    return {key: value for key, (value, usual) in found.items() if value != usual}


def _model_name(base: str) -> str:
    """Return ``organisation/model``, which mteb insists on, of a hub id, a path or a plain name."""
    parts = [part for part in base.replace("\\", "/").split("/") if part]
    if len(parts) == 2 and not base.startswith((".", "/")):
        return base
    return f"decant/{parts[-1] if parts else 'model'}"
