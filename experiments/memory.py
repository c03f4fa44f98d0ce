"""Peak memory of training methods on one model shape, and what chunks and recomputing save.

A seeded Llama of 27 million weights (8 layers of width 512), 64 rows of up to 64 tokens a step,
two steps, each case in a process of its own that measures itself. Weights, gradients and both
moments of AdamW are in it, as is what importing takes (about 400 MB).

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
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from decant.embedders import Attention, Choices, HashEncoder, Pooling
from decant.training import (
    Compression,
    CompressionSettings,
    Contrastive,
    ContrastiveSettings,
    Gen,
    GenSettings,
    Loop,
    Lora,
    Mntp,
    MntpSettings,
    Objective,
    SimCSE,
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
    return Contrastive(base, ContrastiveSettings(chunk=chunk))


def _mntp(model: Path) -> Objective:
    language = open_language_model(model, choices=_BOTH_WAYS, lora=Lora())
    return Mntp(language, MntpSettings(mask_token="<mask>"))  # noqa: S106


def _compression(model: Path) -> Objective:
    settings = CompressionSettings(output_tokens=_TOKENS)
    # A token is a letter here, and the paper's prompts alone would be longer than a text may be.
    choices = Choices(query="{text}", passage="{text}", max_tokens=_TOKENS)
    opened = open_compression(model, settings, choices=choices)
    return Compression(opened, settings, frozen_decoder(model))


def _gen(model: Path) -> Objective:
    settings, teacher = GenSettings(answer_tokens=_TOKENS), HashEncoder(dim=512)
    opened = open_gen(model, settings, teacher, choices=Choices(max_tokens=_TOKENS))
    return Gen(opened, settings, teacher)


def _simcse(model: Path) -> Objective:
    return SimCSE(open_base(model, choices=_MEAN, dropout=0.1), ContrastiveSettings())


_CASES: dict[str, tuple[Callable[[Path], Objective], bool]] = {
    "contrastive": (_contrastive, False),
    "contrastive, chunk = 8": (lambda model: _contrastive(model, chunk=8), False),
    "contrastive, recompute": (_contrastive, True),
    "contrastive, chunk = 8, recompute": (lambda model: _contrastive(model, chunk=8), True),
    "contrastive, LoRA": (lambda model: _contrastive(model, lora=True), False),
    "contrastive, LoRA, chunk = 8": (lambda m: _contrastive(m, chunk=8, lora=True), False),
    "simcse": (_simcse, False),
    "mntp, LoRA": (_mntp, False),
    "compress": (_compression, False),
    "compress, recompute": (_compression, True),
    "gen": (_gen, False),
    "gen, recompute": (_gen, True),
}


def main() -> None:
    """Measure every case, or one of them and print JSON."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--cases", help="a part of their names; all by default", default="")
    made.add_argument("--threshold", help="bytes from which tensors are given back", default=2**20)
    made.add_argument("--one", help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.one is not None:
        _measure(options.one, options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_model(folder / "model")
        _write_rows(folder / "rows.jsonl")
        print("| case | peak MB | weights trained |", "|---|---:|---:|", sep="\n", flush=True)
        held = dict(os.environ)
        if int(options.threshold):
            held["MALLOC_MMAP_THRESHOLD_"] = str(options.threshold)
        for name in (name for name in _CASES if options.cases in name):
            command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=held)
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"| {name} | {found['peak_mb']:,} | {found['trained']:,} |", flush=True)


def _measure(name: str, folder: Path) -> None:
    make, recompute = _CASES[name]
    objective = make(folder / "model")
    loop = Loop(batch_size=_ROWS, max_steps=2, recompute=recompute, save_every=None)
    target = folder / name.replace(" ", "").replace(",", "-").replace("=", "")
    report = train(objective, read_table([folder / "rows.jsonl"]), target, loop)
    print(json.dumps({"peak_mb": report.peak_mb, "trained": report.trained}))


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


def _write_rows(path: Path) -> None:
    rows = [
        {"query": f"{number} asks " * 20, "positive": f"{number} answers " * 20}
        for number in range(2 * _ROWS)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
