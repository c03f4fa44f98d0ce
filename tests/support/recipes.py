"""Draw recipes for Hypothesis: every field, every choice, whatever text fits in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from decant.embedders import (
    Activation,
    AppendedTokens,
    Attention,
    ContrastivePrompting,
    Dense,
    LateInteraction,
    LayerMix,
    PooledTokens,
    Pooling,
    Prompt,
    QueryExpansion,
    Recipe,
    SparseHead,
    SparsePooling,
    TextFormat,
    TokenPrepending,
)

_WIDTHS = st.integers(1, 4096)

prompts = st.builds(Prompt, prefix=st.text(max_size=20), suffix=st.text(max_size=20))
_twice = st.builds(Prompt, prefix=st.text(max_size=9), between_copies=st.text(max_size=20))
_slotted = st.builds(Prompt, before_slot=st.text(max_size=9), prefix=st.text(max_size=9))


@st.composite
def heads(draw: st.DrawFn) -> tuple[Dense, ...]:
    """Draw up to three layers, each as wide as the one before it gives."""
    widths = draw(st.lists(_WIDTHS, min_size=1, max_size=4))
    return tuple(
        Dense(
            path=draw(st.text(min_size=1, max_size=10)),
            inputs=inputs,
            outputs=outputs,
            bias=draw(st.booleans()),
            activation=draw(st.sampled_from(Activation)),
        )
        for inputs, outputs in pairwise(widths)
    )


@st.composite
def mixes(draw: st.DrawFn) -> LayerMix:
    """Draw any mix of layers that can be built."""
    layers = draw(st.lists(st.integers(-40, 40), unique=True, max_size=5))
    numbers = st.floats(0.001, 1000.0)
    weights = st.lists(numbers, min_size=len(layers), max_size=len(layers))
    return LayerMix(
        layers=tuple(layers),
        unit=draw(st.booleans()),
        weights=draw(st.just(()) | weights.map(tuple)),
    )


instructions = st.none() | st.just("Do {instruction}: {text}!")
prependings = st.builds(
    TokenPrepending, start=st.integers(0, 3), stop=st.integers(4, 9), slot=st.integers(1, 2**20)
)
sparse_heads = (
    st.builds(
        SparseHead,
        weighting=st.sampled_from([SparsePooling.MAX, SparsePooling.LAST]),
        top=st.integers(1, 2**16),
        words=st.just(False),
        clusters=st.none() | st.integers(2, 2**16),
    )
    | st.builds(SparseHead, clusters=st.integers(2, 2**16), passes=st.integers(1, 99))
    | st.builds(SparseHead, words=st.just(True))
    | st.builds(
        SparseHead,
        weighting=st.just(SparsePooling.TOKENS),
        projection=st.builds(Dense, path=st.text(max_size=9), inputs=_WIDTHS, outputs=st.just(1)),
        skipped_ids=st.lists(st.integers(0, 2**20), max_size=4).map(tuple),
    )
)
_expansions = st.builds(
    QueryExpansion,
    length=st.just(1),
    token=st.text(min_size=1, max_size=8),
    attended=st.just(True),
    cut=st.booleans(),
)
_words = st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple)
late_interactions = st.builds(
    LateInteraction,
    projection=st.none() | st.builds(Dense, path=st.text(), inputs=_WIDTHS, outputs=_WIDTHS),
    normalize=st.booleans(),
    markers=_words,
    expansion=st.none() | _expansions,
    skipped=_words,
    skips_first=st.booleans(),
)


def contrasts(around: st.SearchStrategy[Prompt]) -> st.SearchStrategy[ContrastivePrompting]:
    """Draw contrasts whose prompt is like the others."""
    return st.builds(
        ContrastivePrompting, prompt=around, layer=st.integers(0, 40), strength=st.floats(0.01, 100)
    )


@st.composite
def appendings(draw: st.DrawFn, layers: int) -> AppendedTokens:
    """Draw appended tokens for a head of so many layers."""
    tokens = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5))
    return AppendedTokens(
        tokens=tuple(tokens),
        read=draw(st.integers(1, len(tokens))),
        decoded=draw(st.integers(0, layers)),
    )


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw any recipe that can be built."""
    attention = draw(st.sampled_from(Attention))
    pooling = draw(
        st.sampled_from(Pooling).filter(
            lambda item: item is not Pooling.FIRST or attention is not Attention.CAUSAL
        )
    )
    span = draw(st.sampled_from(PooledTokens))
    tail = span is PooledTokens.TAIL
    slot = attention is Attention.CAUSAL and span not in (PooledTokens.COPY, PooledTokens.TAIL)
    slot = slot and draw(st.booleans())
    around = _twice if span is PooledTokens.COPY else _slotted if slot else prompts
    several = "outputs" if tail else draw(st.sampled_from(("ensemble", "contrast", "outputs")))
    ensemble = draw(st.lists(around, max_size=2)) if several == "ensemble" else []
    contrast = (
        draw(contrasts(around)) if several == "contrast" and attention is Attention.CAUSAL else None
    )
    outputs = several == "outputs"
    latent_heads = draw(st.none() | st.integers(1, 16))
    mix = None if tail or latent_heads is not None else draw(st.none() | mixes())
    head = draw(heads())
    token_embeddings = outputs and mix is None and draw(st.booleans())
    layer = -1 if mix is not None else draw(st.integers(-40, 40))
    is_late = token_embeddings and not tail and layer == -1 and latent_heads is None
    is_late = is_late and span is not PooledTokens.COPY
    return Recipe(
        base=draw(st.text(min_size=1, max_size=20)),
        attention=attention,
        pooling=pooling,
        max_tokens=draw(st.integers(1, 2**31)),
        revision=draw(st.none() | st.text(max_size=20)),
        layer=layer,
        query_prompt=draw(around),
        passage_prompt=draw(around),
        eos=draw(st.none() | st.text(min_size=1, max_size=8)),
        span=span,
        head=head,
        dim=draw(st.none() | _WIDTHS),
        normalize=draw(st.booleans()),
        latent_heads=latent_heads,
        mix=mix,
        text_format=draw(st.sampled_from(TextFormat)),
        ensemble=tuple(ensemble),
        prepending=draw(prependings) if slot else None,
        contrast=contrast,
        sparse_head=draw(st.none() | sparse_heads) if outputs and not tail else None,
        token_embeddings=token_embeddings,
        instruction_template=None if around is not prompts else draw(instructions),
        open_end=draw(st.booleans()),
        appended=draw(appendings(len(head))) if tail else None,
        min_dim=draw(st.none() | _WIDTHS),
        max_text_tokens=draw(st.none() | st.integers(1, 2**31)),
        late_interaction=draw(st.none() | late_interactions) if is_late else None,
    )
