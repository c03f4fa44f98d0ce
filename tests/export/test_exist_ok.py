"""``export(…, exist_ok=True)``: a script may run again; no other bundle is taken for its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from decant.embedders import BundleError, Choices
from decant.export import convert, export


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


@pytest.fixture
def no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a model would be traced."""

    def fail(*_: object) -> None:
        pytest.fail("a model was traced")

    monkeypatch.setattr("decant.export.exporter._trace", fail)


def state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.usefixtures("no_tracing")
def test_the_same_export_again_returns_the_certificate_and_changes_nothing(
    tiny_folder: Path, bundle: Path
) -> None:
    before = state(bundle)
    certificate = export(tiny_folder, bundle, exist_ok=True)
    assert certificate.passed
    assert certificate.entries
    assert state(bundle) == before


@pytest.mark.usefixtures("no_tracing")
def test_without_it_a_bundle_is_in_the_way(tiny_folder: Path, bundle: Path) -> None:
    with pytest.raises(BundleError, match="already holds a bundle"):
        export(tiny_folder, bundle)


@pytest.mark.usefixtures("no_tracing")
def test_another_recipe_is_refused_with_what_differs(tiny_folder: Path, bundle: Path) -> None:
    for choices, said in (
        (Choices(dim=16), r"its dim is None, not 16"),
        (Choices(query_prompt="ask: {text}"), r"its query_prompt is .*query: .*, not .*ask: "),
        (Choices(token_embeddings=True), r"its token_embeddings is False, not True"),
    ):
        with pytest.raises(BundleError, match=said):
            export(tiny_folder, bundle, choices=choices, exist_ok=True)


@pytest.mark.usefixtures("no_tracing")
def test_other_weights_under_the_same_name_are_refused(
    tiny_folder: Path, bundle: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(tiny_folder, tmp_path / "model" / tiny_folder.name))
    (file,) = changed.rglob("*.safetensors")
    weights = load_file(file)
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, file, {"format": "pt"})
    with pytest.raises(BundleError, match=r"its revision is 'sha256:.*', not 'sha256:"):
        export(changed, bundle, exist_ok=True)


@pytest.mark.usefixtures("no_tracing")
def test_precisions_must_be_there_and_further_ones_do_not_matter(
    tiny_folder: Path, bundle: Path
) -> None:
    with pytest.raises(BundleError, match="no graph in w8, which `decant convert` adds"):
        export(tiny_folder, bundle, precisions=["w8"], exist_ok=True)
    convert(bundle, "w8")
    assert export(tiny_folder, bundle, precisions=["w8"], exist_ok=True).passed
    assert export(tiny_folder, bundle, exist_ok=True).passed


@pytest.mark.usefixtures("no_tracing")
def test_a_damaged_bundle_is_not_the_one_that_would_be_made(
    tiny_folder: Path, bundle: Path
) -> None:
    (bundle / "onnx" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match="was altered or damaged"):
        export(tiny_folder, bundle, exist_ok=True)


@pytest.mark.slow
def test_with_replace_another_bundle_goes(tiny_folder: Path, bundle: Path) -> None:
    certificate = export(tiny_folder, bundle, choices=Choices(dim=16), exist_ok=True, replace=True)
    assert certificate.passed
    again = export(tiny_folder, bundle, choices=Choices(dim=16), exist_ok=True)
    assert again.digest == certificate.digest


def test_where_nothing_is_a_bundle_is_made(tiny_folder: Path, tmp_path: Path) -> None:
    made = export(tiny_folder, tmp_path / "new", exist_ok=True)
    assert export(tiny_folder, tmp_path / "new", exist_ok=True) == made
