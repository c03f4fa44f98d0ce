"""Ways to get a vector out of a language model, by name; each is a few choices of a recipe.

None needs training. Prompts are exactly those of the papers' code. Layers and strengths that a
paper gives for one model are scaled to the model's depth (32 layers: Llama 2 7B).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import cast

from ..errors import RecipeError
from ..recipe.dense import Dense
from ..recipe.enums import PooledTokens, Pooling
from ..recipe.late_interaction import LateInteraction
from ..recipe.layer_hooks import ContrastivePrompting, TokenPrepending
from ..recipe.layer_mix import LayerMix
from ..recipe.prompt import Prompt, TextFormat
from ..recipe.sparse_head import SparseHead, SparsePooling
from .choices import Choices
from .strategy import ModelSize, Strategy, read_strategy

_ONE_WORD = 'his sentence : "{text}" means in one word:"'
_PROMPT_EOL = f"T{_ONE_WORD}"
_COT = f"After thinking step by step , t{_ONE_WORD}"
_KNOWLEDGE = (
    "The essence of a sentence is often captured by its main subjects and actions, while "
    "descriptive terms provide additional but less central details. With this in mind , t"
    f"{_ONE_WORD}"
)
_EXAMPLE = 'This sentence : "A jockey riding a horse." means in one word:"Equestrian".'
_SLOTTED = 'This sentence : {slot} "{text}" means in one word:"'
_IRRELEVANT = 'The irrelevant information of this sentence : "{text}" means in one word:"'
_ECHO = "Rewrite the sentence: {text}, rewritten sentence: {text}"
_REPS_SYSTEM = "You are an AI assistant that can understand human language."
_REPS = (
    '{kind}: "{text}". Use one word to represent the {lower} in a retrieval task. Make sure your '
    "word is in lowercase."
)
_M3_TOKENS = 8192  # the longest text, of which no token is dropped
_M3_SPECIALS = (0, 1, 2, 3)  # <s>, <pad>, </s> and <unk> of XLM-RoBERTa
_REPS_ANSWER = 'The word is: "'


def strategies() -> dict[str, Strategy]:
    """Return the strategies that decant knows, by name."""
    return {strategy.name: strategy for strategy in (*_PLAIN, *_PROMPTED, *_SPARSE)}


def find_strategy(name: str | Strategy) -> Strategy:
    """Return a strategy.

    Args:
        name: One of :func:`strategies`, the path of a JSON file (see :func:`read_strategy`), or a
            strategy itself.

    Raises:
        RecipeError: There is none of that name, or the file does not hold one.
    """
    if isinstance(name, Strategy):
        return name
    if name.endswith(".json"):
        return read_strategy(Path(name))
    known = strategies()
    if name not in known:
        raise RecipeError(
            f"no strategy is called {name!r}; known are {', '.join(known)}, or the path of a .json "
            "file with one of your own"
        )
    return known[name]


def _pooled(name: str, pooling: Pooling, purpose: str, source: str) -> Strategy:
    return Strategy(
        name=name, purpose=purpose, source=source, choose=lambda _: Choices(pooling=pooling)
    )


def _mixed(name: str, layers: str, purpose: str, source: str) -> Strategy:
    mix = LayerMix.parse(layers)
    return Strategy(
        name=name,
        purpose=purpose,
        source=source,
        choose=lambda _: Choices(pooling=Pooling.MEAN, span=PooledTokens.CONTENT, mix=mix),
        words=True,
    )


def _quoted(template: str, *, layer: int = -1) -> Choices:
    """Return the choices of PromptEOL and similar methods: the state of the prompt's last token."""
    return Choices(
        query_prompt=template,
        passage_prompt=template,
        text_format=TextFormat.QUOTED,
        open_end=True,
        pooling=Pooling.LAST,
        span=PooledTokens.ALL,
        layer=layer,
    )


def _prompted(
    name: str,
    purpose: str,
    source: str,
    choose: Callable[[ModelSize], Choices],
    *,
    passes: str = "1",
    adds: str = "a prompt",
) -> Strategy:
    return Strategy(
        name=name,
        purpose=purpose,
        source=source,
        choose=choose,
        causal=True,
        passes=passes,
        adds=adds,
    )


