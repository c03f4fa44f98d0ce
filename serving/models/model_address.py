"""The names by which clients ask for a model: ``name``, ``name@digest``, and their suffixes.

``minilm`` is the dense vector, ``minilm:sparse`` and ``minilm:tokens`` are what the model gives in
addition; ``minilm:query`` and ``minilm:passage`` say the role where a protocol has no place for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from decant.embedders import Output, Recipe, Role

from ..errors import RequestError, SettingsError, UnknownModel
from .served_model import ServedModel
from .served_reranker import ServedReranker

_SHOWN = 80


class VectorKind(StrEnum):
    """Which of a text's vectors a client asks for."""

    DENSE = "dense"
    SPARSE = "sparse"
    TOKENS = "tokens"

    @property
    def output(self) -> Output | None:
        """What an encoder is asked for in addition to the dense vector."""
        match self:
            case VectorKind.DENSE:
                return None
            case VectorKind.SPARSE:
                return Output.SPARSE
            case VectorKind.TOKENS:
                return Output.TOKEN_EMBEDDINGS
            case _:
                assert_never(self)

    def is_given_by(self, recipe: Recipe) -> bool:
        """Return whether models with this recipe give such vectors."""
        match self:
            case VectorKind.DENSE:
                return True
            case VectorKind.SPARSE:
                return recipe.sparse_head is not None
            case VectorKind.TOKENS:
                return recipe.token_embeddings
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAddress:
    """What a model's name asks for.

    Args:
        model: The model.
        kind: Which of its vectors.
        role: The role, if the name says one.
    """

    model: ServedModel
    kind: VectorKind = VectorKind.DENSE
    role: Role | None = None


class ModelDirectory:
    """The models of a server by their names.

    Args:
        models: At least one model; their names differ.

    Raises:
        SettingsError: There is no model, or two have one name.
    """

    def __init__(self, models: Iterable[ServedModel | ServedReranker]) -> None:
        self._models: dict[str, ServedModel | ServedReranker] = {}
        for model in models:
            if model.name in self._models:
                raise SettingsError(
                    f"two models are called {model.name!r}; give one of them another name: "
                    "NAME=BUNDLE"
                )
            self._models[model.name] = model
        if not self._models:
            raise SettingsError("a server needs at least one model")
        # What was found before: requests ask once for each text, and digests take time. Names that
        # are not found stay out of it, so it is bounded.
        self._found: dict[str, ModelAddress] = {}

    @property
    def encoders(self) -> Sequence[ServedModel]:
        """The models that give vectors."""
        return [model for model in self._models.values() if isinstance(model, ServedModel)]

    @property
    def rerankers(self) -> Sequence[ServedReranker]:
        """The models that score pairs."""
        return [model for model in self._models.values() if isinstance(model, ServedReranker)]

    def only(self) -> ModelAddress:
        """Return the address of the only encoder.

        Raises:
            RequestError: There are several, or none.
        """
        if len(self.encoders) == 1:
            return ModelAddress(model=self.encoders[0])
        if not self.encoders:
            raise RequestError(
                f"this server has rerankers alone: {self._known()}; they give no vectors, and "
                "/rerank asks them"
            )
        raise self._several()

    def only_reranker(self) -> ServedReranker:
        """Return the only reranker.

        Raises:
            RequestError: There are several, or none.
        """
        if len(self.rerankers) == 1:
            return self.rerankers[0]
        if not self.rerankers:
            raise RequestError(
                f"this server has no reranker; it has {self._known()}, which give vectors and "
                "score no pairs"
            )
        raise self._several()

    def only_of_all(self) -> ModelAddress | ServedReranker:
        """Return the only model of a server, whatever it is.

        Raises:
            RequestError: There are several.
        """
        if len(self._models) > 1:
            raise self._several()
        return self.only() if self.encoders else self.only_reranker()

    def find_any(self, address: str) -> ModelAddress | ServedReranker:
        """Return what a name asks for, whatever it is.

        Raises:
            RequestError: As :meth:`find`.
        """
        if isinstance(self._models.get(address.partition("@")[0]), ServedReranker):
            return self.find_reranker(address)
        return self.find(address)

    def find_reranker(self, address: str) -> ServedReranker:
        """Return the reranker that a name asks for.

        Args:
            address: ``name[@digest]``.

        Raises:
            UnknownModel: There is no such model.
            RequestError: It is no reranker, or its recipe has another digest.
        """
        name, _, _ = address.partition("@")
        model = self._models.get(name)
        if model is None:
            raise UnknownModel(
                f"there is no model {name[:_SHOWN]!r} here; there are: {self._known()}"
            )
        if not isinstance(model, ServedReranker):
            raise RequestError(
                f"{model.name} is an encoder, which gives vectors and scores no pairs; ask a "
                "reranker"
            )
        _check_digest(address, model)
        return model

    def find(self, address: str) -> ModelAddress:
        """Return what a name asks for.

        Args:
            address: ``name[@digest][:sparse|:tokens][:query|:passage]``.

        Raises:
            RequestError: There is no such model, its recipe has another digest, it gives no such
                vectors, or a suffix is unknown or contradicts another; says what there is.
        """
        found = self._found.get(address)
        if found is None:
            found = self._found[address] = self._read(address)
        return found

    def _read(self, address: str) -> ModelAddress:
        pinned, *suffixes = address.split(":")
        name, _, _ = pinned.partition("@")
        model = self._models.get(name)
        if model is None:
            raise RequestError(
                f"there is no model {name[:_SHOWN]!r} here; there are: {self._known()}"
            )
        if isinstance(model, ServedReranker):
            raise RequestError(
                f"{name} is a reranker, which scores pairs and gives no vectors; ask an encoder, "
                "or /rerank"
            )
        _check_digest(pinned, model)
        found = ModelAddress(model=model)
        for suffix in suffixes:
            found = _with_suffix(found, suffix)
        return found

    def _known(self) -> str:
        return ", ".join(self._models)

    def _several(self) -> RequestError:
        return RequestError(
            f"this server has several models: {self._known()}; say which one in the path: "
            "/models/NAME/…"
        )


def _check_digest(pinned: str, model: ServedModel | ServedReranker) -> None:
    """Refuse ``name@digest`` whose digest is another than the model's."""
    _, sign, digest = pinned.partition("@")
    if sign and digest != model.digest:
        what = "scores" if isinstance(model, ServedReranker) else "vectors"
        raise RequestError(
            f"{model.name} has the recipe {model.digest} here, and the request wants "
            f"{digest[:_SHOWN]!r}; its {what} would be others"
        )


def _with_suffix(address: ModelAddress, suffix: str) -> ModelAddress:
    recipe, name = address.model.encoder.recipe, address.model.name
    if suffix in [*Role] and address.role is None:
        return replace(address, role=Role(suffix))
    if suffix in [*VectorKind] and address.kind is VectorKind.DENSE:
        kind = VectorKind(suffix)
        if kind.is_given_by(recipe):
            return replace(address, kind=kind)
    kinds = [f":{kind}" for kind in VectorKind if kind.is_given_by(recipe)]
    known = ", ".join([*kinds, *(f":{role}" for role in Role)])
    raise RequestError(
        f"{name} has no {':' + suffix[:_SHOWN]!r}, or not in addition to what stands before it; it "
        f"has {known}, one of each sort"
    )
