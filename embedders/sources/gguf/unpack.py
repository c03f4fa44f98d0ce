"""Write the model of a GGUF file as a Transformers folder, which the rest of decant reads.

Transformers reads the file and cannot write what it read, since it takes it for quantised. Here the
weights go into a plain model of the same config: float32, as the file's blocks give them.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import RecipeError, need
from .facts import GgufFacts, read_facts
from .words import set_ends, set_rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from transformers import PreTrainedModel

# Their experts lie together in fewer weights than the file has.
_MERGED = ("gpt-oss", "gpt_oss", "qwen2moe", "qwen3moe", "minimax-m2")
# Llama 3.1, 3.2 and 3.3: Transformers' rope type `llama3`, by their `config.json`.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
_TRAINED_LENGTH = 8192
_CLOSE = 1e-3
_unpacked: dict[tuple[Path, int, int], Path] = {}  # by path, size and time of change


def unpack(path: Path) -> Path:
    """Return a Transformers folder with the model of a GGUF file, once for a process.

    The folder is a temporary one (``TMPDIR``), with four bytes a weight; it is gone when the
    process ends.

    Raises:
        RecipeError: The file cannot be read, or not without a loss that nobody would see.
        MissingExtra: The package ``gguf`` is not installed.
    """
    stat = path.stat()
    key = (path.resolve(), stat.st_size, stat.st_mtime_ns)
    if key not in _unpacked:
        facts = read_facts(path)
        folder = Path(tempfile.mkdtemp(prefix="decant-gguf-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _write(path, facts, folder)
        _unpacked[key] = folder
    return _unpacked[key]


def _write(path: Path, facts: GgufFacts, folder: Path) -> None:
    transformers = need("transformers", extra="export")
    torch = need("torch", extra="export")
    try:
        read, found = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, output_loading_info=True,
            local_files_only=True, trust_remote_code=False,
        )  # fmt: skip
        words = transformers.AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, KeyError, NotImplementedError, OSError, RuntimeError) as error:
        raise RecipeError(f"{path} cannot be read by Transformers: {error}") from error
    _check_all_read(path, facts, read, found["missing_keys"])
    backend = words.backend_tokenizer
    set_rules(backend, facts, path)
    set_ends(backend, facts, bos=words.bos_token, eos=words.eos_token)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    if facts.rotary is not None:
        _set_rotary(path, config, facts.rotary)
    with torch.device("meta"):
        plain = type(read)(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    words.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))


def _check_all_read(
    path: Path, facts: GgufFacts, model: PreTrainedModel, missing: list[str]
) -> None:
    """Refuse a file with weights that the model lacks, or without some that it has."""
    weights = dict(model.named_parameters())  # tied ones once
    absent = sorted(name for name in missing if name in weights)
    if absent:
        raise RecipeError(
            f"{path} lacks weights of its model: {', '.join(absent[:3])}; it is damaged"
        )
    if facts.architecture not in _MERGED and facts.tensors != len(weights):
        raise RecipeError(
            f"{path} has {facts.tensors} weights and biases, and Transformers' "
            f"{type(model).__name__} reads {len(weights)}: vectors would be wrong; give the folder "
            "of the model that it was made from"
        )


def _set_rotary(path: Path, config: object, divisors: NDArray[np.float32]) -> None:
    """Set Llama 3.1's scaling of rotary frequencies, of which the file has the result alone.

    Raises:
        RecipeError: It is another scaling.
    """
    scaling = need("transformers.modeling_rope_utils", extra="export")
    parameters: Mapping[str, object] = config.rope_parameters  # type: ignore[attr-defined]
    plain = dict(parameters)
    scaled = {
        **plain,
        "rope_type": "llama3",
        "factor": round(float(divisors.max()), 4),
        "original_max_position_embeddings": _TRAINED_LENGTH,
        **_LLAMA3,
    }
    config.rope_parameters = scaled  # type: ignore[attr-defined]
    ours, _ = scaling.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    width = 2 * len(divisors)
    base = float(str(plain["rope_theta"])) ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    if len(ours) != len(divisors) or np.abs(base / ours.numpy() / divisors - 1).max() > _CLOSE:
        raise RecipeError(
            f"{path} scales its rotary angles in another way than Llama 3.1 does, which "
            "Transformers does not read from GGUF: vectors would be wrong; give the folder of the "
            "model that it was made from"
        )
