"""The encoder of collections with prefixes."""

from __future__ import annotations

import pytest

from decant.embedders import HashEncoder
from prefix_scene import DIM


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(DIM)
