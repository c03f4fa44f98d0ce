"""A graph is sealed with the folder of its own model alone, and its hash is its identity."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from decant.embedders import Bundle, BundleError, RecipeError, Role, TextError, load
from decant.embedders.sources.find import find_model
from decant.export import export, import_onnx
from foreign_graphs import TOKENS_SEE_ALL, scripted, table, toy
from models import WIDTH, save_sentence_transformer, tokenizer, write_json

WORDS = tokenizer().get_vocab_size()
NAMES = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module")
def graph(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as others export it: with its weights, linear ones transposed."""
    return scripted(tiny_folder, tmp_path_factory.mktemp("graph") / "model.onnx", NAMES)


def weight_names(path: Path) -> list[str]:
    return [item.name for item in onnx.load(path).graph.initializer if len(item.dims) == 2]


def changed(
    graph: Path, target: Path, names: list[str], change: Callable[[NDArray[np.float32]], object]
) -> Path:
    """Write a graph with other values in some of its weights."""
    model = onnx.load(graph)
    for item in model.graph.initializer:
        if item.name in names:
            values = np.asarray(change(onnx.numpy_helper.to_array(item)))
            item.CopyFrom(onnx.numpy_helper.from_array(values, item.name))
    onnx.save(model, target)
    return target


def weights_compared(bundle: Path) -> int:
    (entry,) = Bundle.open(bundle).certificate().entries
    return sum(check.cases for check in entry.checks if check.name == "weights")


def edited(folder: Path, target: Path, **settings: object) -> Path:
    """Copy a folder, with another ``config.json``; None takes a key out."""
    made = Path(shutil.copytree(folder, target))
    config = json.loads((made / "config.json").read_text("utf-8")) | settings
    write_json(made / "config.json", {k: v for k, v in config.items() if v is not None})
    return made


