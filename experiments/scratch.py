"""Train a causal language model of Qwen3's kind from scratch on the corpus of the data folder.

A byte-level BPE tokenizer is learnt first. ``large`` has 60 million weights and is for a GPU;
``tiny`` has 1 million and shows on a CPU that everything works. The rate rises for a twentieth of
the time and then falls along a cosine; training ends when the minutes are over.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Qwen3Config, Qwen3ForCausalLM

from decant.embedders.bundle import fresh_folder

_END = "<|endoftext|>"
_SIZES = {
    "tiny": {"words": 2048, "hidden_size": 128, "num_hidden_layers": 4, "batch": 8},
    "large": {"words": 16384, "hidden_size": 576, "num_hidden_layers": 12, "batch": 64},
}
_CONTEXT = 512


def main() -> None:
    """Train and write a folder."""
    options = _parse()
    torch.manual_seed(options.seed)
    size = _SIZES[options.size]
    files = sorted((options.data / "corpus").rglob("*.txt"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    tokenizer = _tokenizer(texts, size["words"])
    end = tokenizer.token_to_id(_END)
    encoded = (tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
    stream = torch.tensor([one for ids in encoded for one in (*ids, end)], dtype=torch.int32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert end is not None
    model = Qwen3ForCausalLM(_config(size, end))
    torch.nn.Module.to(model, device)  # Transformers wraps it, and types see through the wrapper
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(texts)} texts, {len(stream):,} tokens, {weights:,} weights, on {device}")
    _fit(model, stream, size["batch"], float(options.minutes) * 60)
    with fresh_folder(options.out) as folder:
        torch.nn.Module.to(model, "cpu")
        model.save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(f'{{"model_max_length": {_CONTEXT}}}\n')


def _parse() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--size", choices=tuple(_SIZES), default="tiny")
    made.add_argument("--minutes", default="5")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--seed", type=int, default=0)
    return made.parse_args()


def _tokenizer(texts: list[str], words: int) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=[_END, "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def _config(size: dict[str, int], end: int) -> Qwen3Config:
    width = size["hidden_size"]
    return Qwen3Config(
        vocab_size=size["words"],
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=size["num_hidden_layers"],
        num_attention_heads=width // 32,
        num_key_value_heads=width // 64,
        head_dim=32,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,
        eos_token_id=end,
        bos_token_id=None,
        pad_token_id=end,
    )


def _batches(stream: torch.Tensor, batch: int) -> Iterator[torch.Tensor]:
    while True:
        starts = torch.randint(len(stream) - _CONTEXT, (batch,))
        yield torch.stack([stream[one : one + _CONTEXT] for one in starts.tolist()]).long()


def _fit(model: Qwen3ForCausalLM, stream: torch.Tensor, batch: int, seconds: float) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.95))
    device = next(model.parameters()).device
    begun = time.monotonic()
    for step, ids in zip(itertools.count(), _batches(stream, batch), strict=False):
        share = (time.monotonic() - begun) / seconds
        if share >= 1:
            return
        rate = min(share / 0.05, 0.5 * (1 + float(torch.cos(torch.tensor(share * torch.pi)))))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * max(rate, 1e-2)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(input_ids=ids.to(device), labels=ids.to(device)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}, {share:.0%}: loss {float(loss):.3f}", flush=True)


if __name__ == "__main__":
    main()
