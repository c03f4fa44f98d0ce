"""Measure how far models agree: the correlation of their cosines over the same pairs of texts.

Invariant: every entry is computed over the same pairs, those that all models know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known_cosines
from ..scores.statistics import Floats, kendall, spearman


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """Correlations between models, in the order of ``names``.

    Args:
        names: The names of M models.
        spearman: float64, shape ``(M, M)``, ones on the diagonal.
        kendall: Tau-b, shape ``(M, M)``.
        cases: How many pairs all models know.
        coverage: The share of such pairs, [0, 1].
    """

    names: tuple[str, ...]
    spearman: Floats
    kendall: Floats
    cases: int
    coverage: float


def model_agreement(
    embedders: Mapping[str, Embedder], pairs: Sequence[tuple[str, str]], *, role: Role
) -> Agreement:
    """Return the agreement of models on the order of pairs of texts.

    Args:
        embedders: Models by name, in the order wanted.
        pairs: Any pairs, for example those of a word similarity set.
        role: The role of the texts, which selects their prompt.

    Raises:
        EvaluationError: There are no models, all know fewer than two pairs together, or a model
            gives all pairs the same cosine.
    """
    if not embedders:
        raise EvaluationError("there are no models to compare")
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    found = [known_cosines(one, first, second, role=role) for one in embedders.values()]
    return agreement_of(
        tuple(embedders), [cosines for cosines, _ in found], [covered for _, covered in found]
    )


def agreement_of(
    names: tuple[str, ...], cosines: Sequence[Floats], covered: Sequence[NDArray[np.bool_]]
) -> Agreement:
    """Return the agreement of models from their cosines.

    Args:
        names: The names of M models.
        cosines: Of each model, shape ``(N,)``, for the same pairs.
        covered: Which pairs each model knows, shape ``(N,)``.

    Raises:
        EvaluationError: As :func:`model_agreement`.
    """
    shared = np.logical_and.reduce(covered)
    if (count := int(shared.sum())) < 2:
        raise EvaluationError(
            f"the models know {count} of {len(shared)} pairs together; two are needed"
        )
    kept = [part[shared] for part in cosines]
    return Agreement(
        names=names,
        spearman=np.array([[spearman(one, two) for two in kept] for one in kept]),
        kendall=np.array([[kendall(one, two) for two in kept] for one in kept]),
        cases=count,
        coverage=count / len(shared),
    )
