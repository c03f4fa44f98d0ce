"""Every strategy once more, one text at a time and without any of decant: the tests' reference.

Loops over layers and tokens with Transformers' own modules, as the papers describe them. Slow, and
meant to be read beside the papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.masking_utils import create_causal_mask

ONE_WORD = 'This sentence : "*sent*" means in one word:"'
COT = 'After thinking step by step , this sentence : "*sent*" means in one word:"'
KNOWLEDGE = (
    "The essence of a sentence is often captured by its main subjects and actions, while "
    "descriptive terms provide additional but less central details. With this in mind , this "
    'sentence : "*sent*" means in one word:"'
)
EXAMPLE = 'This sentence : "A jockey riding a horse." means in one word:"Equestrian".'
IRRELEVANT = 'The irrelevant information of this sentence : "*sent*" means in one word:"'
REPS = (
    'Passage: "*sent*". Use one word to represent the passage in a retrieval task. Make sure your '
    'word is in lowercase. The word is: "'
)
# Stop words of the probe texts; the list of the library is longer.
STOPS = {"a", "the", "of", "is", "at", "and", "on", "i", "what", "no", "to"}


@dataclass
class Naive:
    """A seeded model, and what the papers do with it."""

    folder: Path
    masked: bool = False

    def __post_init__(self) -> None:
        kind = AutoModelForMaskedLM if self.masked else AutoModelForCausalLM
        self.model = kind.from_pretrained(self.folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    def plain(self, text: str) -> list[int]:
        """Ids as the tokenizer gives them, specials at both ends."""
        return list(self.tokenizer.encode(text).ids)

    def unended(self, text: str) -> list[int]:
        """Ids without the token that this tokenizer puts at the end."""
        return self.plain(text)[:-1]

    def piece(self, text: str) -> list[int]:
        """Ids of a part of a prompt."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def states(self, ids: list[int]) -> list[torch.Tensor]:
        """All hidden states, each (T, d)."""
        with torch.no_grad():
            found = self.model(torch.tensor([ids]), output_hidden_states=True)
        return [states[0] for states in found.hidden_states]

    def logits(self, ids: list[int]) -> torch.Tensor:
        """The head's, (T, V)."""
        with torch.no_grad():
            found: torch.Tensor = self.model(torch.tensor([ids])).logits[0]
        return found

    def prompted(self, prompt: str, text: str, layer: int) -> torch.Tensor:
        """The last token's state of the PromptEOL line."""
        return self.states(self.unended(prompt.replace("*sent*", quoted(text))))[layer][-1]

    def meta(self, prompts: list[str], text: str) -> torch.Tensor:
        """The mean over prompts."""
        found = [self.prompted(prompt.replace("{text}", "*sent*"), text, -1) for prompt in prompts]
        return torch.stack(found).mean(0)

    def echo(self, text: str, *, last: bool) -> torch.Tensor:
        """The second copy, and the token at the end."""
        before, between = self.piece("Rewrite the sentence: "), self.piece(", rewritten sentence: ")
        copy = self.piece(text)
        begin, end = self.plain("")[0], self.plain("")[-1]
        ids = [begin, *before, *copy, *between, *copy, end]
        states = self.states(ids)[-1]
        if last:
            return states[-1]
        return states[len(ids) - len(copy) - 1 :].mean(0)

    def prepended(self, text: str, start: int, stop: int, layer: int) -> torch.Tensor:
        """Token prepending, layer by layer."""
        core = self.model.model
        table = core.embed_tokens.weight
        begin = self.plain("")[0]
        before = [begin, *self.piece("This sentence : ")]
        after = self.piece(f' "{quoted(text)}" means in one word:"')
        slot = len(before)
        with torch.no_grad():
            rows = [*(table[i] for i in before), table.mean(0), *(table[i] for i in after)]
            hidden = torch.stack(rows).unsqueeze(0)
            positions = torch.arange(hidden.shape[1]).unsqueeze(0)
            angles = core.rotary_emb(hidden, positions)
            mask = create_causal_mask(
                config=core.config,
                inputs_embeds=hidden,
                attention_mask=None,
                past_key_values=None,
                position_ids=positions,
            )
            for number, block in enumerate(core.layers[:layer]):
                if start <= number < stop:
                    hidden = hidden.clone()
                    hidden[0, slot] = hidden[0, -1]
                hidden = block(hidden, attention_mask=mask, position_embeddings=angles)
        state: torch.Tensor = hidden[0, -1]
        return state

    def contrastive(self, text: str, act: int, strength: float, layer: int) -> torch.Tensor:
        """Contrastive prompting, with the projection's own forward replaced."""
        projection = self.model.model.layers[act].self_attn.o_proj
        forward = projection.forward
        kept: list[torch.Tensor] = []

        def remember(heads: torch.Tensor) -> torch.Tensor:
            kept.append(heads[0, -1].clone())
            given: torch.Tensor = forward(heads)
            return given

        def subtract(heads: torch.Tensor) -> torch.Tensor:
            changed = heads.clone()
            changed[0, -1] = strength * (heads[0, -1] - kept[0])
            given: torch.Tensor = forward(changed)
            return given

        try:
            projection.forward = remember
            self.states(self.unended(IRRELEVANT.replace("*sent*", quoted(text))))
            projection.forward = subtract
            return self.prompted(ONE_WORD, text, layer)
        finally:
            projection.forward = forward

    def reps(self, text: str, top: int) -> tuple[torch.Tensor, dict[int, float]]:
        """PromptReps: dense state and the weights of the text's own words."""
        ids = self.unended(REPS.replace("*sent*", text))
        weights = torch.log1p(torch.relu(self.logits(ids)[-1]))
        letters = "".join(letter if letter.isalnum() else " " for letter in text.lower())
        words = [word for word in letters.split() if word not in STOPS]
        allowed = {one for word in words for one in self.piece(word)}
        if not allowed:
            heaviest = weights.topk(10)
            chosen = list(zip(heaviest.indices.tolist(), heaviest.values.tolist(), strict=True))
        else:
            ranked = sorted(allowed, key=lambda one: -weights[one])[:top]
            chosen = [(one, float(weights[one])) for one in ranked]
        return self.states(ids)[-1][-1], {one: weight for one, weight in chosen if weight > 0}

    def splade(self, text: str, top: int) -> dict[int, float]:
        """The largest logit of every token, saturated."""
        logits = self.logits(self.plain(text))
        weights = torch.log1p(torch.relu(logits)).max(0)
        found = weights.values.topk(min(top, len(weights.values)))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return {one: weight for one, weight in pairs if weight > 0}

    def old_centres(self, clusters: int) -> NDArray[np.float32]:
        """Centres of the head's rows as recipes without passes have them."""
        output = self.model.get_output_embeddings()
        assert isinstance(output, torch.nn.Linear)
        settings: dict[str, Any] = {"random_state": 0, "n_init": 3, "batch_size": 4096}
        made = MiniBatchKMeans(clusters, **settings).fit(output.weight.detach().numpy())
        return np.asarray(made.cluster_centers_, np.float32)

    def lens(self, text: str, centres: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same over the centres of the head's rows."""
        logits = self.states(self.plain(text))[-1].numpy() @ centres.T
        return np.asarray(np.log1p(np.maximum(logits, 0)).max(0), np.float32)


def quoted(text: str) -> str:
    """The sentence as the PromptEOL line words it."""
    if len(text) > 0 and text[-1] not in ".?\"'":
        text += "."
    text = text.replace('"', "'")
    if len(text) > 0 and text[-1] == "?":
        text = text[:-1] + "."
    return text
