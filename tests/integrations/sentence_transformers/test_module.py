"""sentence-transformers opens bundles; what it gives is what the encoder and the model give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

from decant.embedders import (
    Choices,
    HashEncoder,
    Output,
    PooledTokens,
    ProviderError,
    RecipeError,
    Role,
    TextError,
    load,
)
from decant.export import convert, export
from decant.integrations.sentence_transformers import BundleModule
from decant.integrations.sentence_transformers.encode_requests import resolve_request
from models import LONGEST, WIDTH, save_sentence_transformer, tokenizer
from sentence_models import TEXTS, alike, expected, opened, same, save_tokenizer_settings

SHORT = TEXTS[:4]
TASK = "Instruct: find it\nQuery: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model's folder, its bundle, and what ends its inputs where its tokenizer does not."""

    folder: Path
    bundle: Path
    end: str = ""


def made(root: Path, family: str, pooling: str, prompts: dict[str, str]) -> Path:
    folder = save_sentence_transformer(root / "model", family, pooling=pooling, prompts=prompts)
    save_tokenizer_settings(folder)
    return folder


@pytest.fixture(scope="module")
def mean(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A mean with prompts on both sides, as E5 has them."""
    root = tmp_path_factory.mktemp("mean")
    folder = made(root, "bert", "mean", {"query": "query: ", "document": "passage: "})
    export(folder, root / "bundle")
    return Case(folder=folder, bundle=root / "bundle")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A first token without prompts, in int8 too."""
    root = tmp_path_factory.mktemp("first")
    folder = made(root, "bert", "cls", {})
    export(folder, root / "bundle")
    convert(root / "bundle", "int8")
    return Case(folder=folder, bundle=root / "bundle")


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A last token, behind an instruction for queries and before an EOS, with token states."""
    root = tmp_path_factory.mktemp("last")
    folder = made(root, "qwen3", "lasttoken", {"query": TASK})
    tokenizer("<s> $A").save(str(folder / "tokenizer.json"))
    template = "Instruct: {instruction}\nQuery: {text}"
    choices = Choices(eos="</s>", instruction_template=template, token_embeddings=True)
    export(folder, root / "bundle", choices=choices)
    return Case(folder=folder, bundle=root / "bundle", end="</s>")


@pytest.fixture(params=["mean", "first", "last"])
def case(request: pytest.FixtureRequest) -> Case:
    found = request.getfixturevalue(str(request.param))
    assert isinstance(found, Case)
    return found


def test_one_line_gives_the_encoders_vectors(case: Case) -> None:
    model = opened(case.bundle)
    for batch_size in (1, 4, 32):
        same(model.encode(TEXTS, batch_size=batch_size), expected(case.bundle, TEXTS))
    same(model.encode_document(TEXTS), expected(case.bundle, TEXTS))
    same(model.encode_query(TEXTS), expected(case.bundle, TEXTS, Role.QUERY))
    assert model.encode(TEXTS[0]).shape == (WIDTH,)
    assert len(model.encode([])) == 0


def test_sentence_transformers_gives_the_same_for_the_model_itself(case: Case) -> None:
    model, original = opened(case.bundle), SentenceTransformer(str(case.folder), device="cpu")
    texts = [f"{text}{case.end}" for text in SHORT]
    assert alike(model.encode_query(SHORT), original.encode_query(texts))
    assert alike(model.encode_document(SHORT), original.encode_document(texts))
    names = {"query", "document"}
    assert {name: original.prompts[name] for name in names} == model.prompts


def test_names_and_texts_of_prompts_mean_roles(case: Case) -> None:
    model = opened(case.bundle)
    queries = expected(case.bundle, SHORT, Role.QUERY)
    same(model.encode(SHORT, prompt_name="query"), queries)
    same(model.encode(SHORT, prompt=model.prompts["query"]), queries)
    same(model.encode(SHORT, prompt_name="document"), expected(case.bundle, SHORT))


def test_the_roles_differ_where_the_recipe_has_prompts(mean: Case, last: Case) -> None:
    for case in (mean, last):
        model = opened(case.bundle)
        assert not alike(model.encode_query(SHORT), model.encode(SHORT))


def test_another_prompt_stands_before_texts_that_have_none(first: Case, last: Case) -> None:
    texts = [f"title: {text}" for text in SHORT]
    for case in (first, last):
        model = opened(case.bundle)
        same(model.encode(SHORT, prompt="title: "), expected(case.bundle, texts))
        same(model.encode_document(SHORT, prompt="title: "), expected(case.bundle, texts))
    module = BundleModule(load(first.bundle, provider="cpu", precision="fp32"))
    other = SentenceTransformer(modules=[module], prompts={"query": "q "})
    same(other.encode_query(SHORT), expected(first.bundle, [f"q {text}" for text in SHORT]))


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.encode(SHORT, prompt="title: "),
        lambda model: model.encode(SHORT, prompt=""),
        lambda model: model.encode_query(SHORT, prompt="title: "),
        lambda model: model.encode_query(SHORT, prompt_name="document"),
        lambda model: model.encode_document(SHORT, prompt="passage: passage: "),
    ],
)
def test_another_prompt_than_the_recipes_is_refused(
    mean: Case, ask: Callable[[SentenceTransformer], object]
) -> None:
    with pytest.raises(RecipeError, match="behind its own prompt"):
        ask(opened(mean.bundle))


def test_prompts_that_were_switched_off_are_not_added_in_silence(mean: Case) -> None:
    prompts = {"query": "", "document": ""}
    model = SentenceTransformer(str(mean.bundle), prompts=prompts, trust_remote_code=True)
    for ask in (model.encode_query, model.encode_document):
        with pytest.raises(RecipeError, match="the call has '' instead"):
            ask(SHORT)


def test_a_prompt_that_would_be_pooled_as_text_is_refused(last: Case) -> None:
    with load(last.bundle, provider="cpu") as encoder:
        recipe = replace(encoder.recipe, span=PooledTokens.TEXT)
    assert resolve_request(recipe, SHORT, task="query", prompt=TASK) == (Role.QUERY, SHORT)
    with pytest.raises(RecipeError, match="would take the prompt 'title: ' for text"):
        resolve_request(recipe, SHORT, task=None, prompt="title: ")


@pytest.mark.parametrize("prefix", ["query: ", "passage: "])
def test_a_prompt_written_by_hand_is_not_doubled(mean: Case, prefix: str) -> None:
    model, texts = opened(mean.bundle), [*SHORT, f"{prefix}who?"]
    with pytest.raises(RecipeError, match=f"'{prefix}who\\?' begins with a prompt"):
        model.encode(texts)
    same(model.encode_document(texts), expected(mean.bundle, texts))


def test_an_instruction_is_an_argument_of_encode(last: Case, mean: Case) -> None:
    with load(last.bundle, provider="cpu") as encoder:
        wanted = encoder.encode(SHORT, role=Role.QUERY, instruction="find bread").dense
    model = opened(last.bundle)
    assert model.get_model_kwargs() == ["instruction"]
    same(model.encode_query(SHORT, instruction="find bread"), wanted)
    with pytest.raises(RecipeError, match="an instruction is for queries"):
        model.encode(SHORT, instruction="find bread")
    with pytest.raises(RecipeError, match="takes no instruction"):
        opened(mean.bundle).encode_query(SHORT, instruction="find bread")


def test_a_module_of_ones_own_needs_no_trust(mean: Case) -> None:
    module = BundleModule(load(mean.bundle, provider="cpu"))
    model = SentenceTransformer(modules=[module], prompts=module.prompts)
    same(model.encode_query(SHORT), expected(mean.bundle, SHORT, Role.QUERY))
    same(model.encode(SHORT), expected(mean.bundle, SHORT))
    with pytest.raises(RecipeError, match=r"prompts=module\.prompts"):
        SentenceTransformer(modules=[module]).encode_query(SHORT)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(mean.bundle))
    with pytest.raises(TypeError, match="HashEncoder"):
        BundleModule(HashEncoder())  # type: ignore[arg-type]


def test_settings_of_load_come_by_model_kwargs(first: Case) -> None:
    with load(first.bundle, provider="cpu", precision="int8") as encoder:
        wanted = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    model = opened(first.bundle, precision="int8")
    same(model.encode(TEXTS), wanted)
    assert "int8" in repr(model)
    assert np.abs(wanted - expected(first.bundle, TEXTS)).max() > 1e-6
    with load(first.bundle, provider="cpu", precision="fp32", dim=8, allow_any_dim=True) as encoder:
        wanted = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    model = opened(first.bundle, dim=8, allow_any_dim=True)
    same(model.encode(TEXTS), wanted)
    assert model.get_embedding_dimension() == 8
    onnx = SentenceTransformer(str(first.bundle), trust_remote_code=True, backend="onnx")
    same(
        onnx.encode(TEXTS),
        SentenceTransformer(modules=[*opened(first.bundle, precision="auto")]).encode(TEXTS),
    )


def test_settings_that_are_not_loads_are_refused(first: Case) -> None:
    with pytest.raises(TypeError, match="no setting torch_dtype"):
        opened(first.bundle, torch_dtype="auto")
    for settings in ("processor_kwargs", "config_kwargs"):
        with pytest.raises(TypeError, match="no setting use_fast"):
            BundleModule.load(str(first.bundle), **{settings: {"use_fast": True}})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not on 'openvino'"):
        BundleModule.load(str(first.bundle), backend="openvino")
    with pytest.raises(ProviderError, match="abacus"):
        opened(first.bundle, provider="abacus")
    model = opened(first.bundle)
    with pytest.raises(RecipeError, match="processing_kwargs"):
        model.encode(TEXTS, processing_kwargs={"text": {"max_length": 8}})
    with pytest.raises(RecipeError, match="--max-tokens"):
        model.max_seq_length = 8
    assert model.max_seq_length == LONGEST


def test_what_sentence_transformers_does_with_vectors_still_works(first: Case) -> None:
    model, whole = opened(first.bundle), expected(first.bundle, TEXTS)
    same(model.encode(TEXTS, truncate_dim=8), whole[:, :8])
    short = model.encode(TEXTS, truncate_dim=8, normalize_embeddings=True)
    same(np.linalg.norm(short, axis=1), np.ones(len(TEXTS), np.float32))
    tensor = model.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor)
    same(tensor.numpy(), whole)
    assert model.encode(TEXTS, precision="ubinary").shape == (len(TEXTS), WIDTH // 8)
    assert model.similarity_fn_name == "cosine"
    same(model.similarity(whole, whole).numpy(), whole @ whole.T)
    assert model.get_embedding_dimension() == WIDTH
    (only,) = model.encode(TEXTS[:1], output_value=None)
    assert list(only) == ["sentence_embedding"]


@pytest.mark.skipif(
    sentence_transformers.__version__.startswith(("6.0.", "6.1.")),
    reason="sentence-transformers moves models on every call, which the meta device does not allow",
)
def test_tensors_are_where_the_model_was_put(first: Case) -> None:
    model = SentenceTransformer(str(first.bundle), trust_remote_code=True, device="meta")
    assert model.encode(TEXTS, convert_to_tensor=True).device.type == "meta"


# torch imports its own compiler, parts of which it calls deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiling_a_model_leaves_the_bundle_alone(first: Case) -> None:
    model = opened(first.bundle)
    model.compile()
    same(model.encode(TEXTS), expected(first.bundle, TEXTS))


def test_token_states_come_where_the_recipe_has_them(last: Case, first: Case) -> None:
    with load(last.bundle, provider="cpu") as encoder:
        wanted = encoder.encode(
            TEXTS, role=Role.QUERY, outputs=[Output.TOKEN_EMBEDDINGS]
        ).token_embeddings
    assert wanted is not None
    found = opened(last.bundle).encode_query(TEXTS, output_value="token_embeddings", batch_size=4)
    for rows, others in zip(found, wanted, strict=True):
        same(rows, others)
    with pytest.raises(RecipeError, match="gives no token embeddings"):
        opened(first.bundle).encode(TEXTS, output_value="token_embeddings")


def test_a_text_without_a_vector_is_a_text_error(first: Case) -> None:
    model = opened(first.bundle)
    for wrong in ("", ("a", "b"), 3):
        with pytest.raises(TextError, match="longest first"):
            model.encode(["a", wrong])
