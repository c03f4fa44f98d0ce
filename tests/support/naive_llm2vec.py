"""What LLM2Vec's own code does with a text, once more and without any of decant.

Written after ``tokenize``, ``get_pooling``, ``_convert_to_str`` and ``prepare_for_tokenization`` of
its ``llm2vec.py``, one text at a time; there, too, a mark parts instruction and text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel

MARK = "!@#$%^&*()"
BEGIN = 1
LLAMA_3 = ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>")
INST = ("[INST] ", " [/INST]")


@dataclass(kw_only=True)
class NaiveLLM2Vec:
    """A model that attends both ways, and how its states are pooled."""

    folder: Path
    pooling_mode: str = "mean"
    skip_instruction: bool = True
    turn: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        self.model = AutoModel.from_pretrained(self.folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    def encode(self, text: str, instruction: str = "") -> NDArray[np.float32]:
        """Return the vector of one text, of unit length."""
        marked = f"{instruction} {MARK}{text}" if instruction else f"{MARK}{text}"
        before, after = self.turn
        marked = f"{before}{marked}{after}"
        if self.pooling_mode == "eos_token":
            marked = f"{marked} </s>"
        ids = self.tokenizer.encode(marked.replace(MARK, "")).ids
        own = self.tokenizer.encode(marked.split(MARK)[1], add_special_tokens=False).ids
        every = torch.zeros(1, 1, len(ids), len(ids))  # added to the scores: nothing is hidden
        with torch.no_grad():
            states = self.model(torch.tensor([ids]), attention_mask=every).last_hidden_state[0]
        vector = self._pooled(states, ids, len(own) if self.skip_instruction else len(ids))
        return np.asarray(vector / vector.norm(), np.float32)

    def _pooled(self, states: torch.Tensor, ids: list[int], length: int) -> torch.Tensor:
        match self.pooling_mode:
            case "mean":
                return states[-length:].mean(0)
            case "weighted_mean":
                ranks = torch.arange(1, length + 1, dtype=torch.float32)
                return (ranks.unsqueeze(1) * states[-length:]).sum(0) / ranks.sum()
            case "eos_token" | "last_token":
                return states[-1]
            case _:
                return states[ids.index(BEGIN)]
