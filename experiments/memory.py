"""Peak memory of training methods on one model shape, and what chunks and recomputing save.

A seeded Llama of 28 million weights (8 layers of width 512), 64 rows of up to 64 tokens a step,
two steps, each case in a process of its own that measures itself. Weights, gradients and both
moments of AdamW are in it, as is what importing takes (about 400 MB). Stage 2 of AutoRegEmbed
begins with what stage 1 has left; a teacher is an encoder without weights.

glibc keeps what is freed in pieces, and by its own defaults the peak is that of its heap and not of
training: ``--threshold`` gives large tensors back at once (0 leaves glibc as it is).

For example:
python experiments/memory.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from decant.embedders import Attention, Choices, HashEncoder, Pooling
from decant.training import (
    AlignmentSettings,
    Compression,
    CompressionSettings,
    Contrastive,
    ContrastiveSettings,
    CoSENT,
    CoSENTSettings,
    Distillation,
    DistillationSettings,
    DistributionAlignment,
    LLM2VecGen,
    LLM2VecGenSettings,
    Lora,
    Mntp,
    MntpSettings,
    Objective,
    SimCSE,
    SparseContrastive,
    SparseSettings,
    TrainingSettings,
    frozen_decoder,
    open_base,
    open_compression,
    open_gen,
    open_language_model,
    read_table,
    train,
)

_WORDS = 4096
_ROWS = 64
_TOKENS = 64
_MEAN = Choices(pooling=Pooling.MEAN, max_tokens=_TOKENS)
_BOTH_WAYS = Choices(attention=Attention.BIDIRECTIONAL, pooling=Pooling.MEAN, max_tokens=_TOKENS)


def _contrastive(model: Path, *, chunk: int | None = None, lora: bool = False) -> Objective:
    base = open_base(model, choices=_MEAN, lora=Lora() if lora else None)
    return Contrastive(base, ContrastiveSettings(mini_batch_size=chunk))


def _mntp(model: Path) -> Objective:
    language = open_language_model(model, choices=_BOTH_WAYS, lora=Lora())
    return Mntp(language, MntpSettings(mask_token="<mask>"))  # noqa: S106


def _compression(model: Path) -> Objective:
    settings = CompressionSettings(output_tokens=_TOKENS)
    # A token is a letter here, and the paper's prompts alone would be longer than a text may be.
    choices = Choices(query_prompt="{text}", passage_prompt="{text}", max_tokens=_TOKENS)
    opened = open_compression(model, settings, choices=choices)
    return Compression(opened, settings, frozen_decoder(model))


def _gen(model: Path) -> Objective:
    settings, teacher = LLM2VecGenSettings(answer_tokens=_TOKENS), HashEncoder(dim=512)
    opened = open_gen(model, settings, teacher, choices=Choices(max_tokens=_TOKENS))
    return LLM2VecGen(opened, settings, teacher)


def _simcse(model: Path) -> Objective:
    return SimCSE(open_base(model, choices=_MEAN, dropout=0.1), ContrastiveSettings())


def _alignment(model: Path) -> Objective:
    settings = AlignmentSettings(target_tokens=_TOKENS)
    return DistributionAlignment(
        open_base(_left_by("compress", model)), settings, frozen_decoder(model)
    )


def _graded(model: Path, *, chunk: int | None = None) -> Objective:
    return CoSENT(open_base(model, choices=_MEAN), CoSENTSettings(mini_batch_size=chunk))


def _distillation(model: Path, *, chunk: int | None = None) -> Objective:
    base, settings = open_base(model, choices=_MEAN), DistillationSettings(mini_batch_size=chunk)
    return Distillation(base, settings, HashEncoder(dim=512))


def _sparse(model: Path) -> Objective:
    language = open_language_model(model, choices=Choices(max_tokens=_TOKENS), strategy="splade")
    return SparseContrastive(language, SparseSettings())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What is trained: with which rows, and after which other case."""

    make: Callable[[Path], Objective]
    rows: str = "pairs"
    recompute: bool = False
    after: str | None = None


