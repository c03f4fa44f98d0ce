"""WebGPU on SwiftShader, for a run of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from decant.export import exporter
from software_vulkan import use_swiftshader
from webgpu_bundles import Bundles, few_texts


@pytest.fixture(scope="session", autouse=True)
def _swiftshader(tmp_path_factory: pytest.TempPathFactory) -> None:
    use_swiftshader(tmp_path_factory.mktemp("vulkan"))


@pytest.fixture(scope="module", autouse=True)
def _few_probes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "probe_texts", few_texts)
        yield


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Return the maker of this run's bundles."""
    return Bundles(tmp_path_factory.mktemp("webgpu"))
