"""``decant models``: the families of the registry, and the bundles of a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from command_line import Decant
from decant.cli.exit_codes import Exit
from repository import ROOT

REGISTRY = json.loads((ROOT / "embedders" / "sources" / "registry.json").read_text("utf-8"))


def listed(decant: Decant, *arguments: object) -> dict[str, Any]:
    found = decant("models", *arguments, "--json").json
    return dict(found)


def test_every_family_and_model_of_the_registry_is_listed(decant: Decant) -> None:
    families = {one["name"]: one for one in listed(decant)["families"]}
    assert set(families) == set(REGISTRY["families"])
    models = {model: name for name, one in families.items() for model in one["models"]}
    assert models == REGISTRY["models"]
    for name, row in REGISTRY["families"].items():
        family = families[name]
        assert family.get("pooling") == row.get("pooling")
        assert family.get("attention") == row.get("attention")
        assert family.get("query_prompt") == row.get("query")
        assert family.get("passage_prompt") == row.get("passage")
    shown = decant("models")
    assert shown.code == Exit.OK
    assert all(model in shown.out for model in REGISTRY["models"])
    assert "there are no bundles in" in shown.err


def test_the_bundles_of_a_folder_are_listed(decant: Decant, tiny_bundle: Path) -> None:
    shutil.copytree(tiny_bundle, "bundles/one")
    (bundle,) = listed(decant, "bundles")["bundles"]
    manifest = json.loads(Path("bundles/one/decant.json").read_text())
    assert bundle["folder"] == "bundles/one"
    assert bundle["digest"] == manifest["digest"]
    assert bundle["pooling"] == manifest["recipe"]["pooling"]
    assert bundle["precisions"] == ["fp32"]
    assert bundle["passed"] is True
    assert listed(decant, "bundles/one")["bundles"] == [bundle], "a bundle itself, too"
    assert "bundles/one" in decant("models", "bundles").out
    shutil.move("bundles/one", "one")
    assert listed(decant)["bundles"][0]["folder"] == "one", "here, unless said otherwise"


def test_a_bundle_that_cannot_be_opened_is_named_and_others_are_listed(
    decant: Decant, tiny_bundle: Path
) -> None:
    shutil.copytree(tiny_bundle, "b")
    Path("a").mkdir()
    Path("a/decant.json").write_text("{")
    ran = decant("models", "--json")
    assert ran.code == Exit.FINDING
    broken, whole = json.loads(ran.out)["bundles"]
    assert "error" in broken
    assert whole["folder"] == "b"


def test_a_folder_that_is_not_there_is_wrong_input(decant: Decant) -> None:
    ran = decant("models", "nowhere")
    assert ran.code == Exit.INPUT
    assert "nowhere is not a folder" in ran.err
