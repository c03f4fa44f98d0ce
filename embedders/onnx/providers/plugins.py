"""Providers that ONNX Runtime loads from a library of their own: registered once, at first use.

A plugin's package says where its library lies (``get_library_path``); ONNX Runtime asks the library
which devices it can run on. Where there is none, nothing runs elsewhere in its place: that is a
:class:`ProviderError`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from ...errors import ProviderError
from .failures import first_words, import_runtime
from .table import PROVIDERS, Provider, Source

if TYPE_CHECKING:
    import onnxruntime
else:
    onnxruntime = import_runtime("onnxruntime", extra="cpu")

_REGISTERING = Lock()


def installed_plugins() -> list[str]:
    """Return the full names of plugins and other runtimes that are installed; none is loaded."""
    return [
        row.full_name
        for row in PROVIDERS
        if row.source is not Source.BUILD and importlib.util.find_spec(row.package) is not None
    ]


def add_plugin(
    options: onnxruntime.SessionOptions, row: Provider, device: int, settings: Mapping[str, str]
) -> None:
    """Let a session run on a plugin's device.

    Args:
        options: Of the session.
        row: The provider.
        device: The number of the device among those that the plugin can run on.
        settings: The provider's options.

    Raises:
        ProviderError: The library does not load, or offers no such device.
    """
    with _REGISTERING:
        _register(row)
    # The name of a device that compiles graphs and runs nothing ends in ".virtual".
    real = [one for one in onnxruntime.get_ep_devices() if one.ep_name == row.full_name]
    if device >= len(real):
        raise ProviderError(
            f"{row.full_name} finds {len(real)} devices here that run graphs, and device {device} "
            "was asked for; look after the driver, or pass provider='cpu'"
        )
    options.add_provider_for_devices([real[device]], dict(settings))


@cache
def _register(row: Provider) -> None:
    """Load a plugin's library, once in a process."""
    try:
        library = importlib.import_module(row.package).get_library_path()
        onnxruntime.register_execution_provider_library(row.full_name, library)
    except Exception as error:  # its errors share no base class
        raise ProviderError(
            f"the library of {row.full_name} does not load in onnxruntime "
            f"{onnxruntime.__version__}: {first_words(error)}; install the two in versions that "
            f"fit: {row.advice}"
        ) from error
