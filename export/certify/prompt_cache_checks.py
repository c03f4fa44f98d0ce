"""Compare texts behind a cached prompt with texts that run whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from decant.embedders import CertificateCheck, Precision, RecipeError, Role, SharedPrompts
from decant.embedders.encoding import DENSE
from decant.embedders.onnx import GraphSession
from decant.embedders.tokens import TextTokenizer, TokenBatch, Tokens, pad

from .checks import cosines_of, least
from .output_checks import extra_checks
from .probes import probe_rows
from .reference import Reference

_GROUP = 8
_NAME = "shared prompt"
_INSTRUCTED = 24  # texts
_INSTRUCTION = "retrieve what answers the question"


def prompt_checks(
    session: GraphSession,
    tokenizer: TextTokenizer,
    reference: Reference,
    *,
    precision: Precision,
    pad_id: int,
) -> list[CertificateCheck]:
    """Run every text alone and in groups behind its cached prompt; no check without such prompts.

    The outputs under the recipe's own prompts are compared with PyTorch's. Instructions of a call
    are not in the reference: there, the graph's outputs behind the cached prompt are compared with
    its outputs for the whole rows.

    Args:
        session: The graph.
        tokenizer: Turns texts into rows.
        reference: The probe texts, and PyTorch's vectors.
        precision: The precision, which decides the gates.
        pad_id: The token id of padded positions.
    """
    if not session.takes_prompts:
        return []
    prompts = SharedPrompts(session)
    rows = probe_rows(tokenizer, reference.texts)
    found = _compared(session, prompts, rows, reference.vectors, pad_id)
    if asked := _instructed(tokenizer, reference.texts[:_INSTRUCTED]):
        whole = np.concatenate([session.run(pad([row], pad_id=pad_id)) for row in asked])
        found = np.concatenate([found, _compared(session, prompts, asked, whole, pad_id)])
    if not len(found):
        return []
    finding = "texts behind a cached prompt get other vectors"
    extra = extra_checks(
        lambda batch, names: session.outputs_of(prompts.cut_shared_prompt(batch, names), names),
        rows,
        reference.extras,
        precision=precision,
        pad_id=pad_id,
    )
    named = [replace(check, name=f"{check.name}, {_NAME}") for check in extra]
    return [least(precision, _NAME, found, finding), *named]


def _instructed(tokenizer: TextTokenizer, texts: list[str]) -> list[Tokens]:
    """Return rows under an instruction; none if the model takes none, or it fills the input."""
    if tokenizer.recipe.instruction_template is None:
        return []
    try:
        return tokenizer(texts, role=Role.QUERY, instruction=_INSTRUCTION)
    except RecipeError:
        return []


def _compared(
    session: GraphSession,
    prompts: SharedPrompts,
    rows: Sequence[Tokens],
    expected: NDArray[np.float32],
    pad_id: int,
) -> NDArray[np.float64]:
    """Return the cosine of every vector that was computed behind a cached prompt."""
    found: list[NDArray[np.float64]] = [np.zeros(0)]
    for batch, numbers in _batches(rows, pad_id):
        rest = prompts.cut_shared_prompt(batch, [DENSE])
        if rest is not batch:
            found.append(cosines_of(session.run(rest), expected[numbers]))
    return np.concatenate(found)


def _batches(rows: Sequence[Tokens], pad_id: int) -> Iterator[tuple[TokenBatch, list[int]]]:
    """Yield groups of similar length and one prompt, then each row alone."""
    order = sorted(range(len(rows)), key=lambda number: (_prompt(rows[number]), rows[number].width))
    for start in range(0, len(rows), _GROUP):
        numbers = order[start : start + _GROUP]
        yield pad([rows[number] for number in numbers], pad_id=pad_id), numbers
    for number, row in enumerate(rows):
        yield pad([row], pad_id=pad_id), [number]


def _prompt(row: Tokens) -> tuple[int, ...]:
    return row.ids[: row.prompt]
