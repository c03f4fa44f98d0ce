"""Certify a bundle anew, on another machine or provider, from its own reference; without torch."""

from __future__ import annotations

from pathlib import Path

from decant.embedders import (
    Bundle,
    BundleError,
    Certificate,
    Check,
    Precision,
    candidates,
    provider_name,
    to_json,
    write_atomically,
)

from .certifier import Certifier, Place
from .reference import Reference


def verify(
    bundle: str | Path, *, provider: str = "auto", precision: str = "auto", device: int = 0
) -> Certificate:
    """Measure a bundle's graphs on a provider and write the result into its certificate.

    Unlike :func:`decant.embedders.load` it does not refuse a graph whose hash is wrong, but records
    that as a failed check named ``files``.

    Args:
        bundle: The bundle's folder.
        provider: ``cpu``, ``cuda`` … or a full name; ``auto`` is the best installed one.
        precision: Which graph; ``auto`` is every one in the bundle.
        device: Which GPU.

    Returns:
        The whole certificate; ``passed`` tells whether all of it is good.

    Raises:
        BundleError: The bundle is missing, incomplete, or of a newer format.
        ProviderError: The provider is not installed or does not start.
    """
    opened = Bundle.unchecked(bundle)
    name = candidates()[0] if provider == "auto" else provider_name(provider)
    certificate = _stored(opened)
    files = _files_check(opened)
    certifier = Certifier(
        folder=opened.folder,
        tokenizer=opened.tokenizer(),
        reference=Reference.read(opened.folder / "reference.npz"),
        pad_id=opened.manifest.pad_id,
    )
    place = Place(provider=name, device=device)
    for wanted in _wanted(opened, precision):
        file = opened.manifest.graphs[wanted]
        certificate = certificate.with_entry(certifier.entry(wanted, file, place, known=[files]))
    write_atomically(opened.folder / "certificate.json", to_json(certificate))
    return certificate


def _wanted(bundle: Bundle, precision: str) -> list[Precision]:
    if precision == "auto":
        return [member for member in Precision if member in bundle.manifest.graphs]
    if precision not in list(Precision):
        raise BundleError(f"no precision is called {precision!r}; known are {', '.join(Precision)}")
    return [Precision(precision)]


def _stored(bundle: Bundle) -> Certificate:
    """The bundle's certificate; an empty one where it was lost."""
    empty = Certificate(format=1, digest=bundle.manifest.digest)
    if not (bundle.folder / "certificate.json").exists():
        return empty
    stored = bundle.certificate()
    return stored if stored.digest == bundle.manifest.digest else empty


def _files_check(bundle: Bundle) -> Check:
    try:
        bundle.check_files()
    except BundleError as error:
        finding = str(error)
    else:
        finding = ""
    return Check(
        name="files",
        cases=len(bundle.manifest.files),
        worst_cosine=-1.0 if finding else 1.0,
        passed=not finding,
        finding=finding,
    )
