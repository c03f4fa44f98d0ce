"""PyTorch models to ONNX bundles with a certificate, sealing others' graphs, certifying anew.

Names are imported when first used: :func:`verify`, :func:`seal` and :func:`convert` need
no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exporting import export as export
    from .precisions import convert as convert
    from .sealing import seal as seal
    from .verifying import verify as verify

_HOME = {"convert": "precisions", "export": "exporting", "seal": "sealing", "verify": "verifying"}

_PACKAGES = {
    "convert": ("onnx", "onnx_ir"),
    "export": ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "optimum"),
    "seal": ("onnx", "onnx_ir"),
    "verify": (),
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from decant.embedders import need

    for package in _PACKAGES[name]:
        need(package, extra="export")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
