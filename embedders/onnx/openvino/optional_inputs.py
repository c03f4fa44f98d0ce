"""Open a graph whose inputs have defaults: the prompt's states, of which there are none by default.

OpenVINO 2026.4 reads an input with a default as a constant, and of an empty constant it forgets the
shape. So it is given a copy of the graph's file without the defaults, and the inputs then become
empty constants of the right shape: the graph is that of whole rows. Weights in files of their own
are hard links beside the copy, because OpenVINO follows symbolic links and then refuses a file of
another folder; they are copied only where neither the system's temporary folder nor the graph's
takes a link.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...bundle.onnx_file import read_onnx_file, without_defaults
from ...encoding.outputs import PRESENT, PROMPT, PROMPT_ROWS

if TYPE_CHECKING:
    import openvino

_OPTIONAL = (PROMPT, PROMPT_ROWS)


@contextlib.contextmanager
def readable_file(path: Path) -> Iterator[Path]:
    """Yield a file of the same graph that OpenVINO reads; a copy is deleted afterwards.

    Args:
        path: The graph's file, which is not changed.
    """
    shortened = without_defaults(path, _OPTIONAL)
    if shortened is None:
        yield path
        return
    weights = read_onnx_file(path).external
    with contextlib.ExitStack() as stack:
        copy = _folder_of_links(path, weights, stack) / path.name
        copy.write_bytes(shortened)
        yield copy


def drop_prompts(model: openvino.Model) -> None:
    """Give the optional inputs no rows, in place, and drop the output that exists for them."""
    import openvino.opset13 as ops

    for result in list(model.get_results()):
        if PRESENT in result.input(0).get_source_output().get_names():
            model.remove_result(result)
    for parameter in list(model.get_parameters()):
        if set(_OPTIONAL) & parameter.output(0).get_names():
            sizes = parameter.get_partial_shape()
            shape = [size.get_length() if size.is_static else 0 for size in sizes]
            kind = np.int64 if len(shape) == 1 else np.float32
            nothing = ops.constant(np.zeros(shape, kind)).output(0)
            for reader in parameter.output(0).get_target_inputs():
                reader.replace_source_output(nothing)
            model.remove_parameter(parameter)


def _folder_of_links(path: Path, weights: Collection[str], stack: contextlib.ExitStack) -> Path:
    """Return a folder in which the graph's weights have a second name, until the stack closes."""
    home = path.absolute().parent
    for place in (None, home):  # the first may be on another disk, the second be read-only
        try:
            folder = _temporary_folder(stack, place)
            for name in weights:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(home / name, folder / name)
        except OSError:
            continue
        return folder
    folder = _temporary_folder(stack, None)
    for name in weights:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / name, folder / name)
    return folder


def _temporary_folder(stack: contextlib.ExitStack, place: Path | None) -> Path:
    made = tempfile.TemporaryDirectory(prefix=".openvino-", dir=place, ignore_cleanup_errors=True)
    return Path(stack.enter_context(made))
