"""Embed with optimum what decant made: ``python read_bundle.py BUNDLE TEXTS.json VECTORS.npy``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from optimum.onnxruntime import ORTModelForCustomTasks
from transformers import AutoTokenizer

bundle, texts, vectors = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = ORTModelForCustomTasks.from_pretrained(bundle)
words = json.loads(Path(texts).read_text(encoding="utf-8"))
batch = tokenizer(words, padding=True, truncation=True, return_tensors="np")
np.save(vectors, np.asarray(model(**batch)["sentence_embedding"]))
