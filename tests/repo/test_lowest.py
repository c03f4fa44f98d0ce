"""The oldest versions that are tested are those that pyproject.toml allows."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.version import Version

from repository import EXTRAS, PROJECT, ROOT

# What only developers install, in versions that nobody else has to have.
DEVELOPMENT = {"dev", "docs-site", "mteb", "peers", "quickstart", "test"}
# Transformers needs a newer one than the runtime, which may stand beside an older Transformers.
NEWER = {"tokenizers"}


def requirements() -> Iterator[Requirement]:
    """Yield what users may install, but for the runtimes of GPUs and our own extras."""
    project = PROJECT["project"]
    left_out = {*DEVELOPMENT, "gpu", "webgpu"}
    listed = [project["optional-dependencies"][name] for name in EXTRAS - left_out]
    for line in (*project["dependencies"], *(line for lines in listed for line in lines)):
        requirement = Requirement(line)
        if requirement.name != PROJECT["project"]["name"]:
            yield requirement


def test_every_lower_bound_is_the_version_that_is_tested() -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    bounds: dict[str, Version] = {}
    for requirement in requirements():
        (specifier,) = requirement.specifier
        if specifier.operator != "==":
            assert specifier.operator == ">="
            bound = bounds.setdefault(requirement.name, Version(specifier.version))
            assert Version(specifier.version) == bound, f"{requirement.name} has two bounds"
    assert {*pins} == {*bounds}
    wrong = {name: str(bound) for name, bound in bounds.items() if Version(pins[name]) != bound}
    assert {*wrong} == NEWER, wrong
    assert all(Version(pins[name]) > bounds[name] for name in NEWER)


def test_both_runtimes_have_one_lower_bound() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (cpu,), (gpu,) = (map(Requirement, extras[name]) for name in ("cpu", "gpu"))
    assert cpu.specifier == gpu.specifier
