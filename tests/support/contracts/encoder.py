"""What every encoder has to do, whatever computes its vectors.

Inherit from :class:`EncoderContract` in a test file and give it an ``encoder`` fixture. The
encoder should be tiny, and its recipe's ``max_tokens`` at most a few dozen: the contract fills it.
Only what the ``Encoder`` protocol promises is asserted, so that no implementation can drift.
"""

from __future__ import annotations

import threading
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from decant.embedders import Encoder, Recipe, RecipeError, Role, TextError

from .texts import TEXTS, Endless, cosines, encoded, streamed, text_of, tokens

SAME = 0.9999
READ_AHEAD = 10_000
"""More texts than any encoder may read ahead of the vectors that it has yielded."""


class EncoderContract:
    """The tests; a subclass gives the encoder."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        """Return the encoder under test."""
        raise NotImplementedError("a contract class needs its own `encoder` fixture")

    @pytest.mark.parametrize("role", Role)
    def test_no_texts_give_an_array_without_rows(self, encoder: Encoder, role: Role) -> None:
        vectors = encoder.encode([], role=role)
        assert vectors.dense.shape == (0, encoder.dim)
        assert vectors.dense.dtype == np.float32
        assert sum(len(block) for block in encoder.stream([], role=role)) == 0

    @pytest.mark.parametrize("role", Role)
    def test_each_text_gets_one_finite_float32_row(self, encoder: Encoder, role: Role) -> None:
        vectors = encoder.encode(TEXTS, role=role)
        assert len(vectors) == len(TEXTS)
        assert vectors.dense.shape == (len(TEXTS), encoder.dim)
        assert vectors.dense.dtype == np.float32
        assert np.isfinite(vectors.dense).all()

    def test_vectors_have_unit_length_if_the_recipe_normalises(self, encoder: Encoder) -> None:
        lengths = np.linalg.norm(encoder.encode(TEXTS, role=Role.PASSAGE).dense, axis=1)
        assert (lengths > 0).all()
        assert not encoder.recipe.normalize or np.abs(lengths - 1).max() < 1e-4

    def test_rows_come_in_the_order_of_the_texts(self, encoder: Encoder) -> None:
        forwards = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        backwards = encoder.encode(TEXTS[::-1], role=Role.PASSAGE).dense
        assert cosines(forwards, backwards[::-1]).min() > SAME
        short, long = encoder.encode(["a river", "a hill " * 30], role=Role.PASSAGE).dense
        assert cosines(forwards[:1], short[None]) > SAME
        assert cosines(forwards[:1], long[None]) < SAME

    @pytest.mark.parametrize(
        "kind",
        [list, tuple, iter, np.array, lambda texts: dict.fromkeys(texts).keys()],
        ids=["list", "tuple", "iterator", "array", "keys"],
    )
    def test_any_iterable_of_texts_will_do(
        self, encoder: Encoder, kind: Callable[[Sequence[str]], Iterable[str]]
    ) -> None:
        """Also arrays of strings (UKPLab/sentence-transformers#3721)."""
        texts = list(dict.fromkeys(TEXTS))
        listed = encoder.encode(texts, role=Role.QUERY).dense
        assert cosines(encoder.encode(kind(texts), role=Role.QUERY).dense, listed).min() > SAME

    def test_a_text_does_not_see_its_neighbours(self, encoder: Encoder) -> None:
        crowd = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        for index, text in enumerate(TEXTS):
            alone = encoder.encode([text], role=Role.PASSAGE).dense
            assert cosines(alone, crowd[index : index + 1]).min() > SAME, text

    def test_a_long_text_among_many_short_ones_changes_none(self, encoder: Encoder) -> None:
        long = "a hill and a valley " * encoder.recipe.max_tokens
        texts = [*(f"short {number}" for number in range(40)), long, "tiny", "tiny too"]
        crowd = encoder.encode(texts, role=Role.PASSAGE).dense
        for index in (0, 17, 39, 40, 41, 42):
            alone = encoder.encode([texts[index]], role=Role.PASSAGE).dense
            assert cosines(alone, crowd[index : index + 1]).min() > SAME, index

    def test_a_role_may_be_given_by_its_name_and_no_other_is_one(self, encoder: Encoder) -> None:
        for role in Role:
            named = encoder.encode(["a hill"], role=str(role)).dense  # type: ignore[arg-type]
            assert cosines(named, encoder.encode(["a hill"], role=role).dense).min() > SAME
        for texts in ([], ["a hill"]):
            with pytest.raises(
                RecipeError, match="no role is called 'document'; known are 'query'"
            ):
                encoder.encode(texts, role="document")  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match="no role is called 'document'"):
            encoder.max_text_tokens("document")  # type: ignore[arg-type]

    def test_different_texts_get_different_vectors(self, encoder: Encoder) -> None:
        rows = encoder.encode(["a river", "the mountain", "seven ships"], role=Role.QUERY).dense
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(rows[one] - rows[other]).max() > 1e-4

    def test_the_role_is_required_and_by_name(self, encoder: Encoder) -> None:
        with pytest.raises(TypeError, match="role"):
            encoder.encode(["a"])  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            encoder.encode(["a"], Role.QUERY)  # type: ignore[call-arg]

    def test_the_role_selects_the_prompt(self, encoder: Encoder) -> None:
        query = encoder.encode(["a river"], role=Role.QUERY).dense
        passage = encoder.encode(["a river"], role=Role.PASSAGE).dense
        same = encoder.recipe.query_prompt == encoder.recipe.passage_prompt
        assert (float(np.abs(query - passage).max()) < 1e-4) is same

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (["a river", ""], r"\btext 1\b.*empty"),
            (["", "a river"], r"\btext 0\b.*empty"),
            (["a", "b", None], r"\btext 2\b.*NoneType"),
            (["a", b"bytes"], r"\btext 1\b.*bytes"),
            (["a", ["b"]], r"\btext 1\b.*list"),
            (["a", "b", "c \ud800"], r"\btext 2\b.*surrogate"),
            (["fine"] * 3000 + [""], r"\btext 3000\b.*empty"),
            ("one string", r"one string.*list"),
            ("", r"one string.*list"),
            (None, r"expected several texts, got NoneType; put"),
            (b"bytes", r"got bytes; decode"),
            ({"q": "a river"}, r"a dict, whose keys.*values\(\)"),
            (ChainMap({"q": "a river"}), r"a ChainMap, whose keys"),
            ({"a river", "a hill"}, r"a set, which has no order.*sorted"),
            (frozenset(["a river"]), r"a frozenset, which has no order"),
            (np.array([["a river", "a hill"]]), r"2 dimensions; pass one column"),
            (np.array("a river"), r"0 dimensions"),
            (StringIO("a river\na hill\n"), r"an open file.*splitlines"),
            (Path("a-river"), r"got \w*Path; put texts in a list"),
            (7, r"got int; put texts in a list"),
        ],
    )
    @pytest.mark.parametrize("method", ["encode", "stream"])
    def test_what_is_not_a_text_is_named_by_its_index(
        self, encoder: Encoder, texts: object, message: str, method: str
    ) -> None:
        """Nor is a mapping texts (UKPLab/sentence-transformers PR 3372)."""
        call = {"encode": encoded, "stream": streamed}[method]
        with pytest.raises(TextError, match=message):
            call(encoder, texts)
        assert len(encoder.encode(["still works"], role=Role.QUERY)) == 1

    def test_an_error_of_the_iterable_comes_through(self, encoder: Encoder) -> None:
        def texts() -> Iterator[str]:
            yield from ["fine"] * 2000
            raise OSError("the disk is gone")

        for call in (encoded, streamed):
            with pytest.raises(OSError, match="the disk is gone"):
                call(encoder, texts())
        assert len(encoder.encode(["still works"], role=Role.QUERY)) == 1

    @pytest.mark.parametrize("size", [1, 5, 2500])
    def test_a_stream_gives_the_same_rows_as_encode(self, encoder: Encoder, size: int) -> None:
        texts = [f"{TEXTS[number % 3]} {number % 7}" for number in range(size)]
        whole = encoder.encode(texts, role=Role.PASSAGE).dense
        rows = streamed(encoder, iter(texts))
        assert rows.shape == whole.shape
        assert rows.dtype == np.float32
        assert cosines(rows, whole).min() > SAME

    def test_a_stream_reads_nothing_before_it_is_asked(self, encoder: Encoder) -> None:
        texts = Endless()
        encoder.stream(texts, role=Role.PASSAGE)
        assert texts.read == 0

    def test_an_endless_stream_is_read_a_bounded_number_of_texts_ahead(
        self, encoder: Encoder
    ) -> None:
        texts = Endless()
        stream = encoder.stream(texts, role=Role.PASSAGE)
        yielded = 0
        for block in islice(stream, 6):
            yielded += len(block)
            assert 0 < len(block) <= READ_AHEAD
            assert texts.read - yielded < READ_AHEAD
        del stream  # given up in the middle: nothing may hang, and the encoder goes on
        assert len(encoder.encode(["still works"], role=Role.QUERY)) == 1

    def test_texts_are_read_in_the_calling_thread(self, encoder: Encoder) -> None:
        texts = Endless()
        encoder.encode(islice(texts, 2500), role=Role.PASSAGE)
        next(iter(encoder.stream(texts, role=Role.PASSAGE)))
        assert texts.threads == {threading.get_ident()}

    @pytest.mark.parametrize("size", [0, 1, 30, 2500])
    def test_progress_adds_up_and_comes_from_the_calling_thread(
        self, encoder: Encoder, size: int
    ) -> None:
        told: list[int] = []
        threads: set[int] = set()

        def progress(finished: int) -> None:
            told.append(finished)
            threads.add(threading.get_ident())

        encoder.encode(["some text"] * size, role=Role.PASSAGE, progress=progress)
        assert sum(told) == size
        assert all(finished > 0 for finished in told)
        assert threads <= {threading.get_ident()}

    def test_several_threads_get_the_same_vectors_as_one(self, encoder: Encoder) -> None:
        jobs = [[f"{text} {number}" for text in TEXTS] for number in range(8)]
        expected = [encoder.encode(job, role=Role.PASSAGE).dense for job in jobs]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda job: encoder.encode(job, role=Role.PASSAGE).dense, jobs))
        for rows, wanted in zip(found, expected, strict=True):
            assert cosines(rows, wanted).min() > SAME

    def test_the_texts_of_the_caller_are_left_as_they_are(self, encoder: Encoder) -> None:
        texts = list(TEXTS)
        encoder.encode(texts, role=Role.PASSAGE)
        assert texts == list(TEXTS)

    @pytest.mark.parametrize("other", [" a river", "a river\n", "a\nriver", "a  river", "A river"])
    def test_no_character_is_lost_that_the_tokenizer_keeps(
        self, encoder: Encoder, other: str
    ) -> None:
        """The tokenizer alone decides whether white space and case matter, nothing before it."""
        prompt = encoder.recipe.passage_prompt
        plain, varied = (
            encoder.tokenizer.encode(f"{prompt.prefix}{text}{prompt.suffix}").tokens
            for text in ("a river", other)
        )
        rows = encoder.encode(["a river", other], role=Role.PASSAGE).dense
        assert (float(np.abs(rows[0] - rows[1]).max()) < 1e-5) is (plain == varied)

    def test_a_text_of_white_space_has_a_vector(self, encoder: Encoder) -> None:
        rows = encoder.encode([" ", "\n", "a river"], role=Role.PASSAGE).dense
        assert np.isfinite(rows).all()
        assert (np.linalg.norm(rows, axis=1) > 0).all()

    @pytest.mark.parametrize("role", Role)
    def test_there_is_room_for_text_beside_the_prompt(self, encoder: Encoder, role: Role) -> None:
        assert 0 < encoder.max_text_tokens(role) <= encoder.recipe.max_tokens

    @pytest.mark.parametrize("role", Role)
    def test_what_does_not_fit_is_cut_at_the_end(self, encoder: Encoder, role: Role) -> None:
        full = text_of(encoder, encoder.max_text_tokens(role))
        longer = [f"{full} b", f"{full} {'b ' * 500}", f"{full} and a quite different end"]
        rows = encoder.encode([full, *longer], role=role).dense
        for row in rows[1:]:
            assert cosines(rows[:1], row[None]).min() > SAME
        assert np.abs(rows[1:] - rows[0]).max() < 1e-5

    @pytest.mark.parametrize("role", Role)
    def test_the_last_token_that_fits_still_counts(self, encoder: Encoder, role: Role) -> None:
        room = encoder.max_text_tokens(role)
        short = text_of(encoder, room - 1)
        texts = [f"{short},", f"{short};"]
        assert [tokens(encoder, text) for text in texts] == [room, room]
        rows = encoder.encode(texts, role=role).dense
        assert np.abs(rows[0] - rows[1]).max() > 1e-5

    def test_the_recipe_survives_json_and_keeps_its_digest(self, encoder: Encoder) -> None:
        recipe = encoder.recipe
        again = Recipe.from_json(recipe.to_json())
        assert again == recipe
        assert again.digest() == recipe.digest() == encoder.recipe.digest()

    def test_the_tokenizer_neither_pads_nor_truncates(self, encoder: Encoder) -> None:
        assert encoder.tokenizer.padding is None
        assert encoder.tokenizer.truncation is None
        many = "a river " * encoder.recipe.max_tokens
        assert len(encoder.tokenizer.encode(many).ids) > encoder.recipe.max_tokens
