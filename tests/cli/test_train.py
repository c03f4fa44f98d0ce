"""``decant train``: from a file to a model that exports, and what it says on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import save_sentence_transformer


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sentence_transformer(tmp_path_factory.mktemp("model") / "tiny", "bert")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    words = ("cat", "hat", "whale", "winter", "heat", "end", "white", "then")
    rows = [f"{n % 3}\tthe {one} {n}\t{one} again {n}\n" for n in range(6) for one in words]
    path.write_text("score\tquestion\tanswer\n" + "".join(rows), encoding="utf-8")
    return path


QUICK = ("--batch-size", "8", "--max-steps", "3", "--learning-rate", "0.001")
