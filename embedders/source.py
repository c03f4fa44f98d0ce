"""Find a model's folder, by path or on the hub, and name exactly which weights it holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from .errors import RecipeError, need

_DECIDING = ("*.safetensors", "*.bin", "config.json", "tokenizer.json")
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*/pytorch_model.bin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model's files.

    Args:
        folder: Where they lie.
        base: The model's name: the hub id, or the folder's.
        revision: The hub commit, or ``sha256:`` and 16 digits over the files that decide vectors.
    """

    folder: Path
    base: str
    revision: str


def find_source(
    model: str | Path, *, revision: str | None = None, name: str | None = None
) -> Source:
    """Return the files of ``model``; a folder here comes before a hub id of the same name.

    Args:
        model: A folder with ``config.json``, or a hub id such as ``Qwen/Qwen3-Embedding-0.6B``.
        revision: A hub branch, tag or commit; None is the hub's default. Not for folders.
        name: What to call a folder's model; None is the folder's own name. Not for the hub.

    Raises:
        RecipeError: There is no such folder or hub model, or it cannot be reached.
        MissingExtra: It is a hub id and huggingface_hub is not installed.
    """
    folder = Path(model)
    if (folder / "config.json").is_file():
        if revision is not None:
            raise RecipeError(f"{model} is a folder; revision {revision!r} is only for the hub")
        base = name or folder.absolute().name or folder.resolve().name
        return Source(folder=folder, base=base, revision=content_hash(folder))
    if folder.exists():
        raise RecipeError(
            f"{model} exists but holds no config.json; give the folder of a Transformers or "
            "sentence-transformers model"
        )
    if name is not None:
        raise RecipeError(f"{model} is not a folder here; name={name!r} is only for folders")
    return _download(str(model), revision)


def _download(name: str, revision: str | None) -> Source:
    hub = need("huggingface_hub", extra="export")
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=_WANTED))
    except Exception as error:  # the hub client raises many kinds, none of them ours
        reason = str(error).strip().partition("\n")[0]
        raise RecipeError(
            f"there is no folder {name!r} here, and the hub did not give a model of that name "
            f"({type(error).__name__}: {reason}); check the spelling or the connection"
        ) from error
    if not any(folder.glob("*.safetensors")):
        hub.snapshot_download(name, revision=revision, allow_patterns=[*_WANTED, "*.bin"])
    return Source(folder=folder, base=name, revision=folder.name)


def content_hash(folder: Path) -> str:
    """Return ``sha256:`` and 16 digits over weights, config and tokenizer, sub-folders included."""
    digest = hashlib.sha256()
    files = {path for pattern in _DECIDING for path in folder.rglob(pattern) if path.is_file()}
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(file_hash(path)))
    return f"sha256:{digest.hexdigest()[:16]}"


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
