"""The GPU benchmark's architectures, two layers of width 32."""

from __future__ import annotations

from bench.gpu.shapes import Family, Shape

TINY = {
    Family.BERT: Shape(
        title="b", family=Family.BERT, width=32, depth=3, layers=2, heads=4, key_heads=4, head=8,
        inner=48, vocabulary=300,
    ),
    # Heads are wider together than the states, as in Qwen3-Embedding-0.6B.
    Family.QWEN3: Shape(
        title="q", family=Family.QWEN3, width=32, depth=3, layers=2, heads=4, key_heads=2, head=16,
        inner=48, vocabulary=300,
    ),
    Family.LLAMA: Shape(
        title="l", family=Family.LLAMA, width=32, depth=3, layers=2, heads=4, key_heads=2, head=8,
        inner=48, vocabulary=300,
    ),
}  # fmt: skip
