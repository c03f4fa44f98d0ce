"""Import OpenVINO: a known version, without its telemetry, and safe for several threads.

Its import would report itself to Google Analytics, and fork this process for that while other
threads run, unless the user opted out in a file (OpenVINO 2026.4, ``openvino/tools/ovc``). Without
the package ``openvino_telemetry`` it does neither.

The types of tensors have a table in C++ that is filled at the first look, by code that takes
Python's lock. Two threads that look first at the same time, such as the workers of an encoder,
wait for each other for ever (31 of 40 tries with four threads,
``experiments/log/2026-12-01-openvino-deadlock.md``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ...distribution import install_command
from ...errors import ProviderError
from ...forks import leave_behind, renew_after_fork
from ..providers.failures import broken_package, import_runtime

if TYPE_CHECKING:
    import openvino
    from openvino.frontend.onnx import ConversionExtension

_OLDEST = (2026, 4)
_EXTRA = "openvino"
_TELEMETRY = "openvino_telemetry"


def openvino_package() -> ModuleType:
    """Return the package, which is imported when the first graph is opened.

    Raises:
        MissingExtra: It is not installed.
        ProviderError: It does not import, or is too old.
    """
    package = _without_telemetry()
    try:
        version = version_of(package)
        numbers = tuple(int(part) for part in version.split(".", 2)[:2])
    except Exception as error:  # what is left of an interrupted installation
        raise broken_package("openvino", error) from error
    if numbers < _OLDEST:
        raise ProviderError(
            f"openvino is {version}, and decant needs {_OLDEST[0]}.{_OLDEST[1]} or newer; run: "
            f"{install_command(_EXTRA)}"
        )
    return package


def version_of(package: ModuleType) -> str:
    """Return its version without the build's number."""
    return str(package.__version__).partition("-")[0]


def openvino_core(
    package: ModuleType, extensions: Callable[[], list[ConversionExtension]]
) -> openvino.Core:
    """Return the one core of this process, as OpenVINO advises; it is made once and never freed.

    Args:
        package: OpenVINO.
        extensions: Gives what is added to a new core.

    Raises:
        RuntimeError: OpenVINO makes none.
    """
    with _cores.lock:
        if (core := _cores.held.get(package)) is None:
            package.Type.f32.to_dtype()  # fills the table of types, before several threads look
            core = package.Core()
            core.add_extension(extensions())
            leave_behind(core)
            _cores.held[package] = core
        return core


def has_device(core: openvino.Core, device: str) -> bool:
    """Return whether there is a device, such as ``CPU`` or ``GPU.0``; no other is looked for.

    To list all of them, OpenVINO loads the plugins of GPUs and unloads them at once where their
    driver is missing. After such a failed loading, the dynamic loader of glibc (2.36 still does)
    may end the whole process when the next thread starts.
    """
    try:
        core.get_property(device, "FULL_DEVICE_NAME")
    except RuntimeError:
        return False
    return True


def _without_telemetry() -> ModuleType:
    if "openvino" in sys.modules or _TELEMETRY in sys.modules:
        return import_runtime("openvino", extra=_EXTRA)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # its import fails
    try:
        return import_runtime("openvino", extra=_EXTRA)
    finally:
        sys.modules.pop(_TELEMETRY, None)


class _Cores:
    """The cores by package, and a lock; a forked child gets both anew."""

    def __init__(self) -> None:
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self.lock = Lock()
        self.held: WeakKeyDictionary[ModuleType, openvino.Core] = WeakKeyDictionary()


_cores = _Cores()
