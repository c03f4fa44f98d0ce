"""An encoder behind a port obeys the contract of all encoders, and gives the bits of the served."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from contracts.encoder import EncoderContract
from contracts.texts import TEXTS
from decant.embedders import (
    BundleError,
    Encoder,
    ExecutionOptions,
    HashEncoder,
    OnnxEncoder,
    Output,
    ProviderError,
    QuantizationError,
    RecipeError,
    RemoteAccess,
    RemoteEncoder,
    RemoteError,
    Role,
    TextError,
    Vectors,
    load,
    span_vectors,
)
from decant.embedders.encoding import gives_parts
from decant.integrations.qdrant import Collection, Document, connect
from decant.serving import ApiKeys, ServedModel, create_app
from instructed_encoder import InstructedEncoder
from served_encoder import listening, served

KEY = "a-key-of-some-length"
ALL = (Output.SPARSE, Output.TOKEN_EMBEDDINGS)


@pytest.fixture(scope="module")
def local() -> HashEncoder:
    return HashEncoder(dim=16, max_tokens=40, sparse=True, tokens=True)


@pytest.fixture(scope="module")
def remote(local: HashEncoder) -> Iterator[RemoteEncoder]:
    with served(local) as url, RemoteEncoder.connect(url) as encoder:
        yield encoder


@pytest.fixture(scope="module")
def onnx(tiny_bundle: Path) -> Iterator[OnnxEncoder]:
    with load(tiny_bundle, provider="cpu") as encoder:
        yield encoder


@pytest.fixture(scope="module")
def remote_onnx(onnx: OnnxEncoder) -> Iterator[RemoteEncoder]:
    with served(onnx) as url, RemoteEncoder.connect(url) as encoder:
        yield encoder


class TestRemoteHashEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self, remote: RemoteEncoder) -> Encoder:
        return remote


class TestRemoteOnnxEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self, remote_onnx: RemoteEncoder) -> Encoder:
        return remote_onnx


def assert_same(found: Vectors, wanted: Vectors) -> None:
    """Compare all that was given, bit for bit."""
    np.testing.assert_array_equal(found.dense, wanted.dense)
    assert (found.sparse is None) is (wanted.sparse is None)
    if found.sparse is not None and wanted.sparse is not None:
        np.testing.assert_array_equal(found.sparse.starts, wanted.sparse.starts)
        np.testing.assert_array_equal(found.sparse.indices, wanted.sparse.indices)
        np.testing.assert_array_equal(found.sparse.values, wanted.sparse.values)
    assert (found.token_embeddings is None) is (wanted.token_embeddings is None)
    for one, other in zip(found.token_embeddings or (), wanted.token_embeddings or (), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("outputs", [(), ALL, ALL[:1], ALL[1:]])
def test_every_bit_is_that_of_the_served_encoder(
    role: Role, outputs: tuple[Output, ...], local: HashEncoder, remote: RemoteEncoder
) -> None:
    texts = [f"{text} {number % 5}" for number in range(120) for text in TEXTS]
    found = remote.encode(texts, role=role, outputs=outputs)
    assert_same(found, local.encode(texts, role=role, outputs=outputs))
    assert_same(
        remote.encode([], role=role, outputs=outputs), local.encode([], role=role, outputs=outputs)
    )


def test_the_vectors_of_a_bundle_are_those_of_the_bundle(
    onnx: OnnxEncoder, remote_onnx: RemoteEncoder
) -> None:
    for text in TEXTS:
        one = remote_onnx.encode([text], role=Role.QUERY).dense
        np.testing.assert_array_equal(one, onnx.encode([text], role=Role.QUERY).dense)
    assert (remote_onnx.precision, remote_onnx.provider) == (onnx.precision, onnx.provider)
    assert remote_onnx.recipe == onnx.recipe
    for role in Role:
        assert remote_onnx.max_text_tokens(role) == onnx.max_text_tokens(role)
    assert remote_onnx.tokenizer.encode(TEXTS[5]).ids == onnx.tokenizer.encode(TEXTS[5]).ids


def test_the_facts_hold_the_reference_of_the_bundle(
    tiny_bundle: Path, remote_onnx: RemoteEncoder
) -> None:
    with np.load(tiny_bundle / "reference.npz", allow_pickle=False) as stored:
        texts, vectors = [str(text) for text in stored["texts"]], stored["vectors"]
    golden = remote_onnx.facts.golden
    for role, offset in ((Role.PASSAGE, 0), (Role.QUERY, len(texts))):
        shown = [one for one in golden if one.role is role]
        assert [one.text for one in shown] == texts[: len(shown)] != []
        np.testing.assert_array_equal(
            np.array([one.vector for one in shown], np.float32),
            vectors[offset : offset + len(shown)],
        )


def test_load_takes_an_address_and_checks_what_it_is_asked_for(onnx: OnnxEncoder) -> None:
    with served(onnx) as url:
        with load(f"{url}/", provider="cpu", precision="fp32") as encoder:
            assert RemoteEncoder in type(encoder).__mro__
            assert OnnxEncoder not in type(encoder).__mro__
            assert encoder.recipe.digest() == onnx.recipe.digest()
        with pytest.raises(ProviderError, match="runs on CPUExecutionProvider"):
            load(url, provider="cuda")
        with pytest.raises(ProviderError, match="runs fp32"):
            load(url, precision="int8")
        with pytest.raises(ProviderError, match="runtime= is for this machine"):
            load(url, runtime=ExecutionOptions(workers=1))
    with pytest.raises(ProviderError, match="access= is for the address"):
        load("./minilm", access=RemoteAccess())


def test_vectors_are_cut_as_those_of_the_bundle(tiny_bundle: Path, onnx: OnnxEncoder) -> None:
    with (
        served(onnx) as url,
        load(url, dim=8, allow_any_dim=True) as found,
        load(tiny_bundle, provider="cpu", dim=8, allow_any_dim=True) as wanted,
    ):
        assert (found.dim, found.recipe) == (8, wanted.recipe)
        rows = found.encode(["a river"], role=Role.QUERY).dense
        np.testing.assert_array_equal(rows, wanted.encode(["a river"], role=Role.QUERY).dense)
        with pytest.raises(RecipeError, match="min_dim"):
            load(url, dim=8)


def test_an_instruction_reaches_the_model_and_a_wrong_one_is_refused_here() -> None:
    encoder = InstructedEncoder()
    with served(encoder) as url, RemoteEncoder.connect(url) as found:
        rows = found.encode(["a river"], role=Role.QUERY, instruction="find it").dense
        wanted = encoder.encode(["a river"], role=Role.QUERY, instruction="find it").dense
        np.testing.assert_array_equal(rows, wanted)
        with pytest.raises(RecipeError, match="an instruction is for queries"):
            found.encode(["a river"], role=Role.PASSAGE, instruction="find it")
        with pytest.raises(RecipeError, match="blank"):
            found.encode(["a river"], role=Role.QUERY, instruction=" ")
        with pytest.raises(RecipeError, match="gives no soft tokens"):
            found.encode(["a river"], role=Role.QUERY, outputs=[Output.SOFT_TOKENS])


class Picky(HashEncoder):
    """An encoder whose tokenizer drops all of some texts."""

    @property
    def text_tokenizer(self) -> Picky:
        return self

    def golden(self) -> list[object]:
        return []

    def __call__(self, texts: Sequence[str], **_: object) -> list[SimpleNamespace]:
        if any(text.startswith("dropped") for text in texts):
            raise TextError("a text has no token")
        return [SimpleNamespace(rows=[SimpleNamespace(ids=[1])]) for _ in texts]


def test_a_text_that_only_the_model_refuses_is_named_by_the_callers_index() -> None:
    texts = ["fine"] * 900 + ["dropped whole"]
    with served(Picky(dim=4)) as url, RemoteEncoder.connect(url) as encoder:
        with pytest.raises(TextError, match=r"text 900 cannot be embedded"):
            encoder.encode(texts, role=Role.PASSAGE)
        assert len(encoder.encode(texts[:-1], role=Role.PASSAGE)) == 900


def test_parts_of_a_text_are_found_where_the_served_encoder_finds_them(
    remote: RemoteEncoder, remote_onnx: RemoteEncoder
) -> None:
    assert not hasattr(remote, "text_tokenizer")  # a HashEncoder has none
    assert not gives_parts(remote)
    assert hasattr(remote_onnx, "text_tokenizer")
    assert not gives_parts(remote_onnx)  # its recipe has no token embeddings
    with pytest.raises(RecipeError, match="token_embeddings=False"):
        span_vectors(remote_onnx, "a river", [(0, 1)])  # pyright: ignore[reportArgumentType]


def test_codes_of_bits_need_no_ranges_and_others_say_where_they_are(remote: RemoteEncoder) -> None:
    rows = remote.encode(["a river"], role=Role.QUERY).dense
    bits = remote.quantizer("ubinary").quantize(rows)
    np.testing.assert_array_equal(bits, np.packbits(rows > 0, axis=1))
    with pytest.raises(QuantizationError, match="needs the range"):
        remote.quantizer("int8")


def test_a_closed_encoder_asks_for_nothing(local: HashEncoder) -> None:
    with served(local) as url:
        encoder = RemoteEncoder.connect(url)
        stream = encoder.stream(["a river"] * 3_000, role=Role.PASSAGE)
        next(stream)
        encoder.close()
        with pytest.raises(ProviderError, match="is closed"):
            list(stream)
        with pytest.raises(ProviderError, match="is closed"):
            encoder.encode(["a river"], role=Role.QUERY)
        encoder.close()


def test_one_of_several_models_is_named_in_the_address(local: HashEncoder) -> None:
    other = HashEncoder(dim=4)
    models = [ServedModel(name="one", encoder=local), ServedModel(name="a/b", encoder=other)]
    with listening(create_app(models)) as url:
        with pytest.raises(RemoteError, match=r"several models: one, a/b; say which"):
            RemoteEncoder.connect(url)
        for name, dim in (("one", 16), ("a/b", 4), (f"one@{local.recipe.digest()}", 16)):
            with RemoteEncoder.connect(f"{url}/models/{name}") as encoder:
                assert encoder.dim == dim
                assert encoder.encode(["a river"], role=Role.QUERY).dense.shape == (1, dim)
        with pytest.raises(RemoteError, match=r"there is no model 'two' here"):
            RemoteEncoder.connect(f"{url}/models/two")
        with pytest.raises(RemoteError, match=r"has the recipe .* here"):
            RemoteEncoder.connect(f"{url}/models/one@0123456789abcdef")
        with pytest.raises(RemoteError, match=r"without a suffix"):
            RemoteEncoder.connect(f"{url}/models/one:query")


def test_a_key_is_sent_and_never_shown(
    local: HashEncoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.delenv("DECANT_API_KEY", raising=False)
    app = create_app([ServedModel(name="m", encoder=local)], keys=ApiKeys.of([KEY]))
    with listening(app) as url:
        for access in (None, RemoteAccess(api_key="wrong-" + KEY)):
            with pytest.raises(RemoteError, match=r"401.*DECANT_API_KEY") as caught:
                RemoteEncoder.connect(url, access=access)
            assert KEY not in str(caught.value)
        given = RemoteAccess(api_key=KEY)
        with RemoteEncoder.connect(url, access=given) as encoder:
            assert KEY not in repr(given) + repr(encoder) + repr(vars(encoder))
            assert KEY.encode() not in pickle.dumps(encoder)
        monkeypatch.setenv("DECANT_API_KEY", KEY)
        with RemoteEncoder.connect(url) as encoder:
            assert KEY.encode() not in pickle.dumps(encoder)
            with pickle.loads(pickle.dumps(encoder)) as again:
                assert len(again.encode(["a river"], role=Role.QUERY)) == 1
    assert KEY not in caplog.text


def test_a_certificate_of_an_own_authority_is_trusted_where_it_is_given(
    local: HashEncoder,
) -> None:
    from served_encoder import PEM

    app = create_app([ServedModel(name="m", encoder=local)])
    with listening(app, encrypted=True) as url:
        with RemoteEncoder.connect(url, access=RemoteAccess(ca=PEM)) as encoder:
            assert encoder.dim == local.dim
        with pytest.raises(RemoteError, match=r"ca= of RemoteAccess"):
            RemoteEncoder.connect(url)


def test_it_reaches_another_process_by_connecting_again(
    onnx: OnnxEncoder, remote_onnx: RemoteEncoder
) -> None:
    wanted = onnx.encode(["a river"], role=Role.QUERY).dense
    encode = methodcaller("encode", ["a river"], role=Role.QUERY)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(encode, remote_onnx).result(timeout=120)
    np.testing.assert_array_equal(found.dense, wanted)
    assert copy.deepcopy(remote_onnx) is copy.copy(remote_onnx) is remote_onnx


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_asks_over_connections_of_its_own(remote: RemoteEncoder) -> None:
    texts = [f"a river {number}" for number in range(400)]
    wanted = remote.encode(texts, role=Role.PASSAGE).dense
    stream = remote.stream(texts * 10, role=Role.PASSAGE)
    first = next(stream)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            same = np.array_equal(remote.encode(texts, role=Role.PASSAGE).dense, wanted)
            try:
                next(stream)
            except ProviderError as error:
                code = 0 if same and "before this process was forked" in str(error) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(first) + sum(len(block) for block in stream) == 4_000


def test_a_model_that_was_pickled_is_not_taken_for_another() -> None:
    first, second = HashEncoder(dim=4), HashEncoder(dim=4, max_tokens=9)
    models = [create_app([ServedModel(name="m", encoder=one)]) for one in (first, second)]
    current = [models[0]]

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] == "lifespan":
            raise RuntimeError("no lifespan")
        await current[0](scope, receive, send)

    with listening(app) as url:
        with RemoteEncoder.connect(url, allow_uncertified=True) as encoder:
            stored = pickle.dumps(encoder)
        current[0] = models[1]
        with pytest.raises(BundleError, match=r"its vectors would be others"):
            pickle.loads(stored)


def test_a_collection_is_filled_through_it_and_opened_with_the_bundle(
    onnx: OnnxEncoder, remote_onnx: RemoteEncoder, tmp_path: Path
) -> None:
    texts = ["The ferry leaves at seven.", "Bread rises because of yeast.", "A PEP is a document."]
    documents = [Document(source=f"{n}.md", text=text) for n, text in enumerate(texts)]
    with connect(tmp_path / "index") as store:
        filled = Collection.create(store, "notes", remote_onnx)
        filled.index(documents)
        far = filled.search("when does the boat go?", limit=3)
        near = Collection.open(store, "notes", onnx).search("when does the boat go?", limit=3)
        assert [hit.text for hit in far] == [hit.text for hit in near]
        assert [hit.score for hit in far] == [hit.score for hit in near]
        assert {hit.text for hit in far} == {*texts}
