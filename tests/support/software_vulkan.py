"""SwiftShader, a Vulkan device in software, for the tests of WebGPU: on it no GPU is needed.

Invariant: the environment is changed only by :func:`use_swiftshader`, before the first session.
"""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path

VARIABLE = "DECANT_SWIFTSHADER"
_USUAL = Path("/usr/lib/chromium/libvk_swiftshader.so")
_LOADER = "libvulkan.so.1"
_PROVIDER = "WebGpuExecutionProvider"


def swiftshader() -> Path:
    """Return where SwiftShader's library is expected; the file need not be there."""
    return Path(os.environ.get(VARIABLE, _USUAL))


def why_no_webgpu() -> str | None:
    """Return why WebGPU cannot be tested here; None if it can."""
    if not swiftshader().is_file():
        return f"no SwiftShader at {swiftshader()}; set {VARIABLE} to a libvk_swiftshader.so"
    try:
        _load_vulkan()
    except OSError as error:
        return f"no Vulkan loader: {error}"
    import onnxruntime

    if _PROVIDER not in onnxruntime.get_available_providers():
        return "another build of onnxruntime is installed; run `make test-webgpu`"
    return None


def use_swiftshader(folder: Path) -> None:
    """Make SwiftShader the only Vulkan device of this process.

    Args:
        folder: Where the file that names the driver is written.
    """
    driver = {"library_path": str(swiftshader().resolve()), "api_version": "1.3.0"}
    named = folder / "swiftshader.json"
    named.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": driver}), encoding="utf-8")
    os.environ["VK_DRIVER_FILES"] = os.environ["VK_ICD_FILENAMES"] = str(named)
    _load_vulkan()


def _load_vulkan() -> None:
    """Load the loader that Chromium brings, else the system's; ONNX Runtime finds it by its name.

    Raises:
        OSError: There is none.
    """
    beside = swiftshader().resolve().with_name(_LOADER)
    ctypes.CDLL(str(beside) if beside.is_file() else _LOADER)
