"""decant in every precision and provider of the CPU, and what its speed is wanted to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from decant.embedders import OnnxEncoder, ProviderError, Role, load

from .report import Section, Target
from .rounds import Contender, speed_up

SYSTEMS = (
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("openvino", "fp32"),
    ("cpu", "fp32"),
    ("cpu", "int8"),
)
PEER = "sentence-transformers"
DEFAULT = f"{PEER}, batch 32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Open encoders of one bundle, by provider and precision."""

    encoders: Mapping[str, OnnxEncoder]

    @classmethod
    def load(cls, bundle: Path) -> Self:
        """Open a bundle in all that this processor runs; certificates are shown by cosines."""
        found = {}
        for provider, precision in SYSTEMS:
            try:
                found[f"{precision} {provider}"] = load(
                    bundle, provider=provider, precision=precision, allow_uncertified=True
                )
            except ProviderError as error:
                if "emulate" not in str(error):
                    raise
        return cls(encoders=found)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return next(iter(self.encoders.values())).tokenizer

    def close(self) -> None:
        """Close all."""
        for encoder in self.encoders.values():
            encoder.close()


def decant_contenders(
    ours: Ours, mixed: Sequence[str], short: Sequence[str]
) -> tuple[list[Contender], list[Contender]]:
    """Return those that encode mixed texts in batches, and short ones each in a call."""

    def one_by_one(encoder: OnnxEncoder) -> None:
        for text in short:
            encoder.encode([text], role=Role.PASSAGE)

    def made(run: Callable[[OnnxEncoder], object]) -> list[Contender]:
        return [
            Contender(
                name=f"decant {label}",
                settings="its defaults",
                run=partial(run, encoder),
                warm_up=partial(run, encoder),
            )
            for label, encoder in ours.encoders.items()
        ]

    return made(lambda encoder: encoder.encode(mixed, role=Role.PASSAGE)), made(one_by_one)


def targets_of(model: str, mixed: Section, alone: Section) -> list[Target]:
    """Return what was aimed at, with the ratios of this run; medians of rounds."""
    if model == "qwen3-0.6b":
        return [
            Target(
                name=f"{model}, {where}: decant {ours} against {theirs or 'float32'}",
                wanted=1.0, measured=ratio(found, f"decant {ours}", f"{PEER}{theirs}"),
                unit="times as fast",
            )
            for where, found in (("mixed", mixed), ("one by one", alone))
            for ours in ("fp32", "bf16", "int8")
            for theirs in ("", " bfloat16", " autocast")
            if not (ours == "fp32" and theirs) and _is_there(found, ours)
        ]  # fmt: skip
    wanted = [
        ("fp32", PEER, "at its fastest", 1.5),
        ("fp32", DEFAULT, "at its default", 2.0),
        ("bf16", DEFAULT, "at its default", 2.5),
        ("bf16", f"{PEER} backend=openvino", "at its fastest", 1.0),
        ("bf16", f"{PEER} backend=onnx", "at its fastest", 1.0),
        ("int8", DEFAULT, "at its default", 4.0),
    ]
    return [
        Target(
            name=f"{model}: decant {ours} against {theirs.removesuffix(', batch 32')} {how}",
            wanted=least,
            measured=ratio(mixed, f"decant {ours}", theirs),
            unit="times as fast",
        )
        for ours, theirs, how, least in wanted
        if any(_named(row.name, theirs) for row in mixed.rows) and _is_there(mixed, ours)
    ]


def _is_there(found: Section, precision: str) -> bool:
    """Return whether this processor runs a precision."""
    return any(row.name.startswith(f"decant {precision} ") for row in found.rows)


def ratio(found: Section, ours: str, theirs: str) -> float:
    """Return how many times as fast our fastest of a name is as their fastest of another."""
    laps = {row.name: row.laps for row in found.rows}
    mine = [name for name in laps if name.startswith(ours)]
    others = [name for name in laps if _named(name, theirs)]
    return max(min(speed_up(laps, one, other).median for other in others) for one in mine)


def _named(name: str, prefix: str) -> bool:
    """Return whether a contender is one of those called so, at whatever batch size."""
    return name == prefix or name.startswith(f"{prefix}, ")
