"""Read files of weights, and say what one is that cannot be read.

What downloads leave behind: a git-LFS pointer instead of the file, a file that is empty or ends
early, a page that says why there is none. Pickles are read without running what is in them. Numbers
that are none (NaN) are named by their tensor: whatever is computed with them fails later, far from
the cause. Nothing here imports torch at once.
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
_LENGTH = 8  # bytes of a safetensors file that hold its header's length
_AGAIN = "download it again"


def check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are no weights, before anything heavy reads them.

    Raises:
        RecipeError: Says which file, and what it is.
    """
    for pattern in _KINDS:
        if found := sorted(folder.glob(pattern)):
            for path in found:
                check_weight_file(path)
            return


def check_weight_file(path: Path) -> None:
    """Refuse a file that is no whole file of weights, by its first bytes and its length.

    Raises:
        RecipeError: It is no file, a git-LFS pointer, empty, ends early, or is something else.
    """
    if not path.is_file():  # also a link into nothing, as a cache that was cleared leaves it
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
        if path.suffix == ".bin":
            if not start.startswith((_ZIP, _PICKLE)):
                raise RecipeError(f"{path} is no file of weights that PyTorch wrote; {_AGAIN}")
            if start.startswith(_ZIP) and not is_zipfile(path):  # what it holds is told at its end
                raise RecipeError(f"{path} ends early, after {size:,} bytes; {_AGAIN}")
            return
        length = int.from_bytes(start[:_LENGTH], "little")
    if size < _LENGTH or start[_LENGTH : _LENGTH + 1] not in (b"{", b" "):
        raise RecipeError(f"{path} is no safetensors file; {_AGAIN}")
    if _LENGTH + length > size:
        raise RecipeError(f"{path} ends within its header, after {size:,} bytes; {_AGAIN}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what a reader raises of damaged weights into :class:`RecipeError`.

    Args:
        path: The file, or the folder whose file it is.

    Raises:
        RecipeError: Names the file and what is wrong.
    """
    # Neither Transformers nor torch names the file, and of a pickle they advise to run it.
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
    """Yield the names of a folder's weights as Transformers would take them."""
    for pattern in _KINDS:
        yield from sorted(path.name for path in folder.glob(pattern))


def _damaged_pickle(error: BaseException) -> bool:
    """Tell whether torch did not get through a file's container (PytorchStreamReader)."""
    causes = (error, error.__cause__, error.__context__)
    told = ("PytorchStreamReader", "Invalid magic number", "checkpoint file", "Weights only load")
    return any(mark in str(cause) for cause in causes if cause is not None for mark in told)


def _pickled(path: Path, reason: str) -> str:
    if "GLOBAL" in reason or "Unsupported" in reason:
        return (
            f"{path} holds more than tensors, which decant does not run: a pickle can hold any "
            "program. Take a copy with safetensors, or write the tensors anew where you trust it"
        )
    return f"{path} is damaged or ends early; {_AGAIN}"


def read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a safetensors file by name, without torch.

    Raises:
        RecipeError: It cannot be read; says what it is.
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
        # Both ends are NaN where any value is; isfinite() would allocate a mask.
        if not all(bool(end.isfinite()) for end in tensor.detach().aminmax()):
            raise RecipeError(
                f"the weights of {folder} hold NaN or infinity, in the tensor {name!r}, so that "
                f"every vector would; {_AGAIN}, or train the model anew from where it was sound"
            )
