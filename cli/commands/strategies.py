"""``decant strategies``: list ways to get a vector from a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ..options.shared import AsJson
from ..output.terminal import show, show_json

if TYPE_CHECKING:
    from decant.embedders import Strategy


def strategies(*, as_json: AsJson = False) -> None:
    """List the strategies with their purpose, cost and source.

    A strategy is a recipe with a name: `decant export MODEL TARGET --strategy
    NAME`. Your own strategy is a JSON file with name, purpose and choices; give
    its path as the name.

    Examples:
      decant strategies
      decant export Qwen/Qwen3-0.6B one-word --strategy prompt-eol
      decant export Qwen/Qwen3-0.6B mine --strategy mine.json
    """
    from decant.embedders import strategies as known

    found = list(known().values())
    if as_json:
        show_json({"strategies": [_facts(one) for one in found]})
        return
    grid = Table.grid(padding=(0, 2, 1, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in found:
        passes = "1 pass" if one.passes == "1" else f"{one.passes} passes"
        cost = f"{one.needs} · {passes}, adds {one.adds} · {one.source}"
        grid.add_row(Text(one.name, "bold"), Text.assemble(one.purpose, "\n", (cost, "dim")))
    show(grid)


def _facts(one: Strategy) -> dict[str, str]:
    return {
        "name": one.name,
        "purpose": one.purpose,
        "needs": one.needs,
        "passes": one.passes,
        "adds": one.adds,
        "source": one.source,
    }
