"""Tiny seeded models of real architectures, saved as folders as the hub would hold them.

Two layers, width 32, a byte-level tokenizer with a few merges: everything real but the size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PretrainedConfig,
)

from decant.embedders import AppendedTokens, Attention, Dense, PooledTokens, Pooling, Prompt, Recipe
from decant.embedders.sources.recipe_file import write_recipe
from model_families import DECODERS, ENCODERS, FAMILIES, LONGEST, TYPES, WIDTH, WINDOW, traced_as

__all__ = [
    "COMPRESS", "DECODERS", "ENCODERS", "LONGEST", "MERGES", "SPECIALS", "WIDTH", "WINDOW",
    "config", "save_compressing", "save_embedding_gemma", "save_language_model", "save_model",
    "save_nv_embed", "save_sentence_transformer", "tokenizer", "traced_as", "write_json",
]  # fmt: skip

MERGES = [
    ("Ġ", "t"),
    ("h", "e"),
    ("Ġt", "he"),
    ("i", "n"),
    ("Ġ", "w"),
    ("Ġw", "h"),
    ("a", "t"),
    ("Ġ", "a"),
]
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<|endoftext|>", "<instruct>", "<query>")
COMPRESS = ("<EMBED0>", "<EMBED1>", "<EMBED2>", "<EMBED3>")


def tokenizer(ending: str = "<s> $A </s>") -> Tokenizer:
    """Return a byte-level BPE tokenizer whose post-processor adds what ``ending`` shows."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*SPECIALS, *letters, *("".join(pair) for pair in MERGES)]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIALS))
    made.post_processor = processors.TemplateProcessing(
        single=ending, special_tokens=[(word, vocabulary[word]) for word in SPECIALS]
    )
    return made


def config(family: str) -> PretrainedConfig:
    """Return the two-layer configuration of one family."""
    words = tokenizer().get_vocab_size()
    kind = TYPES.get(family, family)
    made = AutoConfig.for_model(kind, vocab_size=words, **FAMILIES[family])
    assert isinstance(made, PretrainedConfig)
    return made


def save_model(folder: Path, family: str, *, ending: str = "<s> $A </s>", seed: int = 0) -> Path:
    """Write a seeded model and its tokenizer as a Transformers folder; return the folder."""
    torch.manual_seed(seed)
    model = AutoModel.from_config(config(family)).eval()
    # Freshly drawn weights (0.02) give nearly equal vectors; trained ones do not.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    tokenizer(ending).save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": LONGEST})
    return folder


def save_language_model(folder: Path, family: str, *, layers: int = 4, longest: int = 640) -> Path:
    """Write a seeded language model with its head; return the folder.

    Args:
        folder: Where to.
        family: ``bert``, which becomes a masked language model, or a decoder.
        layers: How many.
        longest: Tokens that it takes, enough for the prompts of strategies.
    """
    torch.manual_seed(0)
    settings = {"num_hidden_layers": layers, "max_position_embeddings": longest}
    words = tokenizer().get_vocab_size()
    made = AutoConfig.for_model(family, vocab_size=words, **{**FAMILIES[family], **settings})
    if family in ENCODERS:
        model = AutoModelForMaskedLM.from_config(made).eval()
    else:
        made.tie_word_embeddings = False
        model = AutoModelForCausalLM.from_config(made).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": longest})
    return folder


def save_sentence_transformer(
    folder: Path,
    family: str,
    *,
    pooling: str = "mean",
    prompts: Mapping[str, str] | None = None,
    include_prompt: bool = True,
) -> Path:
    """Write a seeded model as a sentence-transformers folder (schema of version 6)."""
    save_model(folder, family)
    modules = [
        ("", "base.modules.transformer.Transformer"),
        ("1_Pooling", "sentence_transformer.modules.pooling.Pooling"),
        ("2_Normalize", "base.modules.normalize.Normalize"),
    ]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    write_json(
        folder / "1_Pooling" / "config.json",
        {"embedding_dimension": WIDTH, "pooling_mode": pooling, "include_prompt": include_prompt},
    )
    write_json(folder / "config_sentence_transformers.json", {"prompts": dict(prompts or {})})
    return folder


