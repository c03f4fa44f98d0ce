"""A bundle on disk: its files, and the checks that each of them must pass before it is used.

A bundle appears on disk whole or not at all (``folders.py``).

Layout (Hugging Face's, so that other tools read it): ``config.json``, ``tokenizer.json``,
``onnx/model.onnx`` and its external data, then ours: ``decant.json`` (:class:`Manifest`),
``certificate.json`` and ``reference.npz``. ``file_list.py`` rules which files may be in a bundle.
Nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from .. import json_records
from ..errors import BundleError, ParityError, RecipeError, TextError
from ..files import CERTIFICATE, MANIFEST
from ..json_records import absent_by_default
from ..recipe.prompt import Role
from ..recipe.recipe import Recipe
from ..recipe.rerank_recipe import RerankRecipe
from ..tokens.load import load_pair_tokenizer, load_text_tokenizer
from ..tokens.pair_tokenizer import PairTokenizer
from ..tokens.tokenizer import TextTokenizer
from .certificate import CERTIFICATE_FORMAT, AnyEntry, Certificate
from .file_list import CheckedFile, check_name, check_not_replaced, hashed, name_in_bundle
from .onnx_file import mismatch, read_onnx_file
from .precision import Precision

BUNDLE_FORMAT = 1
RERANKER_FORMAT = 2
"""The format of bundles that hold a reranker, which older decants refuse."""
TOKENIZER = "tokenizer.json"
_CONFIG = "config.json"
_MOST_TOKENS = 2**31

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One text and the token ids that the tokenizer must give for it.

    Args:
        role: Whose prompt.
        text: The text; of a reranker, the passage.
        ids: The ids.
        query: The query of a pair; None: the bundle holds no reranker.
    """

    role: Role
    text: str
    ids: tuple[int, ...]
    query: str | None = field(default=None, metadata=absent_by_default())


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
        reranker: The recipe of the scores, if the bundle holds a reranker, whose vectors are raw
            scores of width 1; None: it holds an encoder.

    Raises:
        BundleError: A number is impossible, a path leaves the bundle, or a graph or the tokenizer
            is not among the files.
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
    reranker: RerankRecipe | None = field(default=None, metadata=absent_by_default())

    def __post_init__(self) -> None:
        if (self.reranker is not None) != (self.format == RERANKER_FORMAT):
            raise BundleError(
                f"format {self.format} and reranker={self.reranker} do not go together; export the "
                "bundle again"
            )
        if self.reranker is not None and (self.dim != 1 or self.recipe != self.reranker.encoding):
            raise BundleError(
                "the recipe of its backbone is not that of its reranker, or its scores have "
                f"{self.dim} values; export the bundle again"
            )
        if self.dim < 1:
            raise BundleError(f"dim {self.dim} is no width of vectors; export the bundle again")
        if self.recipe.dim not in (None, self.dim):
            raise BundleError(
                f"dim is {self.dim}, and {self.recipe.dim} in the recipe; export the bundle again"
            )
        if not 0 <= self.pad_id < _MOST_TOKENS:
            raise BundleError(f"pad_id {self.pad_id} is no token's; export the bundle again")
        for name in (*self.files, *self.graphs.values()):
            check_name(name, where=MANIFEST)
        if not self.graphs or not self.golden:
            lacking = "golden token ids" if self.graphs else "graphs"
            raise BundleError(f"there are no {lacking}; export the bundle again")
        for name in (*self.graphs.values(), TOKENIZER):
            if name not in self.files:
                raise BundleError(
                    f"{name} decides vectors and is not among the files with a hash; export the "
                    "bundle again"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder whose manifest and hashes were checked.

    Args:
        folder: Where it lies.
        manifest: What it should hold.
                checked: Its files at the time when their hashes were right, by name; empty before
                    :meth:`open` has compared them.
    """

    folder: Path
    manifest: Manifest
    checked: Mapping[str, CheckedFile] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Read a bundle and check every file's hash.

        Raises:
            BundleError: It is missing, incomplete, altered, or of a newer format.
        """
        bundle = cls.unchecked(folder)
        return replace(bundle, checked=bundle.check_files())

    @classmethod
    def unchecked(cls, folder: str | Path) -> Bundle:
        """Read a bundle's manifest without looking at its files; for certifying.

        Raises:
            BundleError: The manifest is missing, damaged, or of a newer format.
        """
        return cls(folder=Path(folder), manifest=read_manifest(Path(folder)))

    def check_files(self) -> Mapping[str, CheckedFile]:
        """Compare every file with its hash, and return them by name.

        Raises:
            BundleError: One is missing, no plain file, or differs; names the first.
        """
        found: dict[str, CheckedFile] = {}
        for name, expected in self.manifest.files.items():
            path = self.folder / name
            try:
                file = hashed(path)
            except FileNotFoundError as error:
                raise BundleError(
                    f"{self.folder} is incomplete: {name} is missing; export it again"
                ) from error
            except OSError as error:
                raise BundleError(f"{path} cannot be read: {error.strerror}") from error
            if file.sha256 != expected:
                raise BundleError(
                    f"{path} was altered or damaged: its SHA-256 begins with {file.sha256[:12]}, "
                    f"the manifest says {expected[:12]}; export the bundle again or copy it afresh"
                )
            found[name] = file
        return found

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

    def graph_files(self, precision: Precision) -> tuple[CheckedFile, ...]:
        """Return the files of a graph: its own file, and the files next to it that hold weights.

        Raises:
            BundleError: The bundle does not hold this precision, the graph reads a file that has
                no hash here, or the bundle was not opened with :meth:`open`.
        """
        path = self.graph(precision)
        name = self.manifest.graphs[precision]
        weights = [name_in_bundle(name, one) for one in sorted(read_onnx_file(path).external)]
        for one in (name, *weights):
            if one not in self.checked:
                raise BundleError(
                    f"{path} reads {one}, of which {MANIFEST} holds no hash that was compared; "
                    "export the bundle again"
                )
        return tuple(self.checked[one] for one in (name, *weights))

    def certificate(self) -> Certificate:
        """Read ``certificate.json``.

        Raises:
            BundleError: It is missing, damaged, or of a newer format.
        """
        return read_record(Certificate, self.folder / CERTIFICATE, newest=CERTIFICATE_FORMAT)

    def entry(
        self, precision: Precision, provider: str, *, graph: Precision | None = None
    ) -> AnyEntry | None:
        """Return the certificate's entry for a graph on a provider; None if no entry counts.

        An entry counts if it has the graph's hash and was judged by the gates of this precision, if
        the certificate belongs to this bundle's recipe, and if the graph has the precision that it
        should have.

        Args:
            precision: The precision in which the provider computes.
            provider: Its full name.
            graph: The precision of the graph that the provider opens for it; None: the same.

        Raises:
            BundleError: The certificate is missing, damaged, or of a newer format; or the bundle
                does not hold this precision.
        """
        certificate, stored = self.certificate(), graph or precision
        path = self.graph(stored)
        if certificate.digest != self.manifest.digest or mismatch(read_onnx_file(path), stored):
            return None
        sha256 = self.manifest.files[self.manifest.graphs[stored]]
        return certificate.entry(sha256=sha256, provider=provider, precision=precision)

    def require_certified(
        self, precision: Precision, provider: str, *, graph: Precision | None = None
    ) -> None:
        """Refuse a graph that did not pass its certificate on a provider.

        Args:
            precision: As for :meth:`entry`.
            provider: As for :meth:`entry`.
            graph: As for :meth:`entry`.

        Raises:
            ParityError: It has no entry that counts, or one that failed; says what to do.
            BundleError: As :meth:`entry`.
        """
        certificate, name, stored = self.certificate(), str(self.folder), graph or precision
        if certificate.digest != self.manifest.digest:
            raise ParityError(
                f"the certificate of {name} is of recipe {certificate.digest}, the bundle has "
                f"recipe {self.manifest.digest}; certify it on this machine with `decant verify "
                f"{name} --provider {provider}`, or pass allow_uncertified=True"
            )
        if difference := mismatch(read_onnx_file(self.graph(stored)), stored):
            raise ParityError(
                f"the {stored} graph of {name} {difference}, and the gates of {stored} are "
                "not for it; export the bundle again, or pass allow_uncertified=True"
            )
        sha256 = self.manifest.files[self.manifest.graphs[stored]]
        certificate.require(sha256=sha256, provider=provider, bundle=name, precision=precision)

    def tokenizer(self) -> TextTokenizer:
        """Return the tokenizer, after a check that it gives the golden token ids.

        Raises:
            BundleError: It cannot be read, gives other ids than when the bundle was made, or a
                file that it is read from has no hash.
        """
        manifest = self.manifest
        if _CONFIG not in manifest.files and (self.folder / _CONFIG).exists():
            raise BundleError(
                f"{self.folder / _CONFIG} exists and {MANIFEST} holds no hash of it; delete the "
                "file, or export the bundle again"
            )
        try:
            tokenizer, given = _loaded(self.folder, manifest)
        except (RecipeError, TextError) as error:
            raise BundleError(f"{self.folder} has no tokenizer that works: {error}") from error
        read = (self.checked.get(name) for name in (TOKENIZER, _CONFIG))
        check_not_replaced(file for file in read if file is not None)
        if len(given) < len(manifest.golden):
            raise BundleError(
                f"{self.folder / MANIFEST} holds {len(manifest.golden)} golden texts, this decant "
                f"knows {len(given)}; upgrade decant, or export the bundle again"
            )
        for golden, found in zip(manifest.golden, given, strict=False):
            ids = found.ids
            if golden != found:
                raise BundleError(
                    f"the installed tokenizers package turns {golden.text[:40]!r} ({golden.role}) "
                    f"into {_head(ids)}, and this bundle was made with {_head(golden.ids)}; "
                    "install the tokenizers version that made it, or export it again"
                )
        return tokenizer


def golden_of(tokenizer: TextTokenizer) -> tuple[Golden, ...]:
    """Return the golden texts of a tokenizer, or the golden pairs of a reranker's, with their ids.

    Raises:
        TextError: The tokenizer fails on one.
    """
    if isinstance(tokenizer, PairTokenizer):
        return tuple(
            Golden(role=Role.PASSAGE, query=query, text=text, ids=ids)
            for query, text, ids in tokenizer.golden_pairs()
        )
    return tuple(Golden(role=role, text=text, ids=ids) for role, text, ids in tokenizer.golden())


def _loaded(folder: Path, manifest: Manifest) -> tuple[TextTokenizer, tuple[Golden, ...]]:
    tokenizer = (
        load_text_tokenizer(folder, manifest.recipe)
        if manifest.reranker is None
        else load_pair_tokenizer(folder, manifest.reranker)
    )
    return tokenizer, golden_of(tokenizer)


def _head(ids: tuple[int, ...]) -> str:
    return f"{list(ids[:8])}{' …' if len(ids) > 8 else ''}"


def read_manifest(folder: Path) -> Manifest:
    """Read ``decant.json`` and nothing else.

    Raises:
        BundleError: It is missing, damaged, of a newer format, or its digest is not its recipe's.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(_no_bundle(folder))
    manifest = read_record(Manifest, path, newest=RERANKER_FORMAT)
    deciding = manifest.reranker or manifest.recipe
    if manifest.digest != deciding.digest():
        raise BundleError(
            f"{path} was edited: it says digest {manifest.digest}, its recipe has "
            f"{deciding.digest()}; export the bundle again"
        )
    return manifest


def _no_bundle(path: Path) -> str:
    """Return a message that says what lies at ``path`` instead of a bundle."""
    if not path.exists():
        return f"{path} does not exist; make a bundle with: decant export MODEL {path}"
    for parent in path.absolute().parents[:2]:  # its graphs lie in a folder of their own
        if (parent / MANIFEST).is_file():
            return f"{path} is a part of the bundle {parent}; open that folder"
    if path.is_dir():
        made = f"{path} TARGET" if (path / _CONFIG).is_file() else f"MODEL {path}"
        return f"{path} has no decant.json, so it is not a bundle; make one: decant export {made}"
    if path.suffix == ".onnx":
        return (
            f"{path} is a graph, and a bundle is a folder; make one of it: "
            f"decant import-onnx {path} MODEL TARGET"
        )
    return f"{path} is a file, and a bundle is a folder; make one with: decant export MODEL TARGET"


def read_record(kind: type[T], path: Path, *, newest: int) -> T:
    """Read a JSON file of a bundle that states its format.

    Args:
        kind: What it holds.
        path: The file.
        newest: The newest format that this decant reads.

    Raises:
        BundleError: It is missing, damaged, no plain file, or of a newer format.
    """
    data = json_records.read_json(path, error=BundleError)
    # Before it is decoded: a newer format may have keys that would be called unknown.
    found = data.get("format") if isinstance(data, dict) else None
    if type(found) is not int or found < 1:
        raise BundleError(f"{path} does not say its format; it is damaged, export it again")
    if found > newest:
        raise BundleError(
            f"{path} has format {found}, this decant reads up to {newest}; upgrade decant"
        )
    return json_records.decode(kind, data, where=str(path), error=BundleError)
