"""Make the graphs of further precisions from a bundle's float32 graph; without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

import onnx_ir as ir

from decant.embedders import (
    Bundle,
    BundleError,
    Certificate,
    OnStep,
    ParityError,
    Precision,
    RecipeError,
)
from decant.embedders.bundle import convertible, full_disk_error, sibling_folder
from decant.embedders.onnx import provider_name

from .bundle_writer import add_graph, check_same_bundle, graph_name, without_graph
from .certify.any_certifier import AnyCertifier, open_certifier
from .certify.certifier import Place
from .graph.external_data import save_graph
from .passes.plain_graph import PlainGraph
from .quantize.activation_ranges import measure_ranges
from .quantize.calibration_texts import range_rows
from .quantize.early_refusal import refuse_hopeless
from .quantize.fp16 import to_half
from .quantize.hessians import mean_moments
from .quantize.int8 import to_int8
from .quantize.weight_only import keep_four_bits, to_weight_only


def convert(
    bundle: str | Path,
    precision: Precision | str,
    *,
    texts: Iterable[str] | None = None,
    on_step: OnStep | None = None,
) -> Certificate:
    """Add the graph of another precision to a bundle, and certify it on the CPU.

    Args:
        bundle: The bundle's folder. A crash leaves one that opens, with the new graph or without.
        precision: ``int8``, ``w8``, ``w4`` or ``fp16`` (products in fp16, the rest in float32).
            One that is there already is made anew.
        texts: Such as will be embedded, of which the first 512 show how large states become, for
            int8; None takes texts of our own, in several languages.
        on_step: Called with the name of each step as it begins.

    Returns:
        The bundle's certificate, with the new entry.

    Raises:
        BundleError: The bundle is damaged or has no float32 graph, the precision is unknown, the
            disk is full, or another replaced the bundle meanwhile.
        ParityError: The new graph misses a gate; the bundle is as it was.
        TextError: A text is empty, or there is none.
    """
    wanted = convertible(precision)
    if texts is not None and wanted is not Precision.INT8:
        raise BundleError(f"texts show ranges for int8; {wanted} has none, leave them out")
    on_step = on_step or (lambda _: None)
    opened = Bundle.open(bundle)
    plain, file = opened.graph(Precision.FP32), graph_name(wanted)
    making = sibling_folder(opened.folder)
    with full_disk_error(f"{bundle} was not converted to {wanted}"), making as made:
        certifier = open_certifier(opened, folder=made, on_step=on_step)
        on_step(f"making the {wanted} graph")
        (made / file).parent.mkdir()
        try:
            make_graph(wanted, plain, made / file, certifier, texts=texts)
        except ParityError as error:
            raise ParityError(f"{bundle} was not converted to {wanted}: {error}") from error
        on_step(f"certifying {wanted} on the CPU")
        entry = certifier.entry(wanted, file, Place(provider=provider_name("cpu")))
        if not entry.passed:
            raise ParityError(f"{bundle} was not converted to {wanted}: {entry.failures}")
        check_same_bundle(opened)
        certificate = opened.certificate().with_entry(entry)
        add_graph(without_graph(opened, wanted), wanted, made, certificate)
    return certificate


def make_graph(
    precision: Precision,
    source: Path,
    target: Path,
    certifier: AnyCertifier,
    *,
    texts: Iterable[str] | None = None,
) -> None:
    """Write the graph of one precision.

    Args:
        precision: Any but FP32 and BF16.
        source: The float32 graph; it is loaded once.
        target: The file to write.
        certifier: Its tokenizer reads the texts that show how large states become.
        texts: These texts for int8, None for ours; float16 takes the certifier's.

    Raises:
        RecipeError: The graph has no linear layers that we know.
        ParityError: It is seen while a w4 graph is made that it will miss its gates.
    """
    plain = PlainGraph.load(source)
    model = plain.copy()
    match precision:
        case Precision.INT8:
            rows = range_rows(certifier.tokenizer, texts)
            count = to_int8(model, measure_ranges(plain, rows, pad_id=certifier.pad_id))
        case Precision.W8:
            count = to_weight_only(model, bits=8)
        case Precision.W4:
            count = keep_four_bits(model) or _round_to_four_bits(
                model, plain, certifier, home=target.parent
            )
        case Precision.FP16:
            count = to_half(model, plain, certifier)
        case Precision.FP32 | Precision.BF16:
            raise BundleError(f"{precision} is traced from the model, not made from a graph")
        case _:
            assert_never(precision)
    if count == 0:
        raise RecipeError(f"{source.name} has no product with a constant matrix to make smaller")
    save_graph(model, target)


def _round_to_four_bits(
    model: ir.Model, plain: PlainGraph, certifier: AnyCertifier, *, home: Path
) -> int:
    """Round linear layers by GPTQ; give up as soon as a gate is certainly missed."""
    rows = range_rows(certifier.tokenizer, None)
    moments = mean_moments(plain, rows, pad_id=certifier.pad_id)

    def look(rounded: str) -> None:
        refuse_hopeless(model, Precision.W4, home, certifier, rounded=rounded)

    return to_weight_only(model, bits=4, moments=moments, before_wider=look)