def save_embedding_gemma(folder: Path) -> Path:
    """Write a folder of EmbeddingGemma's kind: both ways, mean, two linear layers, unit length."""
    save_sentence_transformer(folder, "embeddinggemma")
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    dense = "sentence_transformers.sentence_transformer.modules.dense.Dense"
    for number, (inputs, outputs) in enumerate([(WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)], start=2):
        path = f"{number}_Dense"
        listed.insert(number, {"idx": number, "name": str(number), "path": path, "type": dense})
        sizes = {"in_features": inputs, "out_features": outputs, "bias": False}
        identity = "torch.nn.modules.linear.Identity"
        write_json(folder / path / "config.json", {**sizes, "activation_function": identity})
        weight = torch.nn.Linear(inputs, outputs, bias=False).weight.detach()
        save_file({"linear.weight": weight}, folder / path / "model.safetensors")
    write_json(folder / "modules.json", listed)
    return folder


def save_compressing(
    folder: Path, *, read: int = 3, widths: tuple[int, ...] = (), family: str = "llama"
) -> Path:
    """Write a folder as AutoRegEmbed's and LLM2Vec-Gen's training leaves one; return it.

    Args:
        folder: Where to.
        read: How many of the four tokens of :data:`COMPRESS` are read.
        widths: What the linear layers after them give; where there are some, the first layer's
            output is what is decoded.
        family: Of the decoder.
    """
    torch.manual_seed(3)
    added = tokenizer("<s> $A")
    added.add_special_tokens(list(COMPRESS))
    settings = {**FAMILIES[family], "vocab_size": added.get_vocab_size()}
    model = AutoModel.from_config(AutoConfig.for_model(family, **settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    added.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": LONGEST})
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise((WIDTH, *widths)), start=1):
        layers.append(Dense(path=f"{number}_Dense", inputs=inputs, outputs=outputs))
        made = torch.nn.Linear(inputs, outputs)
        tensors = {f"linear.{name}": one.detach() for name, one in made.named_parameters()}
        (folder / layers[-1].path).mkdir()
        save_file(tensors, folder / layers[-1].path / "model.safetensors")
    recipe = Recipe(
        base=folder.name,
        attention=Attention.CAUSAL,
        pooling=Pooling.MEAN,
        max_tokens=LONGEST,
        query_prompt=Prompt(suffix="\nin a word: “"),
        passage_prompt=Prompt(prefix="say "),
        span=PooledTokens.TAIL,
        head=tuple(layers),
        appended=AppendedTokens(tokens=COMPRESS, read=read, decoded=1 if layers else 0),
    )
    write_recipe(folder, recipe)
    return folder


def save_nv_embed(folder: Path, *, heads: int = 2, inner: int = 12) -> Path:
    """Write a folder of NV-Embed's layout: its configuration and tensor names, seeded."""
    save_model(folder, "mistral", ending="<s> $A")
    inside = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = {
        "model_type": "nvembed",
        "text_config": {**inside, "model_type": "bidir_mistral"},
        "latent_attention_config": {"model_type": "latent_attention", "num_cross_heads": heads},
    }
    write_json(folder / "config.json", settings)
    stored = load_file(folder / "model.safetensors")
    tensors = {f"embedding_model.{name}": value for name, value in stored.items()}
    cross, forward = "cross_attend_blocks.0.", "cross_attend_blocks.1."
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (5, WIDTH),
        f"{cross}fn.to_q.weight": (inner, WIDTH),
        f"{cross}fn.to_kv.weight": (2 * inner, WIDTH),
        f"{cross}fn.to_out.weight": (WIDTH, inner),
        f"{forward}fn.net.0.weight": (8 * WIDTH, WIDTH),
        f"{forward}fn.net.0.bias": (8 * WIDTH,),
        f"{forward}fn.net.2.weight": (WIDTH, 4 * WIDTH),
        f"{forward}fn.net.2.bias": (WIDTH,),
    }
    for norm in (f"{cross}norm", f"{cross}norm_context", f"{forward}norm"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    for name, shape in shapes.items():
        tensors[f"latent_attention_model.{name}"] = torch.randn(shape) / 2
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_json(path: Path, data: object) -> None:
    """Write ``data`` as JSON, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
