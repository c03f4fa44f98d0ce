"""Encode with sentence-transformers on one of its backends, in an environment of its own.

    python backend_server.py MODEL BACKEND

Its backends "onnx" and "openvino" need packages that want an older Transformers than decant does.
So this file needs nothing of decant: it reads requests from standard input, one JSON object a line
({"texts": [...], "batch": 32, "save": "vectors.npy" or null}), and answers with the seconds that
encoding took, {"wall": 1.0, "cpu": 2.0}. Its first line names the versions that run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, cast

import numpy as np

MODULES = ("sentence_transformers", "transformers", "onnxruntime", "openvino")


def main() -> None:
    """Load the model, then answer until the input ends."""
    folder, backend = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print does not mix with the answers
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        folder, device="cpu", backend=cast("Any", backend), trust_remote_code=False
    )
    names = {name: sys.modules[name].__version__ for name in MODULES if name in sys.modules}
    print(json.dumps(names), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        cpu, wall = time.process_time(), time.perf_counter()
        vectors = model.encode(
            request["texts"], batch_size=request["batch"], show_progress_bar=False
        )
        took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        if request["save"] is not None:
            np.save(request["save"], np.asarray(vectors, np.float32))
        print(json.dumps(took), file=answers, flush=True)


if __name__ == "__main__":
    main()
