"""The stores of collections with tenants: of each engine, and none that is a tenant's already."""

from __future__ import annotations

import pytest

from decant.integrations.qdrant import Store


@pytest.fixture(params=["edge", "local", "server"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each engine in turn."""
    found: Store = request.getfixturevalue(request.param)
    return found
