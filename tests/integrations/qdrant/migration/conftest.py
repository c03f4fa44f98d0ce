"""What the tests of migrations share: a filled collection in a store of each engine."""

from __future__ import annotations

import pytest

from decant.integrations.qdrant import Collection, Store
from migration_scene import OLD, SETTINGS, fill, without_grace


@pytest.fixture
def notes(store: Store) -> Collection:
    """Return a filled collection of the old encoder."""
    return fill(Collection.create(without_grace(store), "docs", OLD, settings=SETTINGS))
