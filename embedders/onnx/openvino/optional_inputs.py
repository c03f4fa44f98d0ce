"""Open a graph whose inputs have defaults: the prompt's states, of which there are none by default.

OpenVINO 2026.4 reads an input with a default as a constant, and of an empty constant it forgets the
shape. So it is given a copy of the graph's file without the defaults, and the inputs then become
empty constants of the right shape: the graph is that of whole rows. The weights stay where they
are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(shortened)
        for name in read_onnx_file(path).external:
            _link(path.absolute().parent / name, copy.parent / name)
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


def _link(source: Path, target: Path) -> None:
    """Let a second name stand for a file; copy it where the system allows no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source)
    except OSError:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