def _prepending(shape: ModelSize) -> Choices:
    plan = TokenPrepending(start=1, stop=max(2, shape.scaled(7)), slot=shape.vocabulary)
    layer = shape.scaled(27) if shape.layers > 1 else -1
    return Choices(prepending=plan).over(_quoted(_SLOTTED, layer=layer))


def _contrast(shape: ModelSize) -> Choices:
    layer = min(shape.scaled(4), shape.layers - 1)
    plan = ContrastivePrompting(prompt=Prompt.parse(_IRRELEVANT), layer=layer, strength=0.5)
    return Choices(contrast=plan).over(_quoted(_PROMPT_EOL, layer=shape.scaled(27)))


def _meta_eol(_: ModelSize) -> Choices:
    first, *others = (Prompt.parse(template) for template in _meta_templates())
    return Choices(ensemble=tuple(others)).over(_quoted(first.template))


def _meta_templates() -> list[str]:
    file = files("decant.embedders.sources").joinpath("meta_eol.json")
    return cast("list[str]", json.loads(file.read_text(encoding="utf-8")))


def _echo(pooling: Pooling) -> Choices:
    return Choices(
        query_prompt=_ECHO, passage_prompt=_ECHO, span=PooledTokens.COPY, pooling=pooling
    )


def _promptreps(shape: ModelSize) -> Choices:
    def prompt(kind: str) -> str:
        asked = _REPS.replace("{kind}", kind).replace("{lower}", kind.lower())
        if shape.converse is None:
            return f"{asked} {_REPS_ANSWER}"
        return f"{shape.converse(_REPS_SYSTEM, asked)}{_REPS_ANSWER}"

    query, passage = prompt("Query"), prompt("Passage")
    return Choices(
        query_prompt=query,
        passage_prompt=passage,
        open_end=True,
        pooling=Pooling.LAST,
        sparse_head=SparseHead(weighting=SparsePooling.LAST, top=128, words=True),
    )


