"""Every training method on one language model and the same texts, side by side.

The base is a causal language model's folder (``--base``), or one that is trained here first on the
corpus (``--scratch``, see ``scratch.py``). Texts are the 5,000 shortest WikiSplit pairs of the data
folder: a sentence, and the same in shorter ones. Each method's settings are the TOML file of its
name beside this script; ``--max-steps`` cuts all of them short. What is there already is not made
again.

Every step is a ``decant`` command in a process of its own, which is shown before it runs: train,
export with a certificate, evaluate all of them, and read vectors back. Measured are STS-B dev and
cranfield, each method against the untrained model's mean.

For example:
python experiments/methods.py --base stories --data data --out runs
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_HERE = Path(__file__).parent
_TOKENS = "96"
_SHOWN = ("A man is playing a guitar.", "A small dog runs through the snow.")
_EMBED = ("--query-prompt", "{text}\nThis sentence means in one word: \u201c")


def main() -> None:
    """Run all methods, or those that are named."""
    options = _parse()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    base: Path = options.base or out / "scratch"
    if not base.exists():
        _run(
            [
                sys.executable, _HERE / "scratch.py", "--data", options.data, "--size",
                options.scratch, "--minutes", options.minutes, "--out", base,
            ]
        )  # fmt: skip
    _write_data(options.data, out, rows=options.rows, seed=options.seed)
    asked = options.methods.split(",")
    for name in asked:
        _train(name, base, options)
    names = ["untrained", *asked]
    for name in names:
        _export(name, base, out)
    bundles = [out / "bundles" / name for name in names]
    sets = (
        "--sts",
        options.data / "sts/stsb_en.dev.tsv",
        "--retrieval",
        options.data / "retrieval/cranfield",
    )
    standing = _decant("evaluate", *bundles, *sets, "--json")
    (out / "standing.json").write_text(standing, encoding="utf-8")
    for name in asked:
        if (out / "bundles" / name).exists() and name in ("compress", "align", "gen"):
            _decant("explain-vector", out / "bundles" / name, *_SHOWN, "--decoder", base)
    print(_table(names, out))


def _parse() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--base", type=Path, help="a causal language model's folder")
    made.add_argument("--scratch", choices=("tiny", "large"), default="tiny")
    made.add_argument("--minutes", default="5", help="of training from scratch")
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--max-steps", help="of every method; the settings' own by default")
    made.add_argument("--rows", type=int, default=5000, help="how many pairs, the shortest first")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument(
        "--methods",
        default="contrastive,mntp,llm2vec,compress,align,gen",
        help="with commas between; llm2vec reads mntp, align reads compress, gen reads llm2vec",
    )
    return made.parse_args()


def _write_data(data: Path, out: Path, *, rows: int, seed: int) -> None:
    """Write texts, pairs, and triplets whose negative is another row's positive."""
    if (out / "triplets.jsonl").exists():
        return
    lines = (data / "pairs/wikisplit_paraphrase.tsv").read_text(encoding="utf-8").splitlines()
    pairs = sorted((line.split("\t") for line in lines), key=lambda pair: len(pair[0]))[:rows]
    count = len(pairs)
    # A step of one or more round the list: never a row's own positive.
    others = (np.arange(count) + np.random.default_rng(seed).integers(1, count, count)) % count
    _write_lines(out / "texts.jsonl", [{"text": one} for one, _ in pairs])
    _write_lines(out / "pairs.jsonl", [{"query": one, "positive": two} for one, two in pairs])
    _write_lines(
        out / "triplets.jsonl",
        [
            {"query": one, "positive": two, "negative": pairs[other][1]}
            for (one, two), other in zip(pairs, others.tolist(), strict=True)
        ],
    )
    _write_lines(
        out / "contexts.jsonl",
        [
            {"context": one, "instruction": "Say it in shorter sentences.", "output": two}
            for one, two in pairs
        ],
    )


