"""Soft tokens of passages are read by the tenant alone to whom the passages belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decant.embedders import StoreError, TorchEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    Store,
    TenantError,
    Tenants,
)
from models import save_compressing


def test_soft_tokens_are_the_tenants_own(edge: Store, tmp_path: Path) -> None:
    save_compressing(tmp_path / "model", read=2, widths=(24, 40))
    settings = CollectionSettings(soft_tokens=True, tenants=Tenants())
    with TorchEncoder.from_pretrained(tmp_path / "model") as encoder:
        shared = Collection.create(edge, "docs", encoder, settings=settings)
        acme, globex = shared.tenant("acme"), shared.tenant("globex")
        acme.add([Record(id="a", text="a cat sat"), Record(id="b", text="rain")])
        globex.add([Record(id="a", text="the dog sat here")])
        assert acme.soft_tokens(["a", "b"]).shape[:2] == (2, 2)
        assert not np.allclose(acme.soft_tokens(["a"]), globex.soft_tokens(["a"]))
        with pytest.raises(StoreError, match="is not there"):
            globex.soft_tokens(["b"])
        with pytest.raises(TenantError):
            shared.soft_tokens(["a"])