def test_a_sealed_graph_has_another_digest_than_the_export_and_than_other_graphs(
    graph: Path, tiny_folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    first = import_onnx(graph, tiny_folder, tmp_path / "first")
    again = import_onnx(graph, tiny_folder, tmp_path / "again")
    model = onnx.load(graph)
    model.doc_string = "made anew"
    onnx.save(model, tmp_path / "other.onnx")
    other = import_onnx(tmp_path / "other.onnx", tiny_folder, tmp_path / "other")
    exported = Bundle.open(tiny_bundle).certificate().digest
    assert first.digest == again.digest
    assert len({first.digest, other.digest, exported}) == 3
    assert weights_compared(tmp_path / "first") > 10


def test_an_export_keeps_its_digest(tiny_folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    again = export(tiny_folder, tmp_path / "again")
    assert again.digest == Bundle.open(tiny_bundle).certificate().digest
    assert Bundle.open(tiny_bundle).manifest.recipe.revision == find_model(tiny_folder).revision


def test_a_hubs_commit_stays_readable_in_the_revision(bare_folder: Path, tmp_path: Path) -> None:
    source = replace(find_model(bare_folder), revision="c0ffee")
    import_onnx(toy(tmp_path / "toy.onnx"), source, tmp_path / "sealed")
    revision = Bundle.open(tmp_path / "sealed").manifest.recipe.revision
    assert revision is not None
    assert revision.startswith("c0ffee+sha256:")


def test_weights_of_another_training_are_refused(
    graph: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """As paraphrase-MiniLM-L3 with the folder of all-MiniLM-L6: the same sizes, other numbers."""
    other = Path(shutil.copytree(tiny_folder, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    tuned = {name: values * np.float32(1.01) for name, values in weights.items()}
    save_file(tuned, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"was not made of the weights in .* its token table"):
        import_onnx(graph, other, tmp_path / "sealed")
    assert not (tmp_path / "sealed").exists()


def test_linear_layers_are_compared_too(graph: Path, tiny_folder: Path, tmp_path: Path) -> None:
    linear = [name for name in weight_names(graph) if "embeddings" not in name]
    assert len(linear) > 4
    moved = changed(graph, tmp_path / "moved.onnx", linear, lambda values: values * 1.01)
    with pytest.raises(BundleError, match=r"\d+ of its \d+ matrices"):
        import_onnx(moved, tiny_folder, tmp_path / "sealed")


def test_a_few_folded_matrices_are_let_through(
    graph: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """Optimisers fold the scale of attention into the queries."""
    one = [name for name in weight_names(graph) if "embeddings" not in name][:1]
    folded = changed(graph, tmp_path / "folded.onnx", one, lambda values: values * 1.01)
    assert import_onnx(folded, tiny_folder, tmp_path / "sealed").passed


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_table_in_half_precision_is_known_again(
    dtype: type[np.floating], bare_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bare_folder, tmp_path / "model"))
    stored = {"embeddings.word_embeddings.weight": table()}
    save_file(stored, folder / "model.safetensors")
    body = TOKENS_SEE_ALL.replace(
        "words = Gather (table, input_ids)",
        "short = Cast <to = 6> (input_ids)\n half = Gather (table, short)\n"
        "words = Cast <to = 1> (half)",
    )
    path = toy(tmp_path / "toy.onnx", body)
    path = changed(path, path, ["table"], lambda values: values.astype(dtype))
    assert import_onnx(path, folder, tmp_path / "sealed").passed
    assert weights_compared(tmp_path / "sealed") == 1
    other = changed(path, tmp_path / "o.onnx", ["table"], lambda v: (v * 1.01).astype(dtype))
    with pytest.raises(BundleError, match="its token table table"):
        import_onnx(other, folder, tmp_path / "other")


def test_weights_that_cannot_be_read_are_named(bare_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bare_folder, tmp_path / "model"))
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(RecipeError, match=r"model\.safetensors is not a readable .*download it"):
        import_onnx(toy(tmp_path / "toy.onnx"), folder, tmp_path / "sealed")


def test_states_of_another_width_than_the_configs_are_refused_with_both_numbers(
    bare_folder: Path, tmp_path: Path
) -> None:
    wide = edited(bare_folder, tmp_path / "wide", hidden_size=768)
    said = f"token states of width {WIDTH} and config.json says 768"
    with pytest.raises(BundleError, match=said):
        import_onnx(toy(tmp_path / "toy.onnx"), wide, tmp_path / "sealed")
    unsaid = toy(tmp_path / "unsaid.onnx", outputs=("float[batch, tokens, d] last_hidden_state",))
    with pytest.raises(BundleError, match=said):
        import_onnx(unsaid, wide, tmp_path / "sealed")
    assert import_onnx(unsaid, bare_folder, tmp_path / "sealed").passed


def test_opts_projected_states_are_as_wide_as_its_config_says(
    bare_folder: Path, tmp_path: Path
) -> None:
    folder = edited(bare_folder, tmp_path / "opt", hidden_size=64, word_embed_proj_dim=WIDTH)
    assert import_onnx(toy(tmp_path / "toy.onnx"), folder, tmp_path / "sealed").passed


@pytest.mark.parametrize("rows", [-3, 5])
def test_a_token_table_of_another_size_than_the_configs_is_refused_with_both_numbers(
    rows: int, bare_folder: Path, tmp_path: Path
) -> None:
    folder = edited(bare_folder, tmp_path / "model", vocab_size=WORDS + rows)
    said = f"embeddings for {WORDS} tokens and .* says {WORDS + rows}"
    with pytest.raises(BundleError, match=said):
        import_onnx(toy(tmp_path / "toy.onnx"), folder, tmp_path / "sealed")


def test_where_the_config_says_nothing_the_tokenizer_must_fit(
    bare_folder: Path, tmp_path: Path
) -> None:
    folder = edited(bare_folder, tmp_path / "model", vocab_size=None)
    assert import_onnx(toy(tmp_path / "toy.onnx"), folder, tmp_path / "sealed").passed
    small = toy(tmp_path / "small.onnx", weights={"table": table()[:-2]})
    with pytest.raises(BundleError, match=rf"{WORDS - 2} tokens .* ids up to {WORDS - 1}"):
        import_onnx(small, folder, tmp_path / "other")


def test_a_token_beyond_the_table_is_named_and_never_reaches_the_graph(
    bare_folder: Path, tmp_path: Path
) -> None:
    """As EmbeddingGemma has one: config and graph agree, the tokenizer knows a token more."""
    folder = Path(shutil.copytree(bare_folder, tmp_path / "model"))
    larger = tokenizer()
    larger.add_special_tokens(["<image>"])
    larger.save(str(folder / "tokenizer.json"))
    import_onnx(toy(tmp_path / "toy.onnx"), folder, tmp_path / "sealed")
    with (
        load(tmp_path / "sealed") as encoder,
        pytest.raises(TextError, match="text 1 holds '<image>'"),
    ):
        encoder.encode(["the hat", "an <image>"], role=Role.PASSAGE)


def test_an_output_of_another_name_is_sealed_where_it_is_said(
    bare_folder: Path, tmp_path: Path
) -> None:
    graph = toy(
        tmp_path / "toy.onnx",
        TOKENS_SEE_ALL,
        outputs=(f"float[batch, tokens, {WIDTH}] mixed", f"float[batch, 1, {WIDTH}] mean"),
    )
    with pytest.raises(
        BundleError, match=r"Name the output that holds them \(output=, or --output\)"
    ):
        import_onnx(graph, bare_folder, tmp_path / "sealed")
    with pytest.raises(BundleError, match=r"'other' of .* does not exist; its outputs are mixed"):
        import_onnx(graph, bare_folder, tmp_path / "sealed", output="other")
    assert import_onnx(graph, bare_folder, tmp_path / "sealed", output="mixed").passed
    flat = toy(tmp_path / "flat.onnx", TOKENS_SEE_ALL, outputs=(f"float[b, {WIDTH}] mixed",))
    with pytest.raises(BundleError, match=r"'mixed' of .* is not of three dimensions"):
        import_onnx(flat, bare_folder, tmp_path / "flat", output="mixed")


def test_outputs_of_one_graph_have_digests_of_their_own(bare_folder: Path, tmp_path: Path) -> None:
    states = f"float[batch, tokens, {WIDTH}]"
    outputs = (f"{states} last_hidden_state", f"{states} mixed")
    graph = toy(tmp_path / "toy.onnx", TOKENS_SEE_ALL, outputs=outputs)
    digests = [
        import_onnx(graph, bare_folder, tmp_path / str(output), output=output).digest
        for output in (None, "last_hidden_state", "mixed")
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_bundle_that_was_sealed_before_opens_as_it_was(
    graph: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """Its recipe has the folder's revision alone, and so the digest that its collections hold."""
    import_onnx(graph, tiny_folder, tmp_path / "sealed")
    before = find_model(tiny_folder).revision
    manifest = json.loads((tmp_path / "sealed" / "decant.json").read_text("utf-8"))
    recipe = replace(Bundle.open(tmp_path / "sealed").manifest.recipe, revision=before)
    manifest["recipe"]["revision"] = before
    manifest["digest"] = recipe.digest()
    write_json(tmp_path / "sealed" / "decant.json", manifest)
    certificate = json.loads((tmp_path / "sealed" / "certificate.json").read_text("utf-8"))
    write_json(tmp_path / "sealed" / "certificate.json", certificate | {"digest": recipe.digest()})
    with load(tmp_path / "sealed") as encoder:
        assert encoder.recipe.digest() == recipe.digest()
        assert encoder.encode(["a"], role=Role.QUERY).dense.shape == (1, WIDTH)


def test_a_model_of_another_family_is_refused(graph: Path, tmp_path: Path) -> None:
    other = save_sentence_transformer(tmp_path / "roberta", "roberta")
    with pytest.raises(BundleError, match="was not made of the weights in"):
        import_onnx(graph, other, tmp_path / "sealed")