def _lens(shape: ModelSize) -> Choices:
    clusters = min(4000, max(2, shape.vocabulary // 4))
    sparse_head = SparseHead(weighting=SparsePooling.MAX, clusters=clusters, passes=5)
    return Choices(pooling=Pooling.MEAN, sparse_head=sparse_head)


def _bge_m3(shape: ModelSize) -> Choices:
    """Return the heads of BGE-M3, whose files lie beside its weights."""
    if shape.width is None:
        raise RecipeError("config.json lacks hidden_size, which the heads of BGE-M3 take")
    sparse = Dense(path="sparse_linear.pt", inputs=shape.width, outputs=1)
    tokens = Dense(path="colbert_linear.pt", inputs=shape.width, outputs=shape.width)
    return Choices(
        pooling=Pooling.FIRST,
        sparse_head=SparseHead(
            weighting=SparsePooling.TOKENS,
            top=_M3_TOKENS,
            projection=sparse,
            skipped_ids=_M3_SPECIALS,
        ),
        token_embeddings=True,
        late_interaction=LateInteraction(projection=tokens, skips_first=True),
    )


_PLAIN = (
    _pooled("mean", Pooling.MEAN, "the average of all token states", "arXiv 1908.10084, section 3"),
    _pooled(
        "weighted-mean",
        Pooling.WEIGHTED_MEAN,
        "an average in which later tokens weigh more; for causal models",
        "SGPT, arXiv 2202.08904, section 3.1",
    ),
    _pooled("last", Pooling.LAST, "the last token's state", "arXiv 2401.00368, section 3.1"),
    _pooled(
        "first", Pooling.FIRST, "the first token's state; not for causal models", "arXiv 1810.04805"
    ),
    _pooled("max", Pooling.MAX, "the largest value of each dimension", "arXiv 1908.10084"),
    _pooled("mean-sqrt", Pooling.MEAN_SQRT, "the sum over the root of the length", "as mean"),
    Strategy(
        name="text-mean",
        purpose="the average without the prompt before the text",
        source="GritLM, arXiv 2402.09906, section 2",
        choose=lambda _: Choices(pooling=Pooling.MEAN, span=PooledTokens.TEXT),
    ),
    Strategy(
        name="content-mean",
        purpose="the average of the text's own tokens, without BOS and EOS; for words",
        source="arXiv 2402.11094, section 3",
        choose=lambda _: Choices(pooling=Pooling.MEAN, span=PooledTokens.CONTENT),
        words=True,
    ),
    Strategy(
        name="penultimate",
        purpose="as content-mean, of the layer before the last",
        source="arXiv 1810.04805, section 5.3",
        choose=lambda _: Choices(pooling=Pooling.MEAN, span=PooledTokens.CONTENT, layer=-2),
        words=True,
    ),
    _mixed("first-last", "first+last", "layers 1 and N, averaged", "arXiv 2011.05864, section 4"),
    _mixed("last-four", "last4", "the last four layers, averaged", "arXiv 1810.04805, section 5.3"),
    _mixed("all-layers", "all", "all layers, averaged", "arXiv 2402.11094, section 3"),
    Strategy(
        name="static",
        purpose="token embeddings alone: the model's own word2vec",
        source="arXiv 2402.11094, section 3",
        choose=lambda _: Choices(pooling=Pooling.MEAN, span=PooledTokens.CONTENT, layer=0),
        passes="0",
        words=True,
    ),
    Strategy(
        name="late-interaction",
        purpose="every token's state and their average; also for late chunking",
        source="ColBERT, arXiv 2004.12832; late chunking, arXiv 2409.04701",
        choose=lambda _: Choices(pooling=Pooling.MEAN, token_embeddings=True),
    ),
)
_PROMPTED = (
    _prompted(
        "prompt-eol",
        "asks for the sentence in one word",
        "arXiv 2307.16645, section 3",
        lambda _: _quoted(_PROMPT_EOL),
    ),
    _prompted(
        "pretended-cot",
        "the same, after pretending to think",
        "arXiv 2404.03921, section 3",
        lambda _: _quoted(_COT, layer=-2),
    ),
    _prompted(
        "knowledge",
        "the same, after saying what matters in a sentence",
        "arXiv 2404.03921, section 3",
        lambda _: _quoted(_KNOWLEDGE, layer=-2),
    ),
    _prompted(
        "prompt-eol-icl",
        "the same, after one example",
        "arXiv 2307.16645, section 3",
        lambda _: _quoted(f"{_EXAMPLE}{_PROMPT_EOL}"),
        adds="a prompt and an example",
    ),
    _prompted(
        "meta-eol",
        "the average over eight tasks that ask for one word",
        "arXiv 2402.18458, section 3",
        _meta_eol,
        passes="8",
        adds="eight prompts",
    ),
    _prompted(
        "echo",
        "reads the text twice and averages the second copy, which has seen the first",
        "arXiv 2402.15449, section 3",
        lambda _: _echo(Pooling.MEAN),
        adds="the text again, a prompt",
    ),
    _prompted(
        "echo-last",
        "as echo, of the last token",
        "arXiv 2402.15449, section 3",
        lambda _: _echo(Pooling.LAST),
        adds="the text again, a prompt",
    ),
    _prompted(
        "token-prepending",
        "prompt-eol in which early tokens see the last one's state",
        "arXiv 2412.11556, section 3",
        _prepending,
        adds="a prompt and a slot",
    ),
    _prompted(
        "contrastive",
        "prompt-eol minus what an auxiliary prompt calls irrelevant",
        "arXiv 2505.12831, section 4",
        _contrast,
        passes="1 and 5/32",
        adds="two prompts",
    ),
)
_SPARSE = (
    Strategy(
        name="promptreps",
        purpose="a dense and a sparse vector for retrieval, from one word's prediction",
        source="arXiv 2404.18424, section 3",
        choose=_promptreps,
        causal=True,
        adds="a prompt",
        head=True,
        chat=True,
    ),
    Strategy(
        name="splade",
        purpose="a dense and a sparse vector over the vocabulary, from all tokens",
        source="SPLADE v2, arXiv 2109.10086, section 3.1",
        choose=lambda _: Choices(pooling=Pooling.MEAN, sparse_head=SparseHead()),
        head=True,
    ),
    Strategy(
        name="lens",
        purpose="as splade, over clusters of the vocabulary",
        source="arXiv 2501.09749, section 3",
        choose=_lens,
        head=True,
    ),
    Strategy(
        name="bge-m3",
        purpose="the dense, sparse and token vectors of BGE-M3's own heads, in one pass",
        source="BGE-M3, arXiv 2402.03216, section 3.1",
        choose=_bge_m3,
    ),
)
