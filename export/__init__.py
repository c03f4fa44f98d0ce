"""PyTorch models to ONNX bundles with a certificate, sealing others' graphs, certifying anew.

Names are imported when first used: :func:`verify`, :func:`seal` and :func:`convert` need
no torch.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import LazyNames

_PACKAGES = {
    "converter": ("onnx", "onnx_ir"),
    "exporter": ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "optimum"),
    "importer": ("onnx", "onnx_ir"),
    "verifier": (),
}


def _check(module: str) -> None:
    for package in _PACKAGES[module]:
        need(package, extra="export")


_names = LazyNames(__name__, __file__, check=_check)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
