"""The command line of the GPU benchmark, and what its defaults are on which provider."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from decant.embedders import ExecutionOptions, Precision
from decant.embedders.onnx import provider_name

from ..options import Common, common, parser, positive, read_runtime
from .matches import MIXED
from .packed import Way
from .shapes import LONGEST
from .subjects import MINILM, MODELS

_TRACED = (Precision.FP32, Precision.FP16, Precision.BF16)
_DTYPES = ("float32", "float16", "bfloat16")
_USUAL = (MINILM, "bert-base", "qwen3-0.6b", "qwen3-4b", "qwen3-8b")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        provider: ONNX Runtime's full name.
        models: Names in ``MODELS``.
        lengths: Tokens of a row, or ``MIXED``.
        precisions: decant's graphs; ratios are those of the first. MiniLM has fp32 too.
        dtypes: PyTorch's types.
        ways: How PyTorch attends; None: in every way that runs here.
        runtimes: Further settings of decant's first graph.
        tokens: In a run; None: what takes about ``seconds``.
        seconds: Of a run at half of the peak.
        layers: Most layers of models with drawn weights.
        keep: Where models and bundles stay; None: nowhere.
        prepare: Whether models are only made and certified.
        batches: Of random shapes, for the growth of memory; 0: none.
        queries: How often one query is timed; 0: never.
        size: Of the matrices whose product is the peak.
        with_sentence_transformers: Whether it is timed, too, from the texts of mixed lengths.
    """

    common: Common
    provider: str
    models: tuple[str, ...]
    lengths: tuple[str, ...]
    precisions: tuple[Precision, ...]
    dtypes: tuple[str, ...]
    ways: tuple[Way, ...] | None
    runtimes: tuple[ExecutionOptions, ...]
    tokens: int | None
    seconds: float
    layers: int | None
    keep: Path | None
    prepare: bool
    batches: int
    queries: int
    size: int
    with_sentence_transformers: bool = False


def parse_gpu(description: str, arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    made = parser(description, rounds=5)
    add = made.add_argument
    add("--provider", choices=("cuda", "tensorrt", "cpu"), default="cuda", help="(%(default)s)")
    add(
        "--models",
        type=several(_model),
        default=_USUAL,
        help=f"of {','.join(MODELS)} ({','.join(_USUAL)})",
    )
    add("--lengths", type=several(read_length), default=("32", "128", "512", MIXED),
        help="tokens of a row, or mixed (32,128,512,mixed)")  # fmt: skip
    add("--precisions", type=several(_traced),
        help="the first is compared (bf16,fp16; on the CPU fp32)")  # fmt: skip
    add("--dtypes", type=several(_dtype), help="PyTorch's (bfloat16; on the CPU float32 too)")
    add("--peers", type=several(Way), dest="ways", help="how PyTorch attends (all that run here)")
    add("--runtime", type=read_runtime, action="append", default=[], metavar="WxTxB",
        help="show decant also with W workers of T threads and batches of B tokens")  # fmt: skip
    add("--tokens", type=positive, help="in a run (as many as --seconds take)")
    add("--seconds", type=float, default=1.0, help="of a run at half of the peak (%(default)s)")
    add("--layers", type=positive, help="most layers of drawn models; their names say so")
    add("--keep", type=Path, help="folder where models and bundles stay")
    add("--prepare", action="store_true", help="only make and certify the models")
    add("--batches", type=_count, default=200,
        help="of random shapes, for the growth of memory (%(default)s)")  # fmt: skip
    add("--queries", type=_count, default=200, help="turns of one query (%(default)s)")
    add("--peak-size", type=positive, help="side of the peak's matrices (8192; on the CPU 1024)")
    add("--sentence-transformers", action="store_true",
        help="time it too, from the texts of mixed lengths")  # fmt: skip
    return _options(made.parse_args(arguments))


def _options(found: argparse.Namespace) -> Options:
    """Settle what depends on the provider."""
    cpu = found.provider == "cpu"
    precisions = (Precision.FP32,) if cpu else (Precision.BF16, Precision.FP16)
    return Options(
        common=common(found),
        provider=provider_name(found.provider),
        models=found.models,
        lengths=found.lengths,
        precisions=found.precisions or precisions,
        dtypes=found.dtypes or (("float32", "bfloat16") if cpu else ("bfloat16",)),
        ways=found.ways,
        runtimes=tuple(found.runtime),
        tokens=found.tokens,
        seconds=found.seconds,
        layers=found.layers,
        keep=found.keep,
        prepare=found.prepare,
        batches=found.batches,
        queries=found.queries,
        size=found.peak_size or (1024 if cpu else 8192),
        with_sentence_transformers=found.sentence_transformers,
    )


def several(read: Callable[[str], _T]) -> Callable[[str], tuple[_T, ...]]:
    """Return what reads ``a,b`` as two values, for argparse; each once, in the order typed."""

    def all_of(text: str) -> tuple[_T, ...]:
        return tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))

    all_of.__name__ = "list"  # argparse names it where a value is refused
    return all_of


def read_length(text: str) -> str:
    """Read a section's length: a number of tokens up to 512, or ``mixed``."""
    if text == MIXED or (text.isdecimal() and 1 <= int(text) <= LONGEST):
        return text
    raise argparse.ArgumentTypeError(f"expected mixed or 1 to {LONGEST} tokens, got {text!r}")


def _model(text: str) -> str:
    if text not in MODELS:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(MODELS)}, got {text!r}")
    return text


def _traced(text: str) -> Precision:
    if text not in _TRACED:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(_TRACED)}, got {text!r}")
    return Precision(text)


def _dtype(text: str) -> str:
    if text not in _DTYPES:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(_DTYPES)}, got {text!r}")
    return text


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {number}")
    return number
