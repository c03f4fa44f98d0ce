"""Read files of weights, and name what is wrong with one that cannot be read.

Failed downloads leave a git-LFS pointer instead of the file, a file that is empty or ends early, or
a web page with an error. Pickles are read without running code in them. A tensor with NaN or
infinity is refused by its name, because the error would otherwise come later, far from the cause.
torch is imported only when it is needed.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from ..errors import RecipeError, need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_POINTER = b"version https://git-lfs"
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
# A model's own file comes before its shards, and safetensors before pickles, as in Transformers.
_KINDS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")
_PLACES = ("model.safetensors", "pytorch_model.bin")
_LENGTH = 8  # the first bytes of a safetensors file, which hold its header's length
_AGAIN = "download it again"


def check_weights(folder: Path) -> None:
    """Refuse a folder whose weight files are damaged, before a heavy library reads them.

    Raises:
        RecipeError: The message names the file, and what it is.
    """
    for pattern in _KINDS:
        if found := sorted(folder.glob(pattern)):
            for path in found:
                check_weight_file(path)
            return


def check_weight_file(path: Path) -> None:
    """Refuse a file that is no complete file of weights, by its first bytes and its length.

    Raises:
        RecipeError: It is no file, a git-LFS pointer, empty, cut off, or of another type.
    """
    if not path.is_file():  # also a dangling link, which a cleared cache leaves
        raise RecipeError(f"{path} is no file that can be read; {_AGAIN}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
        if start == _POINTER:
            raise RecipeError(
                f"{path} is a git-LFS pointer and not the weights; fetch them with `git lfs pull`, "
                f"or {_AGAIN}"
            )
        if size == 0:
            raise RecipeError(f"{path} is empty; {_AGAIN}")
        if start.lstrip()[:1] == b"<":
            raise RecipeError(f"{path} is a web page and not the weights; {_AGAIN}")
        if path.suffix in (".bin", ".pt"):
            if not start.startswith((_ZIP, _PICKLE)):
                raise RecipeError(f"{path} is no file of weights that PyTorch wrote; {_AGAIN}")
            if start.startswith(_ZIP) and not is_zipfile(
                path
            ):  # a zip file's directory is at its end
                raise RecipeError(f"{path} ends early, after {size:,} bytes; {_AGAIN}")
            return
        length = int.from_bytes(start[:_LENGTH], "little")
    if size < _LENGTH or start[_LENGTH : _LENGTH + 1] not in (b"{", b" "):
        raise RecipeError(f"{path} is no safetensors file; {_AGAIN}")
    if _LENGTH + length > size:
        raise RecipeError(f"{path} ends within its header, after {size:,} bytes; {_AGAIN}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn a reader's errors about damaged weights into :class:`RecipeError`.

    Args:
        path: The file, or its folder.

    Raises:
        RecipeError: The message names the file and what is wrong.
    """
    # Neither Transformers nor torch names the file, and for a pickle they advise to run its code.
    name = path if path.is_file() else next((path / one for one in _held(path)), path)
    try:
        yield
    except RecipeError:
        raise
    except (pickle.UnpicklingError, EOFError) as error:
        raise RecipeError(_pickled(name, str(error))) from error
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if type(error).__name__ == "SafetensorError":
            ends = "it ends early" if "incomplete" in reason.lower() else "its header is damaged"
            raise RecipeError(f"{name} is damaged: {ends} ({reason}); {_AGAIN}") from error
        if _damaged_pickle(error):
            raise RecipeError(_pickled(name, reason)) from error
        raise


def _held(folder: Path) -> Iterator[str]:
    """Yield a folder's weight files in the order in which Transformers looks for them."""
    for pattern in _KINDS:
        yield from sorted(path.name for path in folder.glob(pattern))


def _damaged_pickle(error: BaseException) -> bool:
    """Return whether torch failed to read a file's container (PytorchStreamReader)."""
    causes = (error, error.__cause__, error.__context__)
    marks = ("PytorchStreamReader", "Invalid magic number", "checkpoint file", "Weights only load")
    return any(mark in str(cause) for cause in causes if cause is not None for mark in marks)


def _pickled(path: Path, reason: str) -> str:
    if "GLOBAL" in reason or "Unsupported" in reason:
        return (
            f"{path} holds more than tensors, and decant does not run it: a pickle can hold any "
            "program. Take a copy with safetensors, or, if you trust it, save its tensors again"
        )
    return f"{path} is damaged or ends early; {_AGAIN}"


def read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a safetensors file by name, without torch.

    Raises:
        RecipeError: It cannot be read; the message says what it is.
        MissingExtra: safetensors is not installed.
    """
    check_weight_file(path)
    with readable(path):
        found: dict[str, NDArray[np.generic]] = need("safetensors.numpy", extra="export").load_file(
            path
        )
        return found


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a module's folder, on the CPU, by name.

    Raises:
        RecipeError: There are no weights, they cannot be read, or they hold NaN or infinity.
    """
    for name in _PLACES:
        path = folder / name
        if path.is_symlink() or path.exists():
            check_weight_file(path)
            with readable(path):
                loaded = _tensors(path)
            check_finite_weights(loaded.items(), folder)
            return loaded
    raise RecipeError(f"{folder} holds neither {_PLACES[0]} nor {_PLACES[1]}")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a module's folder, or of one file, on the CPU, by name.

    Raises:
        RecipeError: As in :func:`load_weights`.
    """
    if path.suffix not in (".pt", ".bin", ".safetensors"):
        return load_weights(path)
    check_weight_file(path)
    with readable(path):
        loaded = _tensors(path)
    check_finite_weights(loaded.items(), path.parent)
    return loaded


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        found: dict[str, Tensor] = need("safetensors.torch", extra="export").load_file(path)
        return found
    torch = need("torch", extra="export")
    loaded: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return loaded


def check_finite_weights(weights: Iterable[tuple[str, Tensor]], folder: Path) -> None:
    """Refuse weights that hold NaN or infinity.

    Args:
        weights: Names and tensors.
        folder: Where they came from, for the message.

    Raises:
        RecipeError: Names the first such tensor.
    """
    for name, tensor in weights:
        if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
            continue
        # Minimum and maximum are NaN if any value is; isfinite() would allocate a mask.
        if not all(bool(end.isfinite()) for end in tensor.detach().aminmax()):
            raise RecipeError(
                f"the weights of {folder} hold NaN or infinity, in the tensor {name!r}, and "
                f"every vector would, too; {_AGAIN}, or train again from the last sound checkpoint"
            )
