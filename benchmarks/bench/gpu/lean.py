"""Bundles with only the graphs that are measured, for models that are too large for ``export``.

``export`` writes the float32 graph always and certifies on the CPU: for 8 billion weights 30 GB of
disk and minutes beyond what a benchmark has. Here the same functions trace the same graphs, and
the reference is the same float32 PyTorch model's, computed on the device that is measured. The
certificate is left empty: the provider that is measured fills it. Unlike ``export``, an fp16 graph
that fails there is not made again with less in fp16.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from decant.embedders import Certificate, OnStep, Precision, TorchEncoder
from decant.embedders.bundle import fresh_folder
from decant.embedders.sources import pad_id
from decant.embedders.tokens import pad
from decant.export.bundle_writer import graph_name, write_certificate, write_manifest
from decant.export.certify.probes import longest_probe, probe_rows, probe_texts
from decant.export.certify.reference import PYTORCH, Reference
from decant.export.graph_maker import trace_graphs


def lean_bundle(
    model: Path,
    target: Path,
    precisions: Sequence[Precision],
    *,
    device: torch.device,
    on_step: OnStep,
) -> Path:
    """Write a bundle without certificates; return its folder.

    Args:
        model: A Transformers or sentence-transformers folder.
        target: The bundle's folder; it appears whole or not at all.
        precisions: Those that are traced: fp32, fp16 and bf16.
        device: Where the reference vectors are computed, in float32.
        on_step: Called with the name of each step as it begins.

    Raises:
        BundleError: ``target`` is in the way, or the disk is full.
        RecipeError: The model does not load or cannot be traced.
    """
    with fresh_folder(target) as folder:
        on_step(f"loading {model}")
        with TorchEncoder.from_pretrained(model) as encoder:
            if Precision.FP32 not in precisions:  # tracing that one makes the folder
                (folder / graph_name(Precision.FP32)).parent.mkdir()
            trace_graphs(encoder.model, folder, precisions, on_step)
            for file in ("config.json", "tokenizer.json"):
                shutil.copy(model / file, folder)
            on_step(f"computing reference vectors on {device.type}")
            encoder.model.to(device)
            _reference(encoder, device).save(folder / "reference.npz")
            on_step("hashing the bundle")
            write_manifest(
                folder,
                encoder.text_tokenizer,
                dim=encoder.dim,
                pad_id=pad_id(model),
                graphs={precision: graph_name(precision) for precision in precisions},
            )
            write_certificate(
                folder, Certificate(format=1, digest=encoder.text_tokenizer.recipe.digest())
            )
        # Modules refer to each other, so that the weights are freed only by a collection.
        del encoder
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return target


def _reference(encoder: TorchEncoder, device: torch.device) -> Reference:
    """Run every probe alone and unpadded."""
    heads: int = encoder.model.backbone.config.num_attention_heads
    longest = longest_probe(encoder.recipe.max_tokens, heads=heads)
    texts = probe_texts(encoder.text_tokenizer, longest=longest)
    rows = probe_rows(encoder.text_tokenizer, texts)
    vectors = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows])
    return Reference(texts=texts, vectors=vectors, others={}, origin=f"{PYTORCH} on {device.type}")
