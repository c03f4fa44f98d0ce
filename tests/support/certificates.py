"""What tests of certificates share: the graph that an entry is of, and its failed checks."""

from __future__ import annotations

from decant.embedders import CertificateEntry
from decant.embedders.onnx import CPU
from decant.export.certify.checks import Graph

GRAPH = Graph(file="onnx/model.onnx", sha256="0", provider=CPU)


def failed(entry: CertificateEntry) -> set[str]:
    """Return the names of the checks that failed."""
    return {check.name for check in entry.checks if not check.passed}
