"""What works on a bundle for a while writes nothing into one that was replaced meanwhile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from decant.embedders import Bundle, BundleError, ParityError
from decant.export import convert, verify


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def contents(bundle: Path) -> dict[str, bytes]:
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file()
    }


def replace(bundle: Path) -> dict[str, bytes]:
    """Put another bundle in the place of this one; return what it holds."""
    held = json.loads((bundle / "decant.json").read_text("utf-8"))
    other = bundle.with_name("other")
    shutil.copytree(bundle, other)
    (other / "decant.json").write_text(json.dumps({**held, "made_by": "another"}), "utf-8")
    shutil.rmtree(bundle)
    other.rename(bundle)
    return contents(bundle)


def test_a_conversion_is_not_added_to_another_bundle(bundle: Path) -> None:
    after: dict[str, bytes] = {}

    def step(name: str) -> None:
        if name.startswith("certifying"):
            after.update(replace(bundle))

    with pytest.raises(BundleError, match="was replaced or changed while this ran"):
        convert(bundle, "w8", on_step=step)
    assert contents(bundle) == after


def test_a_certificate_is_not_written_into_another_bundle(bundle: Path) -> None:
    after: dict[str, bytes] = {}

    def scores(_: object) -> dict[str, float]:
        after.update(replace(bundle))
        return {"a task": 1.0}

    with pytest.raises(BundleError, match="was replaced or changed while this ran"):
        verify(bundle, provider="cpu", scores=scores)
    assert contents(bundle) == after


def test_a_score_that_is_no_number_is_refused_and_not_written(bundle: Path) -> None:
    before = contents(bundle)
    with pytest.raises(ParityError, match="fp32 graph scores nan on a task"):
        verify(bundle, provider="cpu", scores=lambda _: {"a task": float("nan")})
    assert contents(bundle) == before


def test_a_reference_without_a_hash_fails_the_check_of_files(bundle: Path) -> None:
    held = json.loads((bundle / "decant.json").read_text("utf-8"))
    del held["files"]["reference.npz"]
    (bundle / "decant.json").write_text(json.dumps(held), encoding="utf-8")
    certificate = verify(bundle, provider="cpu")
    assert not certificate.passed
    assert "holds no hash of reference.npz" in certificate.entries[0].failures


def test_everything_in_an_exported_bundle_but_what_changes_later_has_a_hash(
    tiny_bundle: Path,
) -> None:
    listed = set(Bundle.open(tiny_bundle).manifest.files)
    assert listed == set(contents(tiny_bundle)) - {"decant.json", "certificate.json"}
