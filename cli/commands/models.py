"""``decant models``: the models whose recipes are known, and the bundles at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from decant.embedders import BundleError

from ..exit_codes import Exit
from ..options.shared import AsJson
from ..output.terminal import printable, say, show, show_json
from ..output.views import show_facts

if TYPE_CHECKING:
    from decant.embedders import ModelFamily
    from decant.embedders.bundle import Manifest


def models(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of bundles, or a bundle.")
    ] = Path(),
    *,
    as_json: AsJson = False,
) -> None:
    """List the models whose recipes are known, and the bundles in a folder.

    The listed families are those whose files do not state their recipe. Other
    models can be exported, too: `decant export` reads pooling, attention and
    prompts from their sentence-transformers files, or takes them as options.
    Files of bundles are not checked; `decant inspect` does that. Exits with 1 if
    a bundle cannot be opened; the others are listed.

    Examples:
      decant models
      decant models ./bundles --json | jq .bundles
    """
    from decant.embedders import known_families

    families = known_families()
    held = list(_bundles(folder))
    if as_json:
        show_json(
            {
                "families": [_facts(name, one) for name, one in families.items()],
                "folder": str(folder),
                "bundles": [_bundle_facts(one) for one in held],
            }
        )
    else:
        show(_table(families))
        for one in held:
            show_facts({"bundle": str(one.folder), **_described(one)})
        if not held:
            say(f"there are no bundles in {folder.absolute()}; `decant export` makes them")
    if any(one.manifest is None for one in held):
        raise typer.Exit(Exit.FINDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A folder with a manifest; without ``manifest`` it cannot be opened, for this reason."""

    folder: Path
    manifest: Manifest | None = None
    passed: bool = False
    reason: str = ""


def _bundles(folder: Path) -> Iterator[_Held]:
    """Yield the folder itself and those right below it that hold a manifest, in order of names.

    Raises:
        BadParameter: There is no such folder.
    """
    from decant.embedders import Bundle
    from decant.embedders.files import MANIFEST

    if not folder.is_dir():
        raise typer.BadParameter(
            f"{folder} is not a folder; give one that holds bundles", param_hint="FOLDER"
        )
    for one in (folder, *sorted(folder.iterdir())):
        if not (one / MANIFEST).is_file():
            continue
        try:
            bundle = Bundle.unchecked(one)
            yield _Held(folder=one, manifest=bundle.manifest, passed=bundle.certificate().passed)
        except BundleError as error:
            yield _Held(folder=one, reason=str(error))


def _table(families: dict[str, ModelFamily]) -> Table:
    grid = Table.grid(padding=(0, 2, 1, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, family in families.items():
        facts = _facts(name, family)
        said = [f"{key.replace('_', ' ')}: {_short(facts[key])}" for key in facts if key in _SHOWN]
        models = "\n".join(family.models)
        grid.add_row(Text(name, "bold"), Text.assemble(models, ("\n" + "\n".join(said), "dim")))
    return grid


_SHOWN = ("pooling", "attention", "max_tokens", "query_prompt", "passage_prompt")


def _short(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if "{text}" in text else text


def _facts(name: str, family: ModelFamily) -> dict[str, object]:
    """Return what the registry states about a family; the rest is in the models' own files."""
    choices = family.choices
    said = {
        "pooling": choices.pooling,
        "attention": choices.attention,
        "max_tokens": choices.max_tokens,
        "eos": choices.eos,
        "query_prompt": choices.query_prompt,
        "passage_prompt": choices.passage_prompt,
        "instruction_template": choices.instruction_template,
        "min_dim": choices.min_dim,
    }
    stated = {key: value for key, value in said.items() if value is not None}
    return {"name": name, "models": list(family.models), **stated}


def _bundle_facts(one: _Held) -> dict[str, object]:
    if one.manifest is None:
        return {"folder": str(one.folder), "error": one.reason}
    recipe = one.manifest.recipe
    return {
        "folder": str(one.folder),
        "model": recipe.base,
        "digest": one.manifest.digest,
        "dim": one.manifest.dim,
        "pooling": recipe.pooling,
        "attention": recipe.attention,
        "precisions": sorted(one.manifest.graphs),
        "passed": one.passed,
    }


def _described(one: _Held) -> dict[str, str]:
    if one.manifest is None:
        return {"error": printable(one.reason)}
    recipe = one.manifest.recipe
    return {
        "model": f"{recipe.base}, recipe {one.manifest.digest}",
        "vectors": f"{one.manifest.dim} wide, {recipe.pooling} pooling, {recipe.attention}",
        "graphs": f"{', '.join(sorted(one.manifest.graphs))}; certificate "
        f"{'passed' if one.passed else 'FAILED or missing'}",
    }
