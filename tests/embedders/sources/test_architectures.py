"""Each row of the table of architectures is a model of Transformers, and is tried in a test."""

from __future__ import annotations

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from decant.embedders.sources import Operator, architecture
from decant.embedders.sources.architectures import _ROWS, ARCHITECTURES, Architecture
from decant.embedders.sources.positions import first_position, longest_text, uncounted_id
from model_families import FAMILIES, traced_as

# NV-Embed's code of its own, which decant builds from Mistral.
NOT_IN_TRANSFORMERS = {"bidir_mistral"}


def test_each_architecture_is_one_of_transformers() -> None:
    assert {kind for kind in ARCHITECTURES if kind not in CONFIG_MAPPING} == NOT_IN_TRANSFORMERS


def test_each_architecture_stands_in_one_row() -> None:
    assert sum(len(kinds.split()) for kinds in _ROWS.values()) == len(ARCHITECTURES)


@pytest.mark.parametrize("operator", Operator)
def test_each_architecture_with_an_operator_is_exported_in_the_tests_of_the_operator(
    operator: Operator,
) -> None:
    """Those tests take what ``traced_as`` returns, and a tiny model of each."""
    assert traced_as(operator)
    assert set(traced_as(operator)) <= set(FAMILIES)


@pytest.mark.parametrize("kind", ["a model of tomorrow", None, ["bert"]])
def test_nothing_is_known_of_what_is_not_in_the_table(kind: object) -> None:
    assert architecture(kind) == Architecture()


@pytest.mark.parametrize(
    ("kind", "padding", "first", "uncounted", "longest"),
    [
        ("bert", 0, 0, None, 514),
        ("roberta", 1, 2, 1, 512),
        ("roberta", 3, 4, 3, 510),
        ("roberta", None, 2, 1, 512),
        ("mpnet", 0, 2, 1, 512),
        ("nystromformer", 0, 2, None, 514),
    ],
)
def test_positions_follow_the_row(
    kind: str, padding: int | None, first: int, uncounted: int | None, longest: int
) -> None:
    assert first_position(kind, padding) == first
    assert uncounted_id(kind, padding) == uncounted
    assert longest_text(kind, padding, 514) == longest
