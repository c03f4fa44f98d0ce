"""The benchmarks' command lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import encode
import ingest
import late_chunking
import precisions
import search
import serve
from decant.embedders import ExecutionOptions


def test_encoding_compares_with_all_peers_by_default() -> None:
    options = encode.parse([])
    assert options.peers == ("sentence-transformers", "fastembed")
    assert options.lengths == (32, 128, 256)
    assert options.runtimes == ()


def test_encoding_takes_no_peers_and_further_settings() -> None:
    options = encode.parse(
        ["--peers", "--lengths", "--runtime", "2x1x512", "--runtime", "1x2x256", "--rounds", "7"]
    )
    assert options.peers == ()
    assert options.lengths == ()
    assert options.common.rounds == 7
    assert options.runtimes == (
        ExecutionOptions(workers=2, threads=1, token_budget=512),
        ExecutionOptions(workers=1, threads=2, token_budget=256),
    )


@pytest.mark.parametrize("text", ["2x1", "2x1x0", "axbxc", "2x1x512x3", "-1x1x512"])
def test_settings_of_another_form_are_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        encode.parse([f"--runtime={text}"])
    assert "WORKERSxTHREADSxTOKENS" in capsys.readouterr().err


def test_the_decoder_is_a_width_and_a_number_of_layers(capsys: pytest.CaptureFixture[str]) -> None:
    options = precisions.parse(["--decoder", "128x3", "--no-quality"])
    assert (options.decoder.width, options.decoder.layers, options.quality) == (128, 3, False)
    for text in ("100x3", "128", "128x0", "x"):
        with pytest.raises(SystemExit):
            precisions.parse(["--decoder", text])
        assert "WIDTHxLAYERS" in capsys.readouterr().err


def test_ingest_and_search_take_their_sizes() -> None:
    assert ingest.parse(["--documents", "3", "--peers", "LangChain"]).peers == ("LangChain",)
    options = search.parse(["--chunks", "50", "--optimized", "--output", "out.json"])
    assert (options.chunks, options.optimized) == (50, True)
    assert options.common.output == Path("out.json")


@pytest.mark.parametrize("parse", [encode.parse, ingest.parse, precisions.parse, search.parse])
def test_a_size_below_one_is_refused(
    parse: Callable[[Sequence[str]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--rounds", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_the_data_folder_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECANT_DATA", "/somewhere/data")
    assert search.parse([]).common.data == Path("/somewhere/data")


def test_late_chunking_takes_lengths_of_articles() -> None:
    assert late_chunking.parse([]).paragraphs == (1, 5)
    options = late_chunking.parse(["--paragraphs", "2", "3", "--max-tokens", "512"])
    assert (options.paragraphs, options.max_tokens) == ((2, 3), 512)


def test_serving_measures_with_a_bundle_unless_memory_alone_is_wanted() -> None:
    options = serve.parse([])
    assert (options.requests, options.fastapi, options.bundle_parts) == (0, False, True)
    options = serve.parse(["--memory-only", "--requests", "100000", "--fastapi"])
    assert (options.requests, options.fastapi, options.bundle_parts) == (100_000, True, False)
