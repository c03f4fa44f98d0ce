"""How live tests reach their server, tried on a stand-in for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fault_server import PEM, FaultServer, running
from live_server import connect_live


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultServer]:
    for name in ("QDRANT_API_KEY", "QDRANT_CA", "QDRANT_GRPC_PORT"):
        monkeypatch.setenv(name, "")
    with running(FaultServer(encrypted=request.param)) as server:
        monkeypatch.setenv("QDRANT_URL", server.url)
        if request.param:
            monkeypatch.setenv("QDRANT_CA", str(PEM))
        yield server


def test_a_key_goes_along(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "key")
    with connect_live("live") as store:
        assert store.names() == []
    assert set(server.keys) == {"key"}


def test_grpc_at_a_port_that_nobody_named_is_passed_over(server: FaultServer) -> None:
    with pytest.raises(pytest.skip.Exception, match=f"{server.url} speak gRPC. set QDRANT_GRPC"):
        connect_live("live-grpc")
    assert server.asked == []
