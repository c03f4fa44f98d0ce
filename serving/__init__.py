"""Serve the encoders of bundles over HTTP: to Qdrant servers, and to clients of OpenAI and TEI.

Importing this package loads nothing heavy: Starlette, uvicorn and prometheus-client, which the
extra ``server`` installs, load with the names that need them.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names


def _check(module: str) -> None:
    if module in ("app", "run"):
        for package in ("orjson", "prometheus_client", "starlette", "uvicorn"):
            need(package, extra="server")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
