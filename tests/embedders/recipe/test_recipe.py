"""Recipes: JSON and back, digests that change exactly when a vector may, and what is refused."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
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
    Recipe,
    RecipeError,
    Role,
    SparseHead,
    TextFormat,
    TokenPrepending,
)
from recipes import prompts, recipes

PLAIN = Recipe(
    base="model",
    attention=Attention.BIDIRECTIONAL,
    pooling=Pooling.MEAN,
    max_tokens=128,
)
RICH = Recipe(
    base="intfloat/e5-mistral-7b-instruct",
    revision="07163b72af1488142a360786df853f237b1a3ca1",
    attention=Attention.CAUSAL,
    pooling=Pooling.LAST,
    max_tokens=4096,
    layer=-2,
    query_prompt=Prompt(prefix="Instruct: naïve “quotes”\nQuery: ", suffix=" 日本"),
    passage_prompt=Prompt(suffix="\n"),
    eos="</s>",
    span=PooledTokens.TEXT,
    head=(Dense(path="2_Dense", inputs=4096, outputs=1024, activation=Activation.TANH),),
    dim=256,
    normalize=False,
)


def _slotted(plan: TokenPrepending) -> Recipe:
    prompt = Prompt(before_slot="a")
    causal = Attention.CAUSAL
    return replace(
        PLAIN, attention=causal, query_prompt=prompt, passage_prompt=prompt, prepending=plan
    )


def _contrasted(plan: ContrastivePrompting) -> Recipe:
    return replace(PLAIN, attention=Attention.CAUSAL, contrast=plan)


# One other value for every field. A field that is missing here fails the test below.
OTHERS: dict[str, Recipe] = {
    "base": replace(PLAIN, base="other"),
    "attention": replace(PLAIN, attention=Attention.CAUSAL),
    "pooling": replace(PLAIN, pooling=Pooling.LAST),
    "max_tokens": replace(PLAIN, max_tokens=129),
    "revision": replace(PLAIN, revision="1"),
    "layer": replace(PLAIN, layer=-2),
    "query_prompt": replace(PLAIN, query_prompt=Prompt(prefix="query: ")),
    "passage_prompt": replace(PLAIN, passage_prompt=Prompt(prefix="query: ")),
    "eos": replace(PLAIN, eos="</s>"),
    "span": replace(PLAIN, span=PooledTokens.TEXT),
    "head": replace(PLAIN, head=(Dense(path="2_Dense", inputs=4, outputs=2),)),
    "dim": replace(PLAIN, dim=64),
    "normalize": replace(PLAIN, normalize=False),
    "latent_heads": replace(PLAIN, latent_heads=8),
    "mix": replace(PLAIN, mix=LayerMix()),
    "text_format": replace(PLAIN, text_format=TextFormat.QUOTED),
    "ensemble": replace(PLAIN, ensemble=(Prompt(prefix="query: "),)),
    "prepending": _slotted(TokenPrepending(start=1, stop=2, slot=9)),
    "contrast": _contrasted(ContrastivePrompting(prompt=Prompt(prefix="a"), layer=1, strength=0.5)),
    "sparse_head": replace(PLAIN, sparse_head=SparseHead()),
    "open_end": replace(PLAIN, open_end=True),
    "max_text_tokens": replace(PLAIN, max_text_tokens=4),
    "appended": replace(
        PLAIN, span=PooledTokens.TAIL, appended=AppendedTokens(tokens=("a", "b"), read=1)
    ),
    "late_interaction": replace(
        PLAIN, token_embeddings=True, late_interaction=LateInteraction(skipped=(".",))
    ),
}
# What decides no vector, and so may not divide collections.
APART = {
    "min_dim": replace(PLAIN, min_dim=32),
    "token_embeddings": replace(PLAIN, token_embeddings=True),
    "instruction_template": replace(PLAIN, instruction_template="{instruction} {text}"),
}


def bare(recipe: Recipe) -> Recipe:
    return replace(recipe, min_dim=None, token_embeddings=False, instruction_template=None)


@given(recipes())
def test_a_recipe_survives_json_with_its_digest(recipe: Recipe) -> None:
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.digest() == recipe.digest()


@given(recipes(), recipes())
def test_digests_are_equal_exactly_when_recipes_are(one: Recipe, other: Recipe) -> None:
    alike = bare(one) == bare(other)
    assert (one.digest() == other.digest()) is alike


def test_what_decides_no_vector_leaves_the_digest_as_it_is() -> None:
    assert {recipe.digest() for recipe in APART.values()} == {PLAIN.digest()}


def test_every_other_field_changes_the_digest() -> None:
    assert {*OTHERS, *APART} == {field.name for field in fields(Recipe)}
    digests = {name: recipe.digest() for name, recipe in OTHERS.items()}
    assert len({PLAIN.digest(), *digests.values()}) == len(OTHERS) + 1, digests


@pytest.mark.parametrize(
    "layer",
    [
        Dense(path="3_Dense", inputs=4, outputs=2),
        Dense(path="2_Dense", inputs=5, outputs=2),
        Dense(path="2_Dense", inputs=4, outputs=3),
        Dense(path="2_Dense", inputs=4, outputs=2, bias=False),
        Dense(path="2_Dense", inputs=4, outputs=2, activation=Activation.RELU),
    ],
)
def test_every_field_of_the_head_changes_the_digest(layer: Dense) -> None:
    assert replace(PLAIN, head=(layer,)).digest() != OTHERS["head"].digest()


def test_a_prompt_before_and_after_the_text_are_different_recipes() -> None:
    before, after = Prompt(prefix="x"), Prompt(suffix="x")
    assert (
        replace(PLAIN, query_prompt=before).digest() != replace(PLAIN, query_prompt=after).digest()
    )


def test_defaults_do_not_enter_the_digest_whether_written_or_not() -> None:
    required = {"base", "attention", "pooling", "max_tokens"}
    written = json.loads(PLAIN.to_json())
    # Keys in JSON stay as they were when the fields got other names.
    renamed = {
        "query_prompt": "query",
        "passage_prompt": "passage",
        "text_format": "wording",
        "sparse_head": "lexicon",
        "token_embeddings": "tokens",
        "instruction_template": "instruction",
        "min_dim": "smallest_dim",
    }
    names = {field.name for field in fields(Recipe)}
    assert set(written) == {renamed.get(name, name) for name in names}
    short = json.dumps({name: value for name, value in written.items() if name in required})
    assert Recipe.from_json(short) == PLAIN
    assert Recipe.from_json(short).digest() == PLAIN.digest()


@pytest.mark.parametrize(
    ("recipe", "digest"),
    [(PLAIN, "7adadc203f32cf35"), (RICH, "92576abbdefece20")],
    ids=["plain", "rich"],
)
def test_digests_are_those_of_the_first_release(recipe: Recipe, digest: str) -> None:
    """Collections and bundles in the world hold them: they may never change.

    Computed apart from our code: the head of the SHA-256 of the fields that differ from their
    defaults, written by hand as JSON with sorted keys.
    """
    assert recipe.digest() == digest


@given(recipes(), st.text(min_size=1).filter(lambda name: name not in {*OTHERS, *APART}))
def test_an_unknown_key_is_refused_by_name(recipe: Recipe, name: str) -> None:
    data = json.loads(recipe.to_json())
    data[name] = 1
    with pytest.raises(RecipeError) as refused:
        Recipe.from_json(json.dumps(data))
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("name", ["base", "attention", "pooling", "max_tokens"])
def test_a_missing_key_is_named(name: str) -> None:
    data = json.loads(PLAIN.to_json())
    del data[name]
    with pytest.raises(RecipeError, match=f"'{name}' is missing"):
        Recipe.from_json(json.dumps(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(recipes(), st.sampled_from(sorted({*OTHERS, *APART})), json_values)
def test_a_damaged_value_gives_a_recipe_or_a_recipe_error(
    recipe: Recipe, name: str, value: object
) -> None:
    data = json.loads(recipe.to_json())
    data[name] = value
    try:
        built = Recipe.from_json(json.dumps(data))
    except RecipeError:
        return
    assert Recipe.from_json(built.to_json()) == built


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"recipe"', "3", "{'base': 1}"])
def test_what_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="recipe"):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": ""}, "base"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
        ({"dim": 0}, "dim must be positive or None, got 0"),
        ({"min_dim": 0}, "min_dim must be positive or None, got 0"),
        ({"max_text_tokens": 0}, "max_text_tokens must be positive or None, got 0"),
        ({"eos": ""}, "eos"),
        ({"latent_heads": 0}, "latent_heads must be positive or None, got 0"),
        ({"attention": Attention.CAUSAL, "pooling": Pooling.FIRST}, "causal"),
        (
            {
                "head": (
                    Dense(path="2_Dense", inputs=8, outputs=4),
                    Dense(path="3_Dense", inputs=5, outputs=2),
                )
            },
            "2_Dense gives 4 values, 3_Dense takes 5",
        ),
    ],
)
def test_a_recipe_that_makes_no_sense_cannot_be_built(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(PLAIN, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 4), (4, 0), (-1, 4)])
def test_a_layer_without_width_cannot_be_built(inputs: int, outputs: int) -> None:
    with pytest.raises(RecipeError, match="width"):
        Dense(path="2_Dense", inputs=inputs, outputs=outputs)


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        PLAIN.dim = 3  # type: ignore[misc]


def has_no_slots(prompt: Prompt) -> bool:
    """Return whether a prompt's own words hold nothing that a template reads as a slot."""
    own = prompt.prefix + prompt.suffix
    return "{text}" not in own and "{slot}" not in own


@given(prompts.filter(has_no_slots))
def test_a_prompt_reads_its_own_template(prompt: Prompt) -> None:
    assert Prompt.parse(prompt.template) == prompt


@pytest.mark.parametrize("template", ["", "query: ", "{text} {text} {text}", "{ text }", "{}"])
def test_a_template_without_exactly_one_slot_is_refused(template: str) -> None:
    with pytest.raises(RecipeError, match="exactly once"):
        Prompt.parse(template)


def test_other_braces_in_a_template_stand_for_themselves() -> None:
    assert Prompt.parse("{0} %s {text}{{}}") == Prompt(prefix="{0} %s ", suffix="{{}}")


def test_each_role_has_its_own_prompt() -> None:
    assert RICH.prompt(Role.QUERY) == RICH.query_prompt
    assert RICH.prompt(Role.PASSAGE) == RICH.passage_prompt
