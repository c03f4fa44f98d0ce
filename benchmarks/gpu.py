"""Encode the same token ids on a GPU with decant and with PyTorch, and see how much of it is used.

MiniLM, and models of real shapes with drawn weights, at fixed and mixed lengths: tokens a second,
share of the measured matrix peak, certificates, nodes that fell back to the CPU, memory under
changing shapes, latency of one query. The same code runs on the CPU with small settings: python
benchmarks/gpu.py --provider cpu --models minilm,qwen3-tiny --lengths 32,mixed --tokens 4000
--rounds 2 --batches 5
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from bench.corpus import load_corpus
from bench.gpu.bout import Place, measured
from bench.gpu.chip import device_name, matrix_peak, release, torch_device
from bench.gpu.options import Options, parse_gpu
from bench.gpu.packed import check, usable
from bench.gpu.subjects import MINILM, Request, certified, make_subject
from bench.machine import circumstances
from bench.minilm import model_folder
from bench.options import conduct
from bench.report import Figure, Findings, Result
from decant.embedders import OnStep, Precision

_PRODUCTS = 50


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    return parse_gpu(str(__doc__), arguments)


def measure(options: Options, work: Path, on_step: OnStep) -> Result:
    """Measure one model after the other."""
    device = torch_device(options.provider)
    ways = usable(options.ways, device)
    for way in ways:
        check(way, device)
    peaks = peak_figures(options, device, on_step)
    place = Place(
        device=device,
        ways=ways,
        peak=1e12 * max(figure.value for figure in peaks),
        corpus=load_corpus(options.common.data),
        on_step=on_step,
    )
    found = Findings(figures=peaks)
    for name in options.models:
        subject = make_subject(request(name, options), options.keep or work, on_step=on_step)
        found = found.and_then(certified(subject))
        release(device)
        if not options.prepare:
            found = found.and_then(measured(subject, options, place))
    return Result(
        benchmark="gpu",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={
            "device": device_name(device),
            "provider": options.provider,
            "corpus": place.corpus.name,
            "peers": ", ".join(ways),
        },
        sections=found.sections,
        figures=found.figures,
        targets=found.targets,
    )


def peak_figures(options: Options, device: torch.device, on_step: OnStep) -> tuple[Figure, ...]:
    """Measure the matrix product's peak in each of PyTorch's types; the highest is the peak."""
    figures = []
    for dtype in options.dtypes:
        on_step(f"the matrix peak in {dtype}")
        found = matrix_peak(device, getattr(torch, dtype), size=options.size, runs=_PRODUCTS)
        name = f"{device_name(device)}, product of two {options.size}² matrices in {dtype}"
        figures.append(Figure(name=name, value=found / 1e12, unit="TFLOP/s"))
    return tuple(figures)


def request(name: str, options: Options) -> Request:
    """Return the request for one model; MiniLM has fp32 in addition to the others."""
    precisions = options.precisions
    if name == MINILM and Precision.FP32 not in precisions:
        precisions = (*precisions, Precision.FP32)
    return Request(
        name=name,
        model=options.common.model or model_folder(),
        bundle=options.common.bundle,
        layers=options.layers,
        precisions=precisions,
        provider=options.provider,
        seed=options.common.seed,
    )


if __name__ == "__main__":
    chosen = parse()
    conduct(chosen.common.output, lambda work, on_step: measure(chosen, work, on_step))
