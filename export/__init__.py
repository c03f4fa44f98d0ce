"""Export PyTorch models as certified ONNX bundles, import other tools' graphs, certify again.

Names are imported when they are first used. :func:`convert` and :func:`import_onnx` need the extra
``onnx``, without torch, and :func:`verify` only a runtime.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names

# The packages that a module imports, and the extra that brings them.
_NEEDED = {
    "converter": ("onnx", ("onnx", "onnx_ir")),
    "exporter": (
        "export",
        ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "optimum"),
    ),
    "importer": ("onnx", ("ml_dtypes", "onnx", "onnx_ir", "safetensors")),
    "verifier": ("cpu", ()),
}


def _check(module: str) -> None:
    extra, packages = _NEEDED[module]
    for package in packages:
        need(package, extra=extra)


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
