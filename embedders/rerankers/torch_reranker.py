"""The reference reranker: a model folder in PyTorch, float32. For parity and export."""

from __future__ import annotations

from pathlib import Path

from ..encoding.protocol import OnStep
from ..pytorch.encoder import TorchEncoder
from ..pytorch.score_model import ScoreModel, load_score_model
from ..recipe.rerank_recipe import RerankRecipe
from ..sources.find import ModelFiles, find_model
from ..sources.resolver import pad_id
from ..tokens.load import load_pair_tokenizer
from .choices import RerankChoices
from .encoder_reranker import EncoderReranker
from .resolver import resolve_reranker


class TorchReranker(EncoderReranker[TorchEncoder]):
    """Runs a reranker's folder with PyTorch."""

    @classmethod
    def from_pretrained(
        cls, model: str | Path | ModelFiles, *, choices: RerankChoices | None = None
    ) -> TorchReranker:
        """Load a folder or hub model.

        Args:
            model: A folder, a hub id, or files already found.
            choices: The user's choices for the recipe.

        Raises:
            RecipeError: The model does not exist, is no reranker, its recipe is incomplete, or its
                scores are not those of the whole Transformers model.
        """
        source = model if isinstance(model, ModelFiles) else find_model(model)
        return cls.from_source(source, resolve_reranker(source, choices))

    @classmethod
    def from_source(
        cls, source: ModelFiles, recipe: RerankRecipe, *, on_step: OnStep | None = None
    ) -> TorchReranker:
        """Load files as a recipe specifies.

        Args:
            source: The files.
            recipe: The recipe of the scores.
            on_step: Called with the name of each step that may take minutes.

        Raises:
            RecipeError: As :meth:`from_pretrained`.
        """
        if on_step is not None:
            on_step("comparing a pair with the whole model")
        tokenizer = load_pair_tokenizer(source.folder, recipe)
        model = load_score_model(source.folder, recipe, tokenizer, adapters=source.adapters)
        return cls(TorchEncoder(model, tokenizer, pad_id=pad_id(source.folder)), recipe)

    @property
    def model(self) -> ScoreModel:
        """The model."""
        model = self._encoder.model
        assert isinstance(model, ScoreModel)
        return model
