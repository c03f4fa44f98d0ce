"""What one step does with one model on one provider, in a process of its own.

Each graph is guarded: what fails is written down by name, and the next graph is taken. Findings are
written as they are made, so that a step that is stopped leaves those that it had.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch

from decant.embedders import Bundle, CertificateEntry, OnStep, Precision, Role
from decant.embedders.errors import MissingExtra
from decant.embedders.json_records import to_json
from decant.embedders.onnx import (
    Session,
    find_provider,
    installed_providers,
    placement,
    provider_name,
)
from decant.embedders.tokens import TokenBatch, pad
from decant.export import convert

from ...corpus import load_corpus
from ...machine import circumstances
from ...minilm import model_folder
from ...report import Figure, Findings, Target
from ..bout import Place, measured
from ..chip import device_name, matrix_peak, release, torch_device
from ..options import Options
from ..packed import check, usable
from ..steady import turn_by_turn
from ..subjects import MINILM, Request, Subject, certificate_entry, certified, make_subject
from .placement import placed
from .plan import Part

QUANTIZED = (Precision.INT8, Precision.W8, Precision.W4)
# As `nvidia-smi --help-query-gpu` names them.
_ASKED = ("name", "driver_version", "memory.total", "memory.used", "compute_cap")
_PRODUCTS = 30
_TURNS = 30
_TEXTS = ("Bread rises because yeast turns sugar into carbon dioxide.", "A ferry.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a part found, and what failed of it.

    Args:
        findings: Tables, numbers and what was aimed at.
        notes: Sentences for the page.
        errors: What failed, each with its name.
    """

    findings: Findings = field(default_factory=Findings)
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a step is asked for.

    Args:
        folder: The report's; models and bundles stay in ``made`` there.
        model: One of the benchmark's models; empty where none is needed.
        options: Of the benchmark, with the provider.
        quantized: The precisions that :attr:`Part.QUANTIZE` makes.
        on_step: Called with the name of each step as it begins.
    """

    folder: Path
    model: str
    options: Options
    quantized: tuple[Precision, ...] = QUANTIZED
    on_step: OnStep = print


class Writer:
    """Keeps a record, and writes it whenever it grows.

    Args:
        path: The record's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.record = Record()

    def add(self, findings: Findings | None = None, *, note: str = "", error: str = "") -> None:
        """Add findings, a sentence, or an error."""
        old = self.record
        self.record = Record(
            findings=old.findings.and_then(findings or Findings()),
            notes=(*old.notes, note) if note else old.notes,
            errors=(*old.errors, error) if error else old.errors,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(to_json(self.record), encoding="utf-8")

    @contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Write an error down in place of raising it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever fails, the next graph is taken
            self.add(error=f"{what}: {type(error).__name__}: {error}")


def work(part: Part, task: Task, path: Path) -> Record:
    """Do a part and return its record, which is also in the file ``path``."""
    writer = Writer(path)
    parts: dict[Part, Callable[[Task, Writer], None]] = {
        Part.MACHINE: _machine,
        Part.CERTIFY: _certify,
        Part.QUANTIZE: _quantize,
        Part.SPEED: _speed,
        Part.BINDING: _binding,
    }
    writer.add()
    with writer.guard(part.value):
        parts[part](task, writer)
    return writer.record


def prepare(task: Task) -> Path:
    """Make a model and its traced graphs, on any machine; return the bundle's folder."""
    options = replace(task.options, provider=provider_name("cpu"))
    return _subject(replace(task, options=options), ()).bundle.folder


def _machine(task: Task, writer: Writer) -> None:
    where = circumstances()
    writer.add(note=f"{where.processor}, {where.cores} cores; {platform.platform()}")
    versions = ", ".join(f"{name} {number}" for name, number in where.versions.items())
    writer.add(note=f"Python {where.python}; {versions}")
    writer.add(note=f"ONNX Runtime has {', '.join(installed_providers())}")
    with writer.guard("git"):
        commit = _told("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")
        writer.add(note=f"commit {commit}")
    if not find_provider(task.options.provider).is_cpu:
        with writer.guard("nvidia-smi"):
            asked = f"--query-gpu={','.join(_ASKED)}"
            writer.add(note=_told("nvidia-smi", asked, "--format=csv,noheader"))
            (task.folder / "nvidia-smi.txt").write_text(_told("nvidia-smi"), encoding="utf-8")
    device = torch_device(task.options.provider)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    writer.add(note=f"torch on {device_name(device)}, {built}")
    writer.add(Findings(figures=(_peak(task, device),)))


def _certify(task: Task, writer: Writer) -> None:
    subject = _subject(task, ())
    for precision in task.options.precisions:
        _certify_one(task, subject, precision, writer)


def _quantize(task: Task, writer: Writer) -> None:
    subject = _subject(task, ())
    for precision in task.quantized:
        with writer.guard(f"{subject.title} {precision}, converting"):
            if precision not in subject.bundle.manifest.graphs:
                convert(subject.bundle.folder, precision, on_step=task.on_step)
                subject = replace(subject, bundle=Bundle.unchecked(subject.bundle.folder))
            _certify_one(task, subject, precision, writer)


def _certify_one(task: Task, subject: Subject, precision: Precision, writer: Writer) -> None:
    provider = task.options.provider
    if precision not in find_provider(provider).precisions:
        writer.add(note=f"{subject.title} {precision}: {provider} does not run it")
        return
    if precision not in subject.bundle.manifest.graphs:
        writer.add(note=f"{subject.title} {precision}: its bundle has no such graph")
        return
    with writer.guard(f"{subject.title} {precision}, certificate"):
        entry = certificate_entry(subject.bundle.folder, precision, provider, task.on_step)
        writer.add(
            certified(replace(subject, entries={precision: entry})),
            error=""
            if entry.passed
            else f"{subject.title} {precision}, certificate: {entry.failures}",
        )
    with writer.guard(f"{subject.title} {precision}, where nodes run"):
        found = placed(
            placement(subject.bundle.graph(precision), provider, _batch(subject)), provider
        )
        name = f"{subject.title} {precision}, nodes that compute on the CPU"
        writer.add(
            Findings(
                targets=(
                    Target(
                        name=name,
                        wanted=0,
                        measured=sum(found.computing.values()),
                        unit="nodes",
                        at_most=True,
                    ),
                )
                if provider != provider_name("cpu")
                else ()
            ),
            note=f"{subject.title} {precision}: {found}",
        )
    release(torch_device(provider))


def _speed(task: Task, writer: Writer) -> None:
    options, on_step = task.options, task.on_step
    device = torch_device(options.provider)
    ways = usable(options.ways, device)
    for way in ways:
        check(way, device)
    subject = _subject(task, ())
    known = subject.bundle.certificate()
    entries = {}
    for precision in options.precisions:
        if subject.arithmetic.causal and precision is Precision.FP32 and device.type == "cuda":
            # Its attention is an operator that runs on the CPU, and would take minutes.
            writer.add(note=f"{subject.title} {precision}: left out, its attention is the CPU's")
            continue
        file = subject.bundle.manifest.graphs.get(precision)
        sha256 = subject.bundle.manifest.files[file] if file else ""
        entry = known.entry(sha256=sha256, provider=options.provider)
        if not isinstance(entry, CertificateEntry):
            writer.add(note=f"{subject.title} {precision}: left out, it has no certificate")
        else:
            entries[precision] = entry
    if not entries:
        raise ValueError(f"no graph of {subject.title} opened on {options.provider}")
    peak = _peak(task, device)
    place = Place(
        device=device,
        ways=ways,
        peak=1e12 * peak.value,
        corpus=load_corpus(options.common.data),
        on_step=on_step,
    )
    if options.with_sentence_transformers and find_spec("sentence_transformers") is None:
        options = replace(options, with_sentence_transformers=False)
        writer.add(note="sentence-transformers is not installed, and is not compared with")
    writer.add(Findings(figures=(peak,)).and_then(
        measured(replace(subject, entries=entries), options, place)
    ))  # fmt: skip


def _binding(task: Task, writer: Writer) -> None:
    """Time one batch with outputs that stay on the device until they are copied, and without."""
    subject, provider = _subject(task, ()), task.options.provider
    batch = _batch(subject, rows=32)
    row = find_provider(provider)
    for precision in task.options.precisions:
        if precision not in subject.bundle.manifest.graphs or precision not in row.precisions:
            continue
        with writer.guard(f"{subject.title} {precision}, binding"):
            sessions = {}
            for name, memory in (("bound", row.binds_outputs_to or "cpu"), ("not bound", "")):
                session = Session(subject.bundle.graph(precision), provider)
                # The row says it for users; here both are compared.
                session._row = replace(row, binds_outputs_to=memory)  # noqa: SLF001
                sessions[name] = session
            times = turn_by_turn(
                {name: partial(session.run, batch) for name, session in sessions.items()},
                count=_TURNS,
            )
            figures = tuple(
                Figure(
                    name=f"{subject.title} {precision}, a batch of {batch.input_ids.shape}, "
                    f"outputs {name}, p50",
                    value=sorted(found)[len(found) // 2],
                    unit="ms",
                )
                for name, found in times.items()
            )
            writer.add(Findings(figures=figures))
            del sessions


def _subject(task: Task, precisions: Sequence[Precision]) -> Subject:
    options = task.options
    made = task.folder / "made"
    model = options.common.model or _tokenizer_source()
    name = task.model
    if name == MINILM and options.common.bundle is not None:
        # A bundle of the user's is certified in a copy.
        kept = made / "minilm-given" / "bundle"
        if not kept.exists():
            shutil.copytree(options.common.bundle, kept)
        options = replace(options, common=replace(options.common, bundle=kept))
    request = Request(
        name=name,
        model=model,
        bundle=options.common.bundle if name == MINILM else None,
        layers=options.layers,
        precisions=tuple(precisions),
        provider=options.provider,
        seed=options.common.seed,
        graphs=options.precisions,
    )
    return make_subject(request, made, on_step=task.on_step)


def _tokenizer_source() -> Path:
    """Return the folder whose tokenizer is borrowed: that of the package with MiniLM."""
    try:
        return model_folder()
    except MissingExtra as error:
        raise MissingExtra(f"{error}; or name a folder with a tokenizer.json by --model") from error


def _batch(subject: Subject, *, rows: int = 2) -> TokenBatch:
    texts = [_TEXTS[number % 2] for number in range(rows)]
    tokens = subject.bundle.tokenizer()(texts, role=Role.PASSAGE)
    return pad(tokens, pad_id=subject.bundle.manifest.pad_id)


def _peak(task: Task, device: torch.device) -> Figure:
    dtype = "bfloat16" if device.type == "cuda" else "float32"
    size = task.options.size
    found = matrix_peak(device, getattr(torch, dtype), size=size, runs=_PRODUCTS)
    name = f"{device_name(device)}, product of two {size}² matrices in {dtype}"
    return Figure(name=name, value=found / 1e12, unit="TFLOP/s")


def _told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
