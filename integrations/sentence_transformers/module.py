"""The module that runs a bundle inside a ``SentenceTransformer``.

The encoder does tokenising, prompts, cutting and batching; sentence-transformers passes it the
texts of one of its batches. ``**kwargs`` and untyped values belong to that interface. Training is
not possible, because a graph has no parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from decant.embedders import OnnxEncoder, RecipeError
from decant.embedders import load as load_encoder
from decant.embedders.bundle import sentence_prompts
from decant.embedders.tokens import checked

from .encode_requests import resolve_request
from .results import numbered_by_batch, run
from .save_bundle import copy_bundle

_SETTINGS = ("provider", "precision", "runtime", "dim", "allow_any_dim", "allow_uncertified")
_BACKENDS = ("torch", "onnx")  # sentence-transformers' default, and ours


class BundleModule(InputModule):
    """A bundle as sentence-transformers' first and only module: texts in, finished vectors out.

    ``SentenceTransformer("bundle", trust_remote_code=True)`` creates it, and
    ``SentenceTransformer(modules=[module], prompts=module.prompts)`` takes one that you made.
    ``encode_query`` encodes queries, ``encode_document`` and ``encode`` passages, each under the
    recipe's prompt. Further modules may follow it.

    Args:
        encoder: An open bundle; see :func:`decant.embedders.load`.

    Attributes:
        encoder: The encoder that computes the vectors.

    Raises:
        TypeError: ``encoder`` is no :class:`OnnxEncoder`.
    """

    # sentence-transformers writes this name into modules.json, and pickle sends it to processes.
    __module__ = "decant.integrations.sentence_transformers"

    forward_kwargs = {"instruction"}  # noqa: RUF012 - declared so by sentence-transformers
    _place: Tensor

    def __init__(self, encoder: OnnxEncoder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(encoder, OnnxEncoder):
            raise TypeError(
                f"BundleModule takes an OnnxEncoder, got {type(encoder).__name__}; open a bundle "
                "with decant.embedders.load"
            )
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        # The module has no parameter, so sentence-transformers reads this for the device of
        # tensors.
        self.register_buffer("_place", torch.empty(0), persistent=False)
        self.eval()

    @classmethod
    def load(  # noqa: PLR0913, PLR0917 - what sentence-transformers hands over
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,  # noqa: FBT001
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,  # noqa: FBT001, FBT002
        init_defaults: dict[str, Any] | None = None,  # noqa: ARG003 - there are none for us
        *,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, object] | None = None,
        config_kwargs: Mapping[str, object] | None = None,
        backend: str = "torch",
        **_: object,
    ) -> Self:
        """Open a bundle; sentence-transformers calls this.

        Args:
            model_name_or_path: The bundle's folder, or a hub id.
            subfolder: The bundle's folder inside it.
            token: A token for the hub.
            cache_folder: The folder for downloads.
            revision: A commit on the hub.
            local_files_only: Whether to make no request to the hub.
            init_defaults: Refused.
            model_kwargs: Arguments of :func:`decant.embedders.load`: ``provider``, ``precision``,
                ``runtime``, ``dim``, ``allow_any_dim``, ``allow_uncertified``.
            processor_kwargs: Refused, because the tokenizer is the bundle's.
            config_kwargs: Refused.
            backend: ``torch`` or ``onnx``; ONNX Runtime runs the bundle in either case.
            **_: Further settings of sentence-transformers, which concern other modules.

        Raises:
            TypeError: A setting is unknown.
            BundleError: The bundle is missing or damaged.
            ProviderError: The provider is not the one that would run.
            ParityError: The graph is not certified on this provider.
            RecipeError: The model cannot be cut to ``dim``.
        """
        if backend not in _BACKENDS:
            raise TypeError(f"a bundle runs on ONNX Runtime, not on {backend!r}; leave backend out")
        wanted = dict(model_kwargs or {})
        unknown = [*(processor_kwargs or {}), *(config_kwargs or {}), *(wanted.keys() - _SETTINGS)]
        if unknown:
            raise TypeError(
                f"a bundle has no setting {', '.join(sorted(unknown))}; model_kwargs may hold "
                f"{', '.join(_SETTINGS)}, and its recipe decides everything else"
            )
        folder = cls.load_dir_path(
            model_name_or_path,
            subfolder=subfolder,
            token=token,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
        )
        place = Path(folder) if folder else Path(model_name_or_path, subfolder)
        return cls(load_encoder(place, **wanted))

    @property
    def prompts(self) -> dict[str, str]:
        """The recipe's prompts, as ``SentenceTransformer(prompts=…)`` takes them."""
        return sentence_prompts(self.encoder.recipe)

    @property
    def max_seq_length(self) -> int:
        """The longest input in tokens, prompt and special tokens included."""
        return self.encoder.recipe.max_tokens

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        raise RecipeError(
            f"the longest input is part of the recipe, {self.encoder.recipe.max_tokens} tokens; "
            f"export the model again with {value} (--max-tokens)"
        )

    def get_embedding_dimension(self) -> int:
        """Return the width D of the vectors."""
        return self.encoder.dim

    def get_config_dict(self) -> dict[str, Any]:
        """Return the module's settings, which sentence-transformers shows."""
        encoder = self.encoder
        return {
            "bundle": str(encoder.bundle.folder),
            "precision": str(encoder.precision),
            "provider": encoder.provider,
        }

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        *,
        task: str | None = None,
        instruction: str | None = None,
        **unknown: object,
    ) -> dict[str, Any]:
        """Return the texts and their role; tokenising is part of encoding.

        Args:
            inputs: Texts.
            prompt: The recipe's own prompt for the role, or a text to put before texts without one.
            task: ``query`` or ``document``; None: ``prompt`` decides the role.
            instruction: The task of queries, for models that take one, in place of the recipe's.
            **unknown: Refused.

        Raises:
            TextError: An input is empty or no text.
            RecipeError: The recipe has another prompt, or there are other settings.
        """
        # No TypeError may be raised here: sentence-transformers would call again in another way.
        if unknown:
            raise RecipeError(
                f"a bundle has no setting {', '.join(unknown)} of encoding; its recipe decides how "
                "texts are cut and tokenised"
            )
        with numbered_by_batch():
            texts = list(checked(inputs))
        role, texts = resolve_request(self.encoder.recipe, texts, task=task, prompt=prompt)
        return {"texts": texts, "role": role, "instruction": instruction}

    def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
        """Return ``sentence_embedding``, float32 (B, D), and ``token_embeddings`` on request.

        Args:
            features: The result of :meth:`preprocess`.
            **_: The settings of encoding, which :meth:`preprocess` has checked.

        Raises:
            RecipeError: The model is being trained, or takes no instruction.
            TextError: A text gives no token that counts.
        """
        if self.training:
            raise RecipeError(
                f"{self.encoder.recipe.base} is a bundle: a graph, without parameters to train. "
                "Train the model that it was exported from (decant train, or "
                "sentence-transformers), and export that"
            )
        with numbered_by_batch():
            return run(self.encoder, features, self._place.device)

    def save(
        self,
        output_path: str,
        *args: object,  # noqa: ARG002
        safe_serialization: bool = True,  # noqa: ARG002
        **kwargs: object,  # noqa: ARG002
    ) -> None:
        """Copy the bundle; decant and sentence-transformers open the copy.

        Provider, precision and runtime are not part of the copy; each opener chooses them.

        Args:
            output_path: A folder; sentence-transformers adds its own files to it.
            *args: Refused.
            safe_serialization: Has no effect, because a graph is always copied as it is.
            **kwargs: Refused.

        Raises:
            RecipeError: This model cuts the vectors, and a copy would not.
        """
        encoder = self.encoder
        if encoder.dim != encoder.bundle.manifest.dim:
            raise RecipeError(
                f"the bundle has {encoder.bundle.manifest.dim} dimensions and this model cuts them "
                f"to {encoder.dim}, which a copy would not do; save a model opened without dim"
            )
        copy_bundle(encoder.bundle, Path(output_path))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return a call that opens the bundle again with equal settings, for copies and pools."""
        return BundleModule, (self.encoder,)
