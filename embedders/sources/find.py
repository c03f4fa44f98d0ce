"""Find a model's folders, by path or on the hub, and name exactly which weights they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import json_records
from ..errors import HubError, RecipeError, need
from ..files import MANIFEST, file_hash
from .adapter_chain import check_chain, check_not_adapter
from .config_files import settings
from .gguf.facts import SUFFIX, gguf_in
from .gguf.unpack import unpack

_SERVER_ERROR = 500
# The heads of BGE-M3 by name: any other .pt may be an optimizer's, which decides no vector.
_HEADS = ("colbert_linear.pt", "sparse_linear.pt")
_DECIDING = (
    "*.safetensors", "*.bin", "config.json", "tokenizer.json", "adapter_config.json", *_HEADS,
)  # fmt: skip
_COLBERT = "artifact.metadata"  # its settings
_WANTED = [
    "*.json", "*.jinja", "*.safetensors", "*.txt", "*.model", "*/pytorch_model.bin", _COLBERT,
    *_HEADS,
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model's files.

    Args:
        folder: The folder that holds them.
        base: The model's name: the hub id, or the folder's.
        revision: The hub commit, or ``sha256:`` and 16 digits over the files that decide vectors.
        adapters: Folders of LoRA adapters in peft's format, merged into the weights in this order.
    """

    folder: Path
    base: str
    revision: str
    adapters: tuple[Path, ...] = ()


def find_model(
    model: str | Path,
    *,
    revision: str | None = None,
    name: str | None = None,
    adapters: Sequence[str | Path] = (),
) -> ModelFiles:
    """Return the files of ``model``; a folder here comes before a hub id of the same name.

    Args:
        model: A folder with ``config.json``, a hub id such as ``Qwen/Qwen3-Embedding-0.6B``, or a
            causal language model's GGUF file, here or on the hub (``owner/repository/file.gguf``).
        revision: A hub branch, tag or commit; None is the hub's default. Not for folders.
        name: What to call a folder's model; None is the folder's own name. Not for the hub,
            but for a model with adapters: None is the name of the last one.
        adapters: Folders or hub ids of LoRA adapters, in the order of their training (LLM2Vec:
            MNTP, then SimCSE or supervised). The revision is then a hash over all revisions.

    Raises:
        RecipeError: There is no such folder or hub model, it is an adapter alone or a bundle, or an
            adapter was trained on another one that is not passed.
        HubError: There is no such folder, and the hub cannot be reached; it is a RecipeError, too.
        MissingExtra: It is a hub id and huggingface_hub is not installed.
    """
    if not adapters:
        return _find_model(model, revision=revision, name=name)
    base = _find_model(model, revision=revision, name=None, adapters=adapters)
    added = [
        _find(adapter, "adapter_config.json", revision=None, name=None) for adapter in adapters
    ]
    check_chain(str(model), added[0].folder, [str(adapter) for adapter in adapters])
    revisions = "\0".join(part.revision for part in (base, *added))
    return ModelFiles(
        folder=base.folder,
        base=name or added[-1].base,
        revision=f"sha256:{hashlib.sha256(revisions.encode()).hexdigest()[:16]}",
        adapters=tuple(part.folder for part in added),
    )


def _find_model(
    model: str | Path,
    *,
    revision: str | None,
    name: str | None,
    adapters: Sequence[str | Path] = (),
) -> ModelFiles:
    more = [str(adapter) for adapter in adapters]
    check_not_adapter(Path(model), str(model), adapters=more)
    _check_not_static(Path(model), str(model))
    found = _find(model, "config.json", revision=revision, name=name)
    check_not_adapter(found.folder, str(model), adapters=more)
    _check_not_static(found.folder, str(model))
    if (found.folder / MANIFEST).is_file():
        raise RecipeError(
            f"{model} is a bundle, which holds a graph and no model to export or train; open it "
            "with load(), or give the model that it was made from"
        )
    return found


def _check_not_static(folder: Path, model: str) -> None:
    """Refuse a table of vectors: sentence-transformers' StaticEmbedding, model2vec's folders.

    Raises:
        RecipeError: It is such a table; the message says what to do.
    """
    modules, config = folder / "modules.json", folder / "config.json"
    listed = json_records.read_json(modules, error=RecipeError) if modules.is_file() else ()
    entries = listed if isinstance(listed, list) else ()
    kinds = [str(one.get("type")) for one in entries if isinstance(one, dict)]
    named = settings(config).get("model_type") if config.is_file() else None
    if named == "model2vec" or any(kind.endswith("StaticEmbedding") for kind in kinds):
        raise RecipeError(
            f"{model} holds static embeddings: a vector for each token and no Transformer, which "
            "decant does not export. Run it with sentence-transformers or model2vec, or export a "
            "Transformer: `decant export MODEL TARGET`, with `--strategy static` for its token "
            "table alone"
        )


