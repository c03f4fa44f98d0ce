"""Weights beside a graph are written again beside the sealed one; stray links are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from decant.embedders import Bundle, BundleError, Choices, Pooling, Role, load
from decant.export import import_onnx
from foreign_graphs import TOKENS_SEE_ALL, toy
from models import WIDTH


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Return a graph with a second weight, which is not its table."""
    body = TOKENS_SEE_ALL.replace("Tanh (mixed)", "MatMul (mixed, turn)")
    turn = np.random.default_rng(1).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    return toy(tmp_path / "toy.onnx", body, weights={"turn": turn})


def save_beside(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph with its weights in another file, constants of nodes too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=1024,
        convert_attribute=True,
    )


def test_a_constant_beside_the_graph_is_written_again(bare_folder: Path, tmp_path: Path) -> None:
    model = onnx.load(toy(tmp_path / "toy.onnx"))
    constant = onnx.helper.make_node("Constant", [], ["table"], value=model.graph.initializer.pop())
    model.graph.node.insert(0, constant)
    original = tmp_path / "original" / "model.onnx"
    save_beside(model, original)
    import_onnx(original, bare_folder, tmp_path / "sealed")
    (tmp_path / "original").rename(tmp_path / "gone")
    with load(tmp_path / "sealed") as encoder:
        assert encoder.encode(["a"], role=Role.QUERY).dense.shape == (1, WIDTH)


def test_weights_beside_the_graph_stay_beside_it(
    graph: Path, bare_folder: Path, tmp_path: Path
) -> None:
    original = tmp_path / "original" / "model.onnx"
    save_beside(onnx.load(graph), original)
    import_onnx(original, bare_folder, tmp_path / "sealed")
    files = sorted(path.name for path in (tmp_path / "sealed" / "onnx").iterdir())
    assert files == ["model.onnx", "model.onnx_data"]
    (tmp_path / "original").rename(tmp_path / "gone")
    (tmp_path / "sealed").rename(tmp_path / "moved")
    with load(tmp_path / "moved") as encoder:
        assert encoder.encode(["a", "b"], role=Role.QUERY).dense.shape == (2, WIDTH)
    assert "onnx/model.onnx_data" in Bundle.open(tmp_path / "moved").manifest.files


def test_links_of_the_hubs_cache_are_followed(
    graph: Path, bare_folder: Path, tmp_path: Path
) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main" / "onnx"
    snapshot.mkdir(parents=True)
    save_beside(onnx.load(graph), blobs / "1234")
    (blobs / "weights.bin").rename(blobs / "5678")
    (snapshot / "model.onnx").symlink_to("../../../blobs/1234")
    (snapshot / "weights.bin").symlink_to("../../../blobs/5678")
    assert import_onnx(snapshot / "model.onnx", bare_folder, tmp_path / "sealed").passed
    assert not (tmp_path / "sealed" / "onnx" / "model.onnx_data").is_symlink()


def test_a_link_to_anywhere_else_is_not_followed(
    graph: Path, bare_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "original"
    save_beside(onnx.load(graph), folder / "model.onnx")
    (folder / "weights.bin").rename(tmp_path / "elsewhere.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(BundleError, match=r"cannot be (read|opened)|does not open"):
        import_onnx(folder / "model.onnx", bare_folder, tmp_path / "sealed")


def test_graphs_of_a_folder_without_weights_are_told_apart(
    bare_folder: Path, tmp_path: Path
) -> None:
    said = Choices(pooling=Pooling.MEAN)
    one, two = toy(tmp_path / "one.onnx"), toy(tmp_path / "two.onnx", opset=18)
    digests = [
        import_onnx(graph, bare_folder, tmp_path / graph.stem, choices=said).digest
        for graph in (one, two)
    ]
    assert digests[0] != digests[1]
    again = import_onnx(one, bare_folder, tmp_path / "again", choices=said)
    assert again.digest == digests[0]
