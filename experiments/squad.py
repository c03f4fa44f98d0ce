"""Fine-tune an encoder on one half of a retrieval set's documents, and search the other half.

Questions of ``retrieval/squad2_dev_cs224n`` with the passages that answer them become pairs; a
passage is a group, so that the two halves share none. The rest is one ``decant`` command, whose
settings are ``squad.toml`` and whose figures are in ``standing.json`` of the trained folder.

For example:
python experiments/squad.py --base minilm --data data --out squad
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from decant.evaluation import read_beir

_HERE = Path(__file__).parent


def main() -> None:
    """Write pairs, train, and show what changed."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--base", type=Path, required=True, help="a sentence encoder's folder")
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--held-out", default="0.5", help="share of the pairs")
    options = made.parse_args()
    found = read_beir(options.data / "retrieval/squad2_dev_cs224n")
    pairs = options.out.with_name(f"{options.out.name}.jsonl")
    with pairs.open("w", encoding="utf-8") as file:
        for query, grades in found.judgements.items():
            for document, grade in grades.items():
                if grade > 0:
                    row = {"query": found.queries[query], "positive": found.documents[document]}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    command = [
        sys.executable, "-m", "decant.cli", "train", "contrastive", "--base", options.base,
        "--pairs", pairs, "--held-out", options.held_out, "--settings", _HERE / "squad.toml",
        "--out", options.out,
    ]  # fmt: skip
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
