"""Whether products of uint8 states with int8 weights saturate on this processor.

x86 without VNNI adds two such products in 16 bits, and int8 graphs give other vectors than they
were certified with. ONNX Runtime can make the weights uint8 against that, and then halves the speed
of int8 also where nothing saturates, as on AVX-512 with VNNI
(``experiments/log/2026-11-30-int8-and-the-ceiling.md``). So ONNX Runtime is asked for a product.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import need
from .product_graph import RESULT, STATES, product_graph

if TYPE_CHECKING:
    import onnxruntime
else:
    onnxruntime = need("onnxruntime", extra="cpu")

# One row has a kernel of its own, and widths that fill no vector register have one, too.
_ROWS = (1, 3, 64)
_K, _N = 260, 99
_LARGEST_STATE = 255


@cache
def int8_products_saturate() -> bool:
    """Return whether ONNX Runtime's product of the largest uint8 by the largest int8 is wrong.

    The product is run once in a process, in about a millisecond.
    """
    for weight in (-127, 127):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            product_graph(np.full((_K, _N), weight, np.int8)),
            options,
            providers=["CPUExecutionProvider"],
        )
        for rows in _ROWS:
            states = np.full((rows, _K), _LARGEST_STATE, np.uint8)
            (found,) = session.run([RESULT], {STATES: states})
            if (np.asarray(found) != _LARGEST_STATE * weight * _K).any():
                return True
    return False