_CASES = {
    "contrastive": _Case(make=_contrastive),
    "contrastive, chunk = 8": _Case(make=lambda model: _contrastive(model, chunk=8)),
    "contrastive, recompute": _Case(make=_contrastive, recompute=True),
    "contrastive, chunk = 8, recompute": _Case(
        make=lambda model: _contrastive(model, chunk=8), recompute=True
    ),
    "contrastive, LoRA": _Case(make=lambda model: _contrastive(model, lora=True)),
    "contrastive, LoRA, chunk = 8": _Case(
        make=lambda model: _contrastive(model, chunk=8, lora=True)
    ),
    "simcse": _Case(make=_simcse),
    "graded": _Case(make=_graded, rows="graded"),
    "graded, chunk = 8": _Case(make=lambda model: _graded(model, chunk=8), rows="graded"),
    "distill": _Case(make=_distillation),
    "distill, chunk = 8": _Case(make=lambda model: _distillation(model, chunk=8)),
    "sparse": _Case(make=_sparse),
    "sparse, recompute": _Case(make=_sparse, recompute=True),
    "mntp, LoRA": _Case(make=_mntp),
    "compress": _Case(make=_compression),
    "compress, recompute": _Case(make=_compression, recompute=True),
    "align": _Case(make=_alignment, rows="triplets", after="compress"),
    "align, recompute": _Case(make=_alignment, rows="triplets", recompute=True, after="compress"),
    "gen": _Case(make=_gen),
    "gen, recompute": _Case(make=_gen, recompute=True),
}


def main() -> None:
    """Measure every case, or one of them and print JSON."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--cases", help="a part of their names; all by default", default="")
    made.add_argument(
        "--threshold", help="bytes from which tensors are given back", default=2**20, type=int
    )
    made.add_argument("--one", help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.one is not None:
        _measure(options.one, options.folder)
        return
    held = dict(os.environ)
    if options.threshold:
        held["MALLOC_MMAP_THRESHOLD_"] = str(options.threshold)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_model(folder / "model")
        _write_rows(folder)
        print("| case | peak MB | weights trained |", "|---|---:|---:|", sep="\n", flush=True)
        for name in (name for name in _CASES if options.cases in name):
            earlier = _CASES[name].after
            if earlier is not None and not _left_by(earlier, folder / "model").exists():
                _run(earlier, folder, held)
            found = _run(name, folder, held)
            print(f"| {name} | {found['peak_mb']:,} | {found['trained']:,} |", flush=True)


def _run(name: str, folder: Path, environment: dict[str, str]) -> dict[str, int]:
    """Train in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(name: str, folder: Path) -> None:
    case = _CASES[name]
    objective = case.make(folder / "model")
    loop = TrainingSettings(
        batch_size=_ROWS, max_steps=2, gradient_checkpointing=case.recompute, save_every=None
    )
    table = read_table([folder / f"{case.rows}.jsonl"])
    report = train(objective, table, _left_by(name, folder / "model"), loop)
    print(json.dumps({"peak_mb": report.peak_mb, "trained": report.trained}))


def _left_by(name: str, model: Path) -> Path:
    """Return the folder in which a case leaves its model."""
    return model.parent / name.replace(" ", "").replace(",", "-").replace("=", "")


def _write_model(folder: Path) -> None:
    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate(["<end>", "<mask>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    config = LlamaConfig(
        vocab_size=_WORDS,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=512,
        eos_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def _write_rows(folder: Path) -> None:
    """Write pairs, pairs with scores, and triplets."""
    pairs = [
        {"query": f"{number} asks " * 20, "positive": f"{number} answers " * 20}
        for number in range(2 * _ROWS)
    ]
    graded = [{**pair, "score": number % 5} for number, pair in enumerate(pairs)]
    triplets = [{**pair, "negative": f"{n} denies " * 20} for n, pair in enumerate(pairs)]
    _write_lines(folder / "pairs.jsonl", pairs)
    _write_lines(folder / "graded.jsonl", graded)
    _write_lines(folder / "triplets.jsonl", triplets)


def _write_lines(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
