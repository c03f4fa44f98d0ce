"""The stores and the file of tests of dumps."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.integrations.qdrant import Store
from dump_scene import ENGINES


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each engine, none of which is a tenant's."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def file(scratch: Path) -> Path:
    return scratch / "docs.dump"
