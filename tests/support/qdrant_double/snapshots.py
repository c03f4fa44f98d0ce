"""Snapshots of the double: bytes that stand for those of a collection."""

from __future__ import annotations

import hashlib
from typing import Any

from .answers import Answer, Refused, succeeded
from .engine import Engine


def answer_snapshots(engine: Engine, route: tuple[str, ...], name: str, body: Any) -> Answer:
    """Return what goes back for a request about the snapshots of a collection."""
    real, held = engine.named(name)
    kept = held.snapshots
    match route:
        case ("GET",):
            return succeeded([_shown(one, data) for one, data in kept.items()])
        case ("POST",):
            made = f"{real}-{len(kept) + 1}.snapshot"
            kept[made] = f"{engine.client.count(real).count} points".encode() * 1000
            return succeeded(_shown(made, kept[made]))
        case ("PUT", "recover"):
            held.recovered.append(body["location"])
            return succeeded(result=True)
        case ("GET", wanted) if wanted in kept:
            return Answer(status=200, body=kept[wanted])
        case ("DELETE", wanted) if wanted in kept:
            del kept[wanted]
            return succeeded(result=True)
        case _:
            raise Refused(404, f"Not found: Snapshot {route[-1]} not found")


def _shown(name: str, data: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "creation_time": "2026-11-30T12:00:00",
        "size": len(data),
        "checksum": hashlib.sha256(data).hexdigest(),
    }