def _write_lines(path: Path, rows: Sequence[dict[str, str]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def _train(name: str, base: Path, options: argparse.Namespace) -> None:
    out: Path = options.out
    mean = ("--pooling", "mean")
    texts, pairs = ("--texts", out / "texts.jsonl"), ("--pairs", out / "pairs.jsonl")
    match name:
        case "contrastive":
            said = ["contrastive", "--base", base, *pairs, *mean, "--held-out", "0"]
        case "mntp":
            said = ["mntp", "--base", base, *texts]
        case "llm2vec":
            said = ["simcse", "--base", out / "mntp", *texts, "--dropout", "0.3"]
        case "compress":
            said = ["compress", "--base", base, "--pairs", out / "contexts.jsonl", *_EMBED]
        case "align":
            triplets = out / "triplets.jsonl"
            said = ["align", "--base", out / "compress", "--decoder", base, "--pairs", triplets]
        case "gen":
            _teacher_and_answers(base, options)
            said = ["gen", "--base", base, "--teacher", out / "teacher"]
            said += ["--pairs", out / "answers.jsonl"]
        case _:
            raise SystemExit(f"no method {name!r}")
    if (out / name).exists():
        return
    settings = _HERE / f"{name}.toml"
    cut = [] if options.max_steps is None else ["--max-steps", options.max_steps]
    begun = time.perf_counter()
    found = _decant(
        "train", *said, "--out", out / name, "--settings", settings, "--max-tokens", _TOKENS,
        "--seed", str(options.seed), *cut, "--json",
    )  # fmt: skip
    told = {**json.loads(found), "seconds": round(time.perf_counter() - begun)}
    (out / f"{name}.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _teacher_and_answers(base: Path, options: argparse.Namespace) -> None:
    """Export the teacher, whose vectors keep their length, and let the base answer the texts."""
    out: Path = options.out
    if not (out / "teacher").exists():
        _decant("export", out / "llm2vec", out / "teacher", "--no-normalize")
    if not (out / "answers.jsonl").exists():
        _decant(
            "train", "generate", "--model", base, "--texts", out / "texts.jsonl",
            "--out", out / "answers.jsonl", "--max-new-tokens", "48", "--batch-size", "64",
            "--seed", str(options.seed),
        )  # fmt: skip


def _export(name: str, base: Path, out: Path) -> None:
    bundle = out / "bundles" / name
    if bundle.exists():
        return
    if name == "untrained":
        _decant("export", base, bundle, "--pooling", "mean", "--max-tokens", "256")
    else:
        _decant("export", out / name, bundle, "--max-tokens", "256")


def _decant(*arguments: object) -> str:
    return _run([sys.executable, "-m", "decant.cli", *arguments])


def _run(command: Sequence[object]) -> str:
    said = [str(part) for part in command]
    print("$", shlex.join(said[1:]), file=sys.stderr, flush=True)
    done = subprocess.run(said, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, file=sys.stderr, flush=True)
    return done.stdout


def _table(names: Sequence[str], out: Path) -> str:
    """Return a Markdown table: a row for each method."""
    standing = json.loads((out / "standing.json").read_text(encoding="utf-8"))
    versus = {
        (one["second"], one["comparison"]["metric"]): one["comparison"]["difference"]
        for one in standing["comparisons"]
    }
    lines = ["| method | steps | minutes | peak MB | STS-B dev | p | cranfield | p |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for name, system in zip(names, standing["systems"], strict=True):
        scores = {score["metric"]: score for score in system["scores"]}
        cells = []
        for metric in ("cosine Spearman", "nDCG@10"):
            score = scores[metric]
            low, high = 100 * score["low"], 100 * score["high"]
            cells.append(f"{100 * score['value']:.1f} ({low:.1f}–{high:.1f})")
            tested = versus.get((system["name"], metric))
            cells.append(
                "–" if tested is None or tested["p_value"] is None else f"{tested['p_value']:.3f}"
            )
        told = out / f"{name}.json"
        cost = ["–"] * 3
        if told.exists():
            run = json.loads(told.read_text(encoding="utf-8"))
            minutes = f"{run['seconds'] / 60:.1f}"
            cost = [str(run["run"]["steps"]), minutes, str(run["run"]["peak_mb"])]
        lines.append(f"| {name} | {' | '.join(cost)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
