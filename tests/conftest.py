"""What all tests share: where real data lies, and what this machine cannot run."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path

import hypothesis
import pytest

from durations import FAST_SECONDS, Measure, seconds
from software_vulkan import why_no_webgpu

# Contract classes assert in modules that pytest would not rewrite by itself.
pytest.register_assert_rewrite("contracts")

INSECURE = "Api key is used with an insecure connection"  # a warning of qdrant-client
ROOT = Path(__file__).resolve().parent.parent

# No test downloads a model: this turns a forgotten hub id into an error at once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Workers share the cores. Torch starts a thread for each core in every one of them, and they wait
# for each other: on two cores that doubles the time.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

hypothesis.settings.register_profile(
    "decant", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.load_profile("decant")


class FrozenModules:
    """Keeps the garbage collector from what lives until the end: modules and collected tests.

    An export collects garbage twice, and would go through some million objects each time.
    """

    MANY = 300
    """So many new modules, as those of torch's exporter, are worth half a second."""

    def __init__(self) -> None:
        self.modules = 0

    def pytest_collection_finish(self) -> None:
        """Freeze what collecting the tests has imported and made."""
        self.freeze()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Freeze what the tests before this one have imported, if it is much."""
        if len(sys.modules) > self.modules + self.MANY:
            self.freeze()

    def freeze(self) -> None:
        """Freeze all that is not garbage."""
        gc.collect()
        gc.freeze()
        self.modules = len(sys.modules)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``make test-fast`` and of measuring what it leaves out."""
    group = parser.getgroup("decant")
    slow = f"leave out files whose tests take over {FAST_SECONDS:g} seconds"
    group.addoption("--fast", action="store_true", help=slow)
    measured = "write how long the tests of each file take to tests/durations.json"
    group.addoption("--measure", action="store_true", help=measured)


def pytest_configure(config: pytest.Config) -> None:
    """Freeze modules in each process; measure in the one that hears of all tests."""
    config.pluginmanager.register(FrozenModules())
    if config.getoption("--measure") and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Measure())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what takes long, where only the quick tests are wanted."""
    return True if config.getoption("--fast") and seconds(collection_path) > FAST_SECONDS else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests by how long their files take; `make test` runs whole files on its workers."""
    items.sort(key=lambda item: -seconds(item.path))
    for item in items:
        if item.get_closest_marker("live"):
            # Such a server may ask for a key and be reached without encryption.
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{INSECURE}"))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real test data (``DECANT_DATA``, default ``../shared/data``)."""
    folder = ROOT / os.environ.get("DECANT_DATA", "../shared/data")
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set DECANT_DATA to the folder that holds it")
    return folder


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with a reason, what needs hardware or a server that is not here."""
    if item.get_closest_marker("gpu") and (reason := _no_gpu()):
        pytest.skip(reason)
    if item.get_closest_marker("webgpu") and (reason := why_no_webgpu()):
        pytest.skip(reason)
    if item.get_closest_marker("live") and not os.environ.get("QDRANT_URL"):
        pytest.skip("no server; set QDRANT_URL to one that may be written to")


def _no_gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA GPU on this machine (nvidia-smi is not on the PATH)"
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "the CPU build of onnxruntime is installed; run `make test-gpu`"
    return None


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a seeded two-layer BERT with prompts, as a sentence-transformers folder."""
    from models import save_sentence_transformer

    return save_sentence_transformer(
        tmp_path_factory.mktemp("model") / "tiny-bert",
        "bert",
        prompts={"query": "query: ", "document": "passage: "},
    )


@pytest.fixture(scope="session")
def bare_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the files of :func:`tiny_folder` without weights, which fit any graph of its sizes."""
    without = shutil.ignore_patterns("*.safetensors")
    target = tmp_path_factory.mktemp("bare") / tiny_folder.name
    return Path(shutil.copytree(tiny_folder, target, ignore=without))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certified bundle of :func:`tiny_folder`; copy it before changing it."""
    from decant.export import export

    bundle = tmp_path_factory.mktemp("bundle") / "tiny"
    export(tiny_folder, bundle)
    return bundle


@pytest.fixture(scope="session")
def tiny_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certified bundle of a seeded two-layer cross-encoder; copy it to change it."""
    from decant.export import export
    from rerank_models import save_cross_encoder

    home = tmp_path_factory.mktemp("reranker")
    export(save_cross_encoder(home / "tiny-cross-encoder", "bert"), home / "bundle")
    return home / "bundle"
