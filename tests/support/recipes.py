"""Draw recipes for Hypothesis: every field, every choice, whatever text fits in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from decant.embedders import Activation, Attention, Dense, LayerMix, Pooling, Prompt, Recipe, Span

_WIDTHS = st.integers(1, 4096)

prompts = st.builds(Prompt, prefix=st.text(max_size=20), suffix=st.text(max_size=20))


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


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw any recipe that can be built."""
    attention = draw(st.sampled_from(Attention))
    pooling = draw(
        st.sampled_from(Pooling).filter(
            lambda item: item is not Pooling.FIRST or attention is not Attention.CAUSAL
        )
    )
    latent_heads = draw(st.none() | st.integers(1, 16))
    mix = None if latent_heads is not None else draw(st.none() | mixes())
    return Recipe(
        base=draw(st.text(min_size=1, max_size=20)),
        attention=attention,
        pooling=pooling,
        max_tokens=draw(st.integers(1, 2**31)),
        revision=draw(st.none() | st.text(max_size=20)),
        layer=-1 if mix is not None else draw(st.integers(-40, 40)),
        query=draw(prompts),
        passage=draw(prompts),
        eos=draw(st.none() | st.text(min_size=1, max_size=8)),
        span=draw(st.sampled_from(Span)),
        head=draw(heads()),
        dim=draw(st.none() | _WIDTHS),
        normalize=draw(st.booleans()),
        latent_heads=latent_heads,
        mix=mix,
        smallest_dim=draw(st.none() | _WIDTHS),
    )
