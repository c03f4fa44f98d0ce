"""The names by which clients ask for a model: ``name``, ``name@digest``, and their suffixes.

``minilm`` is the dense vector, ``minilm:sparse`` and ``minilm:tokens`` are what the model gives in
addition; ``minilm:query`` and ``minilm:passage`` say the role where a protocol has no place for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from decant.embedders import Output, Recipe, Role

from ..errors import RequestError, SettingsError
from .served_model import ServedModel

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

    def __init__(self, models: Iterable[ServedModel]) -> None:
        self._models: dict[str, ServedModel] = {}
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

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def only(self) -> ModelAddress:
        """Return the address of the only model.

        Raises:
            RequestError: There are several.
        """
        if len(self) > 1:
            raise RequestError(
                f"this server has several models: {self._known()}; say which one in the path: "
                "/models/NAME/…"
            )
        return ModelAddress(model=next(iter(self)))

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
        name, _, digest = pinned.partition("@")
        model = self._models.get(name)
        if model is None:
            raise RequestError(
                f"there is no model {name[:_SHOWN]!r} here; there are: {self._known()}"
            )
        if "@" in pinned and digest != model.digest:
            raise RequestError(
                f"{name} has the recipe {model.digest} here, and the request wants "
                f"{digest[:_SHOWN]!r}; its vectors would be others"
            )
        found = ModelAddress(model=model)
        for suffix in suffixes:
            found = _with_suffix(found, suffix)
        return found

    def _known(self) -> str:
        return ", ".join(self._models)


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
