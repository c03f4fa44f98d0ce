"""A bundle on disk: what it holds, how it is written, and what is checked before it is believed.

It is never half there.

Layout (Hugging Face's, so that other tools read it): ``config.json``, ``tokenizer.json``,
``onnx/model.onnx`` and its external data, then ours: ``decant.json`` (:class:`Manifest`),
``certificate.json`` and ``reference.npz``. Nothing here runs a model.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from . import jsonio
from .certificate import Certificate, Precision
from .errors import BundleError
from .prompt import Role
from .recipe import Recipe
from .source import file_hash
from .tokenizer_file import load_text_tokenizer
from .tokens import TextTokenizer

BUNDLE_FORMAT = 1
MANIFEST = "decant.json"
CERTIFICATE = "certificate.json"
REFERENCE = "reference.npz"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """The token ids that one text must give."""

    role: Role
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``decant.json``.

    Args:
        format: Version of the bundle format.
        made_by: The decant that wrote it.
        recipe: What decides the vectors.
        digest: The recipe's digest.
        dim: Width D of the vectors.
        pad_id: Fills padded positions.
        graphs: For each precision, the graph's path in the bundle.
        files: SHA-256 of every file but this one and the certificate, by path in the bundle.
        golden: Token ids that this bundle's tokenizer gave when it was made.
    """

    format: int
    made_by: str
    recipe: Recipe
    digest: str
    dim: int
    pad_id: int
    graphs: dict[str, str]
    files: dict[str, str]
    golden: tuple[Golden, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder whose manifest and hashes were checked."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Read a bundle and check every file's hash.

        Raises:
            BundleError: It is missing, incomplete, altered, or of a newer format.
        """
        bundle = cls.unchecked(folder)
        bundle.check_files()
        return bundle

    @classmethod
    def unchecked(cls, folder: str | Path) -> Bundle:
        """Read a bundle's manifest without looking at its files; for certifying.

        Raises:
            BundleError: The manifest is missing, damaged, or of a newer format.
        """
        return cls(folder=Path(folder), manifest=read_manifest(Path(folder)))

    def check_files(self) -> None:
        """Compare every file with its hash; :class:`BundleError` names the first that differs."""
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            if not path.is_file():
                raise BundleError(
                    f"{self.folder} is incomplete: {name} is missing; export it again"
                )
            if (found := file_hash(path)) != expected:
                raise BundleError(
                    f"{path} was altered or damaged: its SHA-256 begins with {found[:12]}, the "
                    f"manifest says {expected[:12]}; export the bundle again or copy it afresh"
                )

    def graph(self, precision: Precision) -> Path:
        """Return the path of the graph of one precision.

        Raises:
            BundleError: The bundle does not hold this precision.
        """
        graphs = self.manifest.graphs
        if precision not in graphs:
            raise BundleError(
                f"{self.folder} has no {precision} graph, only {', '.join(sorted(graphs))}"
            )
        return self.folder / graphs[precision]

    def certificate(self) -> Certificate:
        """Read ``certificate.json``.

        Raises:
            BundleError: It is missing, damaged, or of a newer format.
        """
        return jsonio.read(Certificate, self.folder / CERTIFICATE, error=BundleError)

    def tokenizer(self) -> TextTokenizer:
        """Return the tokenizer, after it gave the golden ids.

        Raises:
            BundleError: It gives other ids than when the bundle was made.
        """
        manifest = self.manifest
        tokenizer = load_text_tokenizer(self.folder, manifest.recipe)
        for golden, (role, text, ids) in zip(manifest.golden, tokenizer.golden(), strict=False):
            if golden != Golden(role=role, text=text, ids=ids):
                raise BundleError(
                    f"the installed tokenizers package turns {golden.text[:40]!r} ({golden.role}) "
                    f"into {_head(ids)}, and this bundle was made with {_head(golden.ids)}; "
                    "install the tokenizers version that made it, or export it again"
                )
        return tokenizer


def _head(ids: tuple[int, ...]) -> str:
    return f"{list(ids[:8])}{' …' if len(ids) > 8 else ''}"


def read_manifest(folder: Path) -> Manifest:
    """Read ``decant.json`` and nothing else.

    Raises:
        BundleError: It is missing, damaged, of a newer format, or its digest is not its recipe's.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = "has no decant.json, so it is not a bundle" if folder.is_dir() else "does not exist"
        raise BundleError(f"{folder} {what}; make one with: decant export MODEL {folder}")
    data = jsonio.read_json(path, error=BundleError)
    found = data.get("format") if isinstance(data, dict) else None
    if not isinstance(found, int):
        raise BundleError(f"{path} does not say its format; it is damaged, export it again")
    if found > BUNDLE_FORMAT:
        raise BundleError(
            f"{folder} has bundle format {found}, this decant reads up to {BUNDLE_FORMAT}; "
            "upgrade decant"
        )
    manifest = jsonio.decode(Manifest, data, where=MANIFEST, error=BundleError)
    if manifest.digest != manifest.recipe.digest():
        raise BundleError(
            f"{path} was edited: it says digest {manifest.digest}, its recipe has "
            f"{manifest.recipe.digest()}; export the bundle again"
        )
    return manifest


@contextmanager
def fresh_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes ``target`` when all went well.

    Args:
        target: The folder to make.
        replace: Whether a bundle that is there already may go.

    Raises:
        BundleError: ``target`` exists and is no bundle or may not be replaced, or the disk is full.
    """
    if target.exists():
        if not (target / MANIFEST).exists() and any(target.iterdir()):
            raise BundleError(f"{target} exists and is no bundle; choose another name")
        if not replace and (target / MANIFEST).exists():
            raise BundleError(f"{target} already holds a bundle; pass replace=True (--replace)")
    target.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with full_disk_told(f"{target} was not written"):
            yield making
            making.chmod(0o755)
            _swap(making, target)
    finally:
        shutil.rmtree(making, ignore_errors=True)


@contextmanager
def full_disk_told(outcome: str) -> Iterator[None]:
    """Turn a full disk into :class:`BundleError`, which says what became of the work."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BundleError(
                f"the disk is full: {outcome}, and nothing is left of it; free some space and run "
                "it again"
            ) from error
        raise


def _swap(made: Path, target: Path) -> None:
    if not target.exists():
        made.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        made.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def decant_version() -> str:
    """Return the version of the installed package."""
    return version("decant")


def write_atomically(path: Path, text: str) -> None:
    """Write a small text file so that readers see the old or the new one, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
