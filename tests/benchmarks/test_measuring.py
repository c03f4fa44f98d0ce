"""The benchmarks' own steps on a shipped encoder, and each script from start to end, tiny."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import search
from bench.corpus import Cutter, draw, load_corpus
from bench.peers import Peer, batch_seconds, worst_cosine
from decant.embedders import HashEncoder, ParityError, Role, TextError
from decant.export import export
from decant.integrations.qdrant import Collection, connect
from ingest import Ours, Work, agree
from repository import ROOT


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny model's bundle."""
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    export(tiny_model, folder)
    return folder


@pytest.fixture
def few(tiny_data: Path, tmp_path: Path) -> Work:
    """Return two documents on disk and their chunks of the default size."""
    encoder = HashEncoder()
    cutter = Cutter(encoder.tokenizer)
    limit = min(256, encoder.max_text_tokens(Role.PASSAGE)) + cutter.special
    texts = draw(load_corpus(tiny_data), 2, seed=0)
    return Work.write(texts, tmp_path / "few", cutter, limit=limit)


def test_our_ingest_stores_the_chunks_that_the_peers_are_given(few: Work, tmp_path: Path) -> None:
    ours = Ours(HashEncoder())
    assert ours.store(few.files, tmp_path / "store") == len(few.chunks) > 2
    assert ours.store(few.files, tmp_path / "store") == len(few.chunks)
    assert ours.first(tmp_path / "store", [few.chunks[1]]) == [few.chunks[1]]


def test_other_chunks_than_ours_stop_the_comparison(few: Work, tmp_path: Path) -> None:
    fresh = (tmp_path / str(number) for number in count())
    agree(Ours(HashEncoder()), [], few, fresh)
    halved = Work(files=few.files, chunks=few.chunks[::2])
    with pytest.raises(ParityError, match="give the peers the same chunks"):
        agree(Ours(HashEncoder()), [], halved, fresh)


def test_every_query_is_timed_once_a_round(tiny_data: Path, tmp_path: Path) -> None:
    encoder = HashEncoder()
    options = search.parse(["--chunks", "30", "--rounds", "2", "--data", str(tiny_data)])
    chunks = search.some_chunks(load_corpus(tiny_data), Cutter(encoder.tokenizer), options)
    assert len(set(chunks)) == 30
    with connect(tmp_path / "store") as store:
        collection = Collection.create(store, "docs", encoder, settings=search.LAYOUT)
        search.fill(collection, chunks, on_step=str)
        assert collection.count() == 30
        times = search.search(collection, ["ferry", "dusk", "island"], options, on_step=str)
    kept = (times.embedding, times.whole, times.filtered, times.filtered_plain)
    assert [len(found) for found in kept] == [6, 6, 6, 6]
    assert min(times.whole) > 0


def test_too_few_chunks_to_search_are_named(tiny_data: Path) -> None:
    options = search.parse(["--chunks", "100000"])
    with pytest.raises(TextError, match="100000 were asked for"):
        search.some_chunks(load_corpus(tiny_data), Cutter(HashEncoder().tokenizer), options)


def test_the_worst_cosine_is_of_rows_whatever_their_length() -> None:
    first = np.array([[3.0, 0.0], [1.0, 1.0]], np.float32)
    second = np.array([[0.5, 0.0], [1.0, 0.0]], np.float32)
    assert worst_cosine(first, second) == pytest.approx(2**-0.5)


def test_a_sweep_tries_every_batch_size_of_the_peer() -> None:
    asked: list[int] = []

    def embed(texts: Sequence[str], batch: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        asked.append(batch)
        return np.zeros((len(texts), 2), np.float32)

    peer = Peer(name="x", threads="", default_batch=4, batches=(1, 4), embed=embed)
    assert set(batch_seconds(peer, ["a"])) == {1, 4}
    assert asked == [1, 1, 4, 1, 4]


SCRIPTS = {
    "encode.py": ["--tokens", "300", "--lengths", "32", "--peers", "sentence-transformers"],
    "hybrid.py": ["--chunks", "40", "--queries", "5", "--documents", "2"],
    "ingest.py": ["--documents", "3", "--peers"],
    "operators.py": ["--families", "bert", "--layers", "1", "--width", "48", "--tokens", "8"],
    "precisions.py": ["--tokens", "300", "--decoder", "64x1"],
    "prompts.py": ["--queries", "5", "--decoder", "64x1"],
    "query.py": ["--queries", "5"],
    "search.py": ["--chunks", "40", "--queries", "5", "--chunk-tokens", "60"],
    "where_the_time_goes.py": ["--tokens", "300"],
}


SLOW = {
    "encode.py",
    "hybrid.py",
    "ingest.py",
    "operators.py",
    "precisions.py",
    "prompts.py",
    "query.py",
    "where_the_time_goes.py",
}  # the others take the same road


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SCRIPTS],
)
def test_each_script_measures_shows_and_saves(
    script: str, tiny_data: Path, tiny_model: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    output = tmp_path / "result.json"
    done = subprocess.run(
        [
            sys.executable, str(ROOT / "benchmarks" / script), *SCRIPTS[script], "--rounds", "2",
            "--data", str(tiny_data), "--model", str(tiny_model), "--bundle", str(tiny_bundle),
            "--output", str(output),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text(encoding="utf-8"))
    assert result["benchmark"] == script.removesuffix(".py")
    laps = [row["laps"] for section in result["sections"] for row in section["rows"]]
    assert all(len(found) == 2 for found in laps)
    assert f"{result['circumstances']['cores']} cores" in done.stdout
    for target in result["targets"]:
        assert target["name"].split(",")[0] in done.stdout


@pytest.mark.slow
def test_what_goes_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "search.py"
    done = subprocess.run(
        [sys.executable, str(script), "--bundle", str(tmp_path / "absent")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("BundleError: ")
    assert "Traceback" not in done.stderr
