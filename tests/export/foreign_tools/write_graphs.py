"""Write seeded models and their ONNX graphs by the tools of others; needs ``requirements.txt``.

``python write_graphs.py MINILM FOLDER``, run by ``test_foreign_tools.py``. The folder
holds ``tokenizer.json`` and gets ``models/FAMILY`` and ``graphs/FAMILY-TOOL/model.onnx``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import AutoOptimizationConfig, ORTModelForFeatureExtraction, ORTOptimizer
from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from model_families import FAMILIES, LONGEST

ENCODERS = ("bert", "roberta", "modernbert", "deberta", "deberta-v2")
DECODERS = ("gpt2", "llama", "qwen3", "gemma3_text", "bloom", "opt")
OPTIMIZED = ("bert", "modernbert", "gpt2", "llama")
BUILT = ("llama", "qwen2", "qwen3")  # by onnxruntime-genai, whose heads are of 16 at least
_TASK = "feature-extraction"
# What Transformers 4 calls otherwise, and the tokenizer's padding where a family has another.
AS_OF_4: dict[str, dict[str, object]] = {
    "roberta": {"pad_token_id": 0},
    "modernbert": {
        "global_attn_every_n_layers": 2,
        "layer_types": ["full_attention", "sliding_attention"],
    },
}


def save(root: Path, family: str) -> Path:
    """Write one seeded model as a folder; return it."""
    tokenizer = root / "tokenizer.json"
    words = len(json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"])
    sizes = {"hidden_size": 64, "intermediate_size": 96}
    if "head_dim" in FAMILIES[family]:
        sizes["head_dim"] = 16
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    settings = {**FAMILIES[family], **sizes, **ends, **AS_OF_4.get(family, {})}
    config = AutoConfig.for_model(family, vocab_size=words, **settings)
    torch.manual_seed(0)
    if family in BUILT:
        model = AutoModelForCausalLM.from_config(config).eval()
    else:
        model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    folder = root / "models" / family
    model.save_pretrained(folder)
    shutil.copy(tokenizer, folder)
    settings = {"model_max_length": LONGEST, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def main() -> None:
    """Write everything."""
    minilm, root = Path(sys.argv[1]), Path(sys.argv[2])
    graphs = root / "graphs"
    for family in dict.fromkeys((*ENCODERS, *DECODERS, *BUILT)):
        folder = save(root, family)
        if family in (*ENCODERS, *DECODERS):
            target = graphs / f"{family}-optimum"
            main_export(str(folder), target, task=_TASK, do_validation=False)
        if family in DECODERS:
            target = graphs / f"{family}-past"
            main_export(str(folder), target, task=f"{_TASK}-with-past", do_validation=False)
    for family in OPTIMIZED:
        plain = ORTModelForFeatureExtraction.from_pretrained(graphs / f"{family}-optimum")
        target, level = graphs / f"{family}-O3", AutoOptimizationConfig.O3()
        ORTOptimizer.from_pretrained(plain).optimize(save_dir=target, optimization_config=level)
        (target / "model_optimized.onnx").rename(target / "model.onnx")
    for family in BUILT:
        build(root / "models" / family, graphs / f"{family}-genai")
    model = SentenceTransformer(str(minilm), backend="onnx", model_kwargs={"export": True})
    model.save_pretrained(str(graphs / "minilm"))
    export_dynamic_quantized_onnx_model(model, "avx512_vnni", str(graphs / "minilm"))


def build(source: Path, target: Path) -> None:
    """Let onnxruntime-genai write the backbone of a decoder."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command += ["-i", str(source), "-o", str(target), "-p", "fp32", "-e", "cpu"]
    command += ["-c", str(target.parent / "cache"), "--extra_options", "exclude_lm_head=true"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
