"""Certify a bundle again, on another machine or provider, by its own reference; without torch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from decant.embedders import (
    Bundle,
    BundleError,
    Certificate,
    CertificateCheck,
    Encoder,
    ExecutionOptions,
    OnStep,
    ParityError,
    Precision,
    ProviderError,
    load,
)
from decant.embedders.bundle import AnyEntry, TaskScore
from decant.embedders.files import CERTIFICATE, REFERENCE, write_atomically
from decant.embedders.json_records import to_json
from decant.embedders.onnx import (
    automatic_providers,
    candidates,
    find_provider,
    provider_name,
    unsupported,
)

from .bundle_writer import check_same_bundle
from .certify.any_certifier import AnyCertifier, open_certifier
from .certify.certifier import Place

_log = logging.getLogger("decant")

Scores = Callable[[Encoder], Mapping[str, float]]
"""Scores an encoder: names of task and metric, each with a value; higher is better."""


def verify(
    bundle: str | Path,
    *,
    provider: str = "auto",
    precision: str = "auto",
    device: int = 0,
    scores: Scores | None = None,
    on_step: OnStep | None = None,
) -> Certificate:
    """Measure a bundle's graphs on a provider and write the result into its certificate.

    Unlike :func:`decant.embedders.load` it does not refuse a graph with a wrong hash, but records
    it as a failed check named ``files``.

    Args:
        bundle: The bundle's folder.
        provider: ``cpu``, ``openvino``, ``cuda`` … or a full name; ``auto`` is the best installed
            one; ``all`` is each installed one that :func:`decant.embedders.load` may take by
            itself, and one that does not start or does not run a graph is logged and left out.
        precision: The precision of the graph; ``auto`` is every one that the provider and this
            processor run with the graphs in the bundle. The CPU provider has no bf16; OpenVINO
            computes it from the float32 graph.
        device: The GPU's number.
        scores: Tasks whose scores each entry states, together with those of the float32 graph on
            the same provider; :mod:`decant.evaluation` has some. With None, earlier scores of the
            same graph stay.
        on_step: Called with the name of each step as it begins.

    Returns:
        The whole certificate; ``passed`` is whether all entries passed.

    Raises:
        BundleError: The bundle is missing, incomplete, or of a newer format; or with ``scores``, it
            has no float32 graph to compare with, or a file was altered; or it was replaced
            meanwhile.
        ParityError: A score is no number.
        ProviderError: The provider is not installed, does not start, or does not run a graph;
            entries of graphs before that one are written. With ``all``: none of them runs a graph.
    """
    opened = Bundle.unchecked(bundle)
    if scores is not None and opened.manifest.reranker is not None:
        raise BundleError(
            f"{bundle} is a reranker, which gives no vectors to score on STS or retrieval; verify "
            "it without tasks"
        )
    on_step = on_step or (lambda _: None)
    measuring = _Measuring(
        opened,
        open_certifier(opened, on_step=on_step),
        _stored(opened),
        _files_check(opened),
    )
    errors: list[ProviderError] = []
    names = _provider_names(provider)
    for name in names:
        place = Place(provider=name, device=device)
        try:
            measuring.measure(place, precision, _Stated(opened, place, scores), on_step)
        except ProviderError as error:
            # A device may run float32 and lack float16: what was certified before is kept.
            errors.append(error)
            if provider == "all" and len(errors) < len(names):
                _log.warning("%s; it is left out", error)
                continue
            _write(opened, measuring.certificate)
            raise
    _write(opened, measuring.certificate)
    return measuring.certificate


def _provider_names(provider: str) -> list[str]:
    if provider == "all":
        return automatic_providers()
    return [candidates()[0] if provider == "auto" else provider_name(provider)]


class _Measuring:
    """Collects the entries of one certificate, provider by provider."""

    def __init__(
        self,
        bundle: Bundle,
        certifier: AnyCertifier,
        certificate: Certificate,
        files: CertificateCheck,
    ) -> None:
        self._bundle = bundle
        self._certifier = certifier
        self.certificate = certificate
        self._files = files

    def measure(self, place: Place, precision: str, stated: _Stated, on_step: OnStep) -> None:
        """Add the entries of one provider.

        Raises:
            ProviderError: It does not start, or does not run a graph.
        """
        row = find_provider(place.provider)
        for wanted in _wanted(self._bundle, precision, place.provider):
            file = self._bundle.manifest.graphs[row.graph_of(wanted)]
            on_step(f"certifying {wanted} on {place.provider}")
            entry = self._certifier.entry(wanted, file, place, known=[self._files])
            before = self.certificate.entry(
                sha256=entry.sha256, provider=entry.provider, precision=entry.precision
            )
            self.certificate = self.certificate.with_entry(stated.with_scores(entry, before))


def _write(bundle: Bundle, certificate: Certificate) -> None:
    check_same_bundle(bundle)
    if certificate.measured:
        write_atomically(bundle.folder / CERTIFICATE, to_json(certificate))


class _Stated:
    """Adds task scores to entries; the float32 graph is scored once."""

    def __init__(self, bundle: Bundle, place: Place, scores: Scores | None) -> None:
        self._bundle = bundle
        self._place = place
        self._scores = scores
        self._exact: Mapping[str, float] | None = None
        if scores is not None:
            bundle.graph(Precision.FP32)

    def with_scores(self, entry: AnyEntry, before: AnyEntry | None) -> AnyEntry:
        if self._scores is None:
            return replace(entry, tasks=before.tasks if before is not None else ())
        if self._exact is None:
            self._exact = self._run(Precision.FP32, self._scores)
        exact = self._exact
        single = entry.precision is Precision.FP32
        found = exact if single else self._run(entry.precision, self._scores)
        tasks = (TaskScore(name=name, value=found[name], exact=exact[name]) for name in exact)
        return replace(entry, tasks=tuple(tasks))

    def _run(self, precision: Precision, scores: Scores) -> Mapping[str, float]:
        with load(
            self._bundle.folder,
            provider=self._place.provider,
            precision=precision,
            runtime=ExecutionOptions(device=self._place.device),
            allow_uncertified=True,
        ) as encoder:
            found = scores(encoder)
        if bad := [name for name, value in found.items() if not math.isfinite(value)]:
            raise ParityError(
                f"the {precision} graph scores {found[bad[0]]} on {bad[0]}, which is no number; "
                "nothing was written"
            )
        return found


def _wanted(bundle: Bundle, precision: str, provider: str) -> list[Precision]:
    if precision == "auto":
        row = find_provider(provider)
        run = row.runnable(bundle.manifest.graphs)
        return [member for member in Precision if member in run and not unsupported(row, member)]
    if precision not in list(Precision):
        raise BundleError(f"no precision is called {precision!r}; known are {', '.join(Precision)}")
    return [Precision(precision)]


def _stored(bundle: Bundle) -> Certificate:
    """Return the bundle's certificate; it is empty if the file was lost."""
    empty = Certificate(format=1, digest=bundle.manifest.digest)
    if not (bundle.folder / CERTIFICATE).exists():
        return empty
    stored = bundle.certificate()
    return stored if stored.digest == bundle.manifest.digest else empty


def _files_check(bundle: Bundle) -> CertificateCheck:
    try:
        checked = replace(bundle, checked=bundle.check_files())
        for precision in [one for one in Precision if one in bundle.manifest.graphs]:
            checked.graph_files(precision)
        if REFERENCE not in checked.checked:
            raise BundleError(f"decant.json holds no hash of {REFERENCE}; export the bundle again")
    except BundleError as error:
        finding = str(error)
    else:
        finding = ""
    return CertificateCheck(
        name="files",
        cases=len(bundle.manifest.files),
        worst_cosine=-1.0 if finding else 1.0,
        passed=not finding,
        finding=finding,
    )