def _find(model: str | Path, mark: str, *, revision: str | None, name: str | None) -> ModelFiles:
    """Find a folder that holds the file ``mark``, or a hub model."""
    folder = Path(model)
    file = None if (folder / mark).is_file() or mark != "config.json" else gguf_in(folder)
    if file is not None:
        if revision is not None:
            raise RecipeError(f"{model} is a file here; revision {revision!r} is only for the hub")
        return _of_gguf(file, name or file.stem)
    if (folder / mark).is_file():
        if revision is not None:
            raise RecipeError(f"{model} is a folder; revision {revision!r} is only for the hub")
        base = name or folder.absolute().name or folder.resolve().name
        return ModelFiles(folder=folder, base=base, revision=content_hash(folder))
    if folder.exists():
        kind = "model" if mark == "config.json" else "LoRA adapter (peft)"
        raise RecipeError(_not_a_folder(folder, mark, kind))
    if name is not None:
        raise RecipeError(f"{model} is not a folder here; name={name!r} is only for folders")
    if str(model).lower().endswith(SUFFIX):
        return _download_gguf(str(model), revision)
    return _download(str(model), revision)


def _of_gguf(file: Path, base: str) -> ModelFiles:
    """Return the model of a GGUF file, unpacked into a folder for as long as the process lives."""
    return ModelFiles(folder=unpack(file), base=base, revision=f"sha256:{file_hash(file)[:16]}")


def _not_a_folder(path: Path, mark: str, kind: str) -> str:
    """Return a message that says what lies at ``path`` instead of a model or an adapter."""
    wanted = f"the folder of a Transformers or sentence-transformers {kind}"
    if path.suffix.lower() == SUFFIX:
        return f"{path} is a GGUF file, which holds no {kind} that decant reads; give {wanted}"
    if path.is_dir():
        return f"{path} exists but holds no {mark}; give {wanted}"
    if path.suffix == ".onnx":
        return (
            f"{path} is a graph, and decant needs {wanted}; to make a bundle of a graph, run "
            f"`decant import-onnx {path} MODEL TARGET`"
        )
    parent = path.absolute().parent
    if (parent / mark).is_file():
        return f"{path} is a file of {parent}; give that folder"
    return f"{path} is a file; give {wanted}"


def _download(name: str, revision: str | None) -> ModelFiles:
    hub = need("huggingface_hub", extra="export")
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=_WANTED))
        if not any(folder.glob("*.safetensors")):
            hub.snapshot_download(name, revision=revision, allow_patterns=[*_WANTED, "*.bin"])
    except Exception as error:  # noqa: BLE001 - the hub client raises many kinds, none of them ours
        # Without a cause, because that is ninety lines of the client's requests and adds nothing.
        raise _not_downloaded(name, error) from None
    return ModelFiles(folder=folder, base=name, revision=folder.name)


def _download_gguf(name: str, revision: str | None) -> ModelFiles:
    """Fetch one file of a repository: ``owner/repository/file.gguf``, as the hub's own URLs end."""
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not file:
        raise RecipeError(
            f"there is no file {name} here; a GGUF file of the hub is OWNER/REPOSITORY/FILE.gguf"
        )
    hub = need("huggingface_hub", extra="export")
    try:
        path = hub.hf_hub_download(f"{owner}/{repository}", file, revision=revision)
    except Exception as error:  # noqa: BLE001 - as in _download
        raise _not_downloaded(name, error) from None
    return _of_gguf(Path(path), name)


def _not_downloaded(name: str, error: Exception) -> RecipeError:
    """Return the error for a failure of the hub's client: a wrong name, or no connection."""
    errors = need("huggingface_hub.errors", extra="export")
    reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if isinstance(error, errors.HFValidationError):
        return RecipeError(
            f"there is no folder {name!r} here, and it is no hub id, such as BAAI/bge-m3; give the "
            "folder of a model, or a hub id"
        )
    answered = isinstance(error, errors.HfHubHTTPError)
    if answered and error.response.status_code < _SERVER_ERROR:  # type: ignore[attr-defined]
        return RecipeError(
            f"there is no folder {name!r} here, and the hub gave no model of that name ({reason}); "
            "check the spelling, log in with `hf auth login` if it is private or gated, or pass "
            "the folder of a model"
        )
    return HubError(
        f"there is no folder {name!r} here, and the hub could not be asked for a model of that "
        f"name ({reason}); check the spelling and the network, or pass the folder of a model that "
        "is on this machine"
    )


def content_hash(folder: Path) -> str:
    """Return ``sha256:`` and 16 digits over weights, config and tokenizer, sub-folders included."""
    digest = hashlib.sha256()
    files = {path for pattern in _DECIDING for path in folder.rglob(pattern) if path.is_file()}
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(file_hash(path)))
    return f"sha256:{digest.hexdigest()[:16]}"
