"""Every error that decant raises on purpose, in one tree.

DecantError
├── RecipeError(ValueError)          a recipe is incomplete, contradictory or unknown
├── TextError(ValueError)            a text cannot be embedded; the message holds its index
├── BundleError                      a bundle is missing, damaged, or from a newer format
├── ParityError                      a graph does not agree with its reference, or a model gives
│                                    what is no number
├── ProviderError(RuntimeError)      the execution provider asked for is not the one that runs, or
│                                    the encoder was closed
│   ├── OutOfMemoryError             the device's memory does not hold the graph or the batch
│   └── RemoteError                  the server of an encoder gives no answer, or something else
├── MissingExtra(ImportError)        an optional package is absent; the message holds the pip line
├── QuantizationError(ValueError)    vectors cannot be quantised, or not with this calibration
├── ExplanationError(ValueError)     states cannot be decoded, or not by this language model
├── CollectionMismatch               a collection belongs to another recipe
└── StoreError                       the store refused, is locked, or is not there

Each message says what happened, with which values, and what to do.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from .distribution import install_command


class DecantError(Exception):
    """Base of every error that decant raises on purpose."""


class RecipeError(DecantError, ValueError):
    """A recipe is incomplete, contradictory or cannot be found."""


class HubError(RecipeError):
    """A model is not on this machine, and the hub cannot be reached or does not answer."""


class TextError(DecantError, ValueError):
    """A text cannot be embedded; the message holds its index."""


class BundleError(DecantError):
    """A bundle is missing, damaged, or written by a newer decant."""


class ParityError(DecantError):
    """A graph does not agree with the reference it was made from, or gives NaN or infinity."""


class ProviderError(DecantError, RuntimeError):
    """The execution provider that was asked for is not the one that would run, or none is left."""


class OutOfMemoryError(ProviderError, MemoryError):
    """The memory of the provider's device does not hold the graph, or not this batch."""


class RemoteError(ProviderError):
    """The server of an encoder cannot be reached, refuses, or sends what is no answer."""


class MissingExtra(DecantError, ImportError):
    """An optional package is not installed; the message holds the pip line."""


class CollectionMismatch(DecantError):
    """A collection was filled by another recipe than the one at hand."""


class QuantizationError(DecantError, ValueError):
    """Vectors cannot be quantised, or not with the calibration at hand."""


class ExplanationError(DecantError, ValueError):
    """States cannot be decoded to text, or not by the language model at hand."""


class StoreError(DecantError):
    """The store refused an operation, is locked, or cannot be reached."""


def need(module: str, *, extra: str) -> ModuleType:
    """Import and return ``module``, or say which extra brings it.

    Args:
        module: The module to import, for example ``"onnxruntime"``.
        extra: The extra of decant that installs it, for example ``"cpu"``.

    Raises:
        MissingExtra: The module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there and one of its own needs is not: their message is better
        message = f"{module!r} is not installed; run: {install_command(extra)}"
        raise MissingExtra(message, name=error.name) from error
