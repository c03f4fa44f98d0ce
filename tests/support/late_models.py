"""Tiny seeded models of token vectors, saved as ColBERT, PyLate and sentence-transformers do.

The tokenizer is BERT's kind: it lower-cases, splits at punctuation, and cuts ``[unused0]`` into
pieces, so that a marker that is not put in as one token shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase, digits, punctuation

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedModel

from models import save_sentence_transformer, write_json

WIDTH, TOKEN_WIDTH, LONGEST, QUERY_TOKENS = 32, 8, 48, 12
MASK = "[MASK]"
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK)
MARKERS = ("[unused0]", "[unused1]")


def word_pieces() -> Tokenizer:
    """Return a WordPiece tokenizer of single letters with BERT's special tokens."""
    plain = [*ascii_lowercase, *digits, *punctuation]
    pieces = [f"##{letter}" for letter in (*ascii_lowercase, *digits)]
    words = [*SPECIALS, *MARKERS, *plain, *pieces]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(list(SPECIALS))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(word, vocabulary[word]) for word in SPECIALS]
    )
    return made


def backbone() -> PreTrainedModel:
    """Return a seeded BERT of two layers."""
    torch.manual_seed(5)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=word_pieces().get_vocab_size(),
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LONGEST,
        pad_token_id=0,
    )
    model: PreTrainedModel = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return model


def projection() -> torch.Tensor:
    """Return the weight of the projection, (TOKEN_WIDTH, WIDTH)."""
    return torch.randn(TOKEN_WIDTH, WIDTH, generator=torch.Generator().manual_seed(6))


def _save_backbone(folder: Path) -> None:
    backbone().save_pretrained(folder)
    word_pieces().save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": LONGEST,
            "mask_token": MASK,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
        },
    )


def save_colbert(folder: Path, *, attended: bool = False) -> Path:
    """Write a checkpoint as ColBERT does: one file of weights, and its metadata."""
    _save_backbone(folder)
    path = folder / "model.safetensors"
    weights = {f"bert.{name}": value for name, value in load_file(path).items()}
    save_file({**weights, "linear.weight": projection()}, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "architectures": ["HF_ColBERT"]})
    metadata = {
        "query_token_id": MARKERS[0],
        "doc_token_id": MARKERS[1],
        "query_token": "[Q]",
        "doc_token": "[D]",
        "dim": TOKEN_WIDTH,
        "similarity": "cosine",
        "query_maxlen": QUERY_TOKENS,
        "doc_maxlen": 40,
        "mask_punctuation": True,
        "attend_to_mask_tokens": attended,
    }
    write_json(folder / "artifact.metadata", metadata)
    return folder


def save_multi_vector(folder: Path, *, strategy: str = "min", attend: bool = False) -> Path:
    """Write a folder as MultiVectorEncoder of sentence-transformers 6 does."""
    _save_backbone(folder)
    listed = [
        ("", "base.modules.transformer.Transformer"),
        ("1_Dense", "base.modules.dense.Dense"),
        ("2_MultiVectorMask", "multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"),
        ("3_Normalize", "base.modules.normalize.Normalize"),
    ]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.{kind}"}
        for at, (path, kind) in enumerate(listed)
    ]
    write_json(folder / "modules.json", modules)
    names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    sizes = {"in_features": WIDTH, "out_features": TOKEN_WIDTH, "bias": False}
    identity = {"activation_function": "torch.nn.modules.linear.Identity"}
    write_json(folder / "1_Dense" / "config.json", {**sizes, **identity, **names})
    save_file({"linear.weight": projection()}, folder / "1_Dense" / "model.safetensors")
    write_json(
        folder / "2_MultiVectorMask" / "config.json",
        {
            "skiplist_words": [".", "!"],
            "skiplist_tasks": ["document"],
            "keep_only_token_ids": None,
        },
    )
    write_json(folder / "3_Normalize" / "config.json", names)
    expansion = {"strategy": strategy, "attend": attend, "token": None, "length": QUERY_TOKENS}
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
            "document_length": 40,
            "query_expansion": expansion,
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "MultiVectorEncoder",
            "prompts": {"query": "q: ", "document": "d: "},
            "default_prompt_name": None,
        },
    )
    return folder


def save_pylate(folder: Path) -> Path:
    """Write a folder as PyLate up to 3 does: prefixes as tokens, masking outside of its modules."""
    save_multi_vector(folder)
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[:2]
    listed[1]["type"] = "pylate.models.Dense.Dense"
    write_json(folder / "modules.json", listed)
    sizes = {"in_features": WIDTH, "out_features": TOKEN_WIDTH, "bias": False}
    identity = {"activation_function": "torch.nn.modules.linear.Identity"}
    write_json(folder / "1_Dense" / "config.json", {**sizes, **identity})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 39, "do_lower_case": False})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "ColBERT",
            "query_prefix": f"{MARKERS[0]} ",
            "document_prefix": f"{MARKERS[1]} ",
            "query_length": QUERY_TOKENS,
            "document_length": 40,
            "attend_to_expansion_tokens": False,
            "prompts": {},
        },
    )
    return folder


def save_bge_m3(folder: Path) -> Path:
    """Write a seeded XLM-RoBERTa with BGE-M3's heads beside it, as its repository holds them."""
    save_sentence_transformer(folder, "xlm-roberta", pooling="cls")
    for name, outputs, seed in (("sparse_linear.pt", 1, 7), ("colbert_linear.pt", WIDTH, 8)):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(WIDTH, outputs)
        with torch.no_grad():
            layer.bias.add_(1.0)  # most weights are positive, as those of a trained head
        torch.save(layer.state_dict(), folder / name)
    return folder
