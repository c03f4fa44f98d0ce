"""Find the recipe of a reranker, and raise an error if no source specifies a part of it.

The user's choices come first, then the rows of known models, then the folder's own files:
Transformers' sequence classification, and sentence-transformers' ``CrossEncoder`` (up to 6, also
with ``LogitScore``). Only JSON files are read here, no weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .. import json_records
from ..errors import RecipeError
from ..recipe.enums import Attention, Pooling
from ..recipe.recipe import Recipe
from ..recipe.rerank_recipe import (
    ClassifierLabel,
    LabelTokens,
    PairFormat,
    RerankRecipe,
    ScoreActivation,
)
from ..sources.architectures import said_attention, unsaid_attention
from ..sources.chat_templates import chat_template, pair_conversation, without_start
from ..sources.config_files import Object, count, part, settings
from ..sources.find import ModelFiles
from ..sources.resolver import longest_input
from ..tokens.load import load_tokenizer
from .choices import RerankChoices, known_reranker

_CLASSIFIER = "ForSequenceClassification"
_LOGIT_SCORE = "LogitScore"
_CROSS_ENCODER = "CrossEncoder"
_LENGTH = 512
_INSTRUCTION = "{instruction}"
# Settings of tokenising, which stand among those of the template; see its Transformer module.
_NOT_OF_THE_TEMPLATE = (
    "restore_suffix",
    "truncation",
    "max_length",
    "padding",
    "tokenize",
    "return_dict",
    "return_tensors",
)
_ACTIVATIONS = {"Sigmoid": ScoreActivation.SIGMOID, "Identity": ScoreActivation.IDENTITY}


def is_reranker(source: ModelFiles, choices: RerankChoices | None = None) -> bool:
    """Return whether a model is a reranker: by choices, name, or its folder.

    Raises:
        RecipeError: A file of the folder is damaged.
    """
    if choices is not None and choices.says_reranker:
        return True
    row = known_reranker(source.base)
    if row is not None and row.true_token is not None:  # others show it in their files
        return True
    folder = source.folder
    kinds = _modules(folder)
    if kinds and _sentence_settings(folder).get("model_type") != _CROSS_ENCODER:
        return any(kind.endswith(_LOGIT_SCORE) for kind in kinds)
    return bool(kinds) or _is_classifier(settings(folder / "config.json"))


def resolve_reranker(source: ModelFiles, choices: RerankChoices | None = None) -> RerankRecipe:
    """Return the recipe of a reranker.

    Args:
        source: The model's files.
        choices: The user's choices; they override everything.

    Raises:
        RecipeError: No source specifies a part: the template of a causal model, its label tokens,
            which of several outputs is the score, its attention; or files contradict each other.
    """
    config = settings(source.folder / "config.json")
    own = choices or RerankChoices()
    said = own
    row = known_reranker(source.base)
    said = said if row is None else said.over(row)
    classifies = _is_classifier(config) and own.true_token is None
    if classifies:  # a known language model, made into a classifier
        said = replace(said, true_token=None, false_token=None)
    said = said.over(_folder_choices(source.folder, config, classifies=classifies))
    attention = said.attention or said_attention(config)
    if attention is None:
        raise RecipeError(unsaid_attention(source.folder, source.base))
    causal = attention is Attention.CAUSAL
    label = _label(source, config, said) if classifies else None
    tokens = None if classifies else _tokens(source, said)
    if causal and said.pair_template is None and not _is_cross_encoder(source.folder, config):
        raise RecipeError(
            f"{source.base} is a causal model, and without the template that it was trained with "
            "its scores are next to random; name one with {query} and {text} (--pair-template), "
            "as its model card says"
        )
    model = Recipe(
        base=source.base,
        revision=source.revision,
        attention=attention,
        pooling=said.pooling or _pooling(config, attention),
        max_tokens=said.max_tokens or longest_input(source.folder, config) or _LENGTH,
        normalize=False,
        # A template ends where the model was trained to answer.
        open_end=causal and said.pair_template is not None,
    )
    template = said.pair_template
    takes_one = template is not None and "{instruction}" in template
    return RerankRecipe(
        model=model,
        pair=PairFormat(
            template=template,
            instruction=said.instruction if takes_one else own.instruction,
        ),
        label=label,
        tokens=tokens,
        activation=said.activation or _activation(label),
    )


def resolve_new_reranker(source: ModelFiles, choices: RerankChoices | None = None) -> RerankRecipe:
    """Return the recipe of the reranker that training makes of an encoder, with a new classifier.

    The classifier has one output, the pair is the tokenizer's own, and scores are raw unless an
    activation is chosen: losses of order let scores grow to where a sigmoid is 1 for all of them.

    Args:
        source: The encoder's files.
        choices: The user's choices.

    Raises:
        RecipeError: The model is causal, so that label tokens and a template have to be named; or a
            choice is for another kind of reranker.
    """
    config = settings(source.folder / "config.json")
    said = choices or RerankChoices()
    attention = said.attention or said_attention(config)
    if attention is not Attention.BIDIRECTIONAL or said.says_reranker:
        return resolve_reranker(source, said)  # says by name what is missing
    return RerankRecipe(
        model=Recipe(
            base=source.base,
            revision=source.revision,
            attention=attention,
            pooling=said.pooling or _pooling(config, attention),
            max_tokens=said.max_tokens or longest_input(source.folder, config) or _LENGTH,
            normalize=False,
        ),
        pair=PairFormat(instruction=said.instruction),
        label=ClassifierLabel(),
        activation=said.activation or ScoreActivation.IDENTITY,
    )


def _folder_choices(folder: Path, config: Object, *, classifies: bool) -> RerankChoices:
    """Return the choices in a folder's own files."""
    template, instruction, true, false = None, None, None, None
    if not classifies and any(kind.endswith(_LOGIT_SCORE) for kind in _modules(folder)):
        true, false = _label_tokens(folder)
    # Of other folders the chat template is that of a conversation, which shows any role's turn.
    if _modules(folder):
        template, instruction = _template(folder)
    return RerankChoices(
        pair_template=template,
        instruction=instruction,
        true_token=true,
        false_token=false,
        activation=_said_activation(folder, config),
    )


def _template(folder: Path) -> tuple[str | None, str | None]:
    """Return the pair's template that the folder's chat template renders, and its instruction.

    The instruction is sentence-transformers' default prompt, the turn of the system, if it stands
    before the query as it is. Without a template both are None. A chat template of a language model
    that knows no roles ``query`` and ``document`` is none.

    Raises:
        RecipeError: It puts the query behind the passage, or one of them twice.
    """
    tokenizer = load_tokenizer(folder)
    chat = chat_template(folder, tokenizer)
    if chat is None:
        return None, None
    held = _sentence_settings(folder)
    prompts, name = part(held, "prompts"), held.get("default_prompt_name")
    system = prompts.get(name) if isinstance(name, str) else None
    asked = part(
        settings(folder / "sentence_bert_config.json", required=False), "processing_kwargs"
    )
    values = {
        name: value
        for name, value in part(asked, "chat_template").items()
        if name not in _NOT_OF_THE_TEMPLATE
    }

    def rendered(turn: str | None) -> str | None:
        found = pair_conversation(chat, "{query}", "{text}", system=turn, values=values)
        return None if found is None else without_start(found, tokenizer)

    if not isinstance(system, str):
        return rendered(None), None
    whole, place = rendered(system), rendered(_INSTRUCTION)
    if whole is None or place is None or place.replace(_INSTRUCTION, system) != whole:
        return whole, None
    before, _, after = place.partition(_INSTRUCTION)
    if "{query}" in before or _INSTRUCTION in after:
        return whole, None
    return place, system


def _label_tokens(folder: Path) -> tuple[str, str | None]:
    """Return the label tokens of sentence-transformers' LogitScore.

    Raises:
        RecipeError: Its configuration is missing, or names ids that the tokenizer does not have.
    """
    listed = json_records.read_json(folder / "modules.json", error=RecipeError)
    entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    module = next(one for one in entries if str(one.get("type")).endswith(_LOGIT_SCORE))
    held = settings(folder / str(module.get("path")) / "config.json")
    tokenizer = load_tokenizer(folder)
    found: list[str | None] = []
    for name in ("true_token_id", "false_token_id"):
        number = held.get(name)
        if number is None and name == "false_token_id":
            found.append(None)
            continue
        token = tokenizer.id_to_token(number) if type(number) is int and number >= 0 else None
        if token is None:
            raise RecipeError(
                f"{folder / str(module.get('path'))}: {name} {number!r} is no token of the "
                "tokenizer; correct it"
            )
        found.append(token)
    true, false = found
    assert true is not None
    return true, false


def _tokens(source: ModelFiles, said: RerankChoices) -> LabelTokens:
    if said.true_token is None:
        raise RecipeError(
            f"{source.base} is a language model without a classifier, and nothing says which "
            "tokens its score is read from; name them as the vocabulary spells them (--true-token "
            "yes --false-token no) and its template (--pair-template), as its model card says"
        )
    return LabelTokens(true=said.true_token, false=said.false_token)


def _label(source: ModelFiles, config: Object, said: RerankChoices) -> ClassifierLabel:
    """Return which output of the classifier is the score.

    Raises:
        RecipeError: There are several, and none was named; or there is no such output.
    """
    names = part(config, "id2label")
    outputs = len(names) or count(config.get("num_labels")) or 2  # Transformers' default
    shown = [str(names.get(str(number), number)) for number in range(outputs)]
    if said.label is None and outputs > 1:
        raise RecipeError(
            f"the classifier of {source.base} has {outputs} outputs ({', '.join(shown)}), and a "
            "score is one number; name the output that says that a passage answers its query "
            "(--label), and perhaps one to subtract (--against)"
        )

    def number_of(name: str | None) -> int | None:
        if name is None:
            return None
        if name in shown:
            return shown.index(name)
        if name.isdecimal() and int(name) < outputs:
            return int(name)
        raise RecipeError(
            f"the classifier of {source.base} has no output {name!r}; it has {', '.join(shown)}"
        )

    return ClassifierLabel(
        index=number_of(said.label) or 0, count=outputs, against=number_of(said.against)
    )


def _activation(label: ClassifierLabel | None) -> ScoreActivation:
    """Return sentence-transformers' default: sigmoid for one output, else nothing."""
    several = label is not None and label.count > 1
    return ScoreActivation.IDENTITY if several else ScoreActivation.SIGMOID


def _said_activation(folder: Path, config: Object) -> ScoreActivation | None:
    """Return the activation in the folder's files; None if they name none.

    Raises:
        RecipeError: They name one that is neither sigmoid nor identity.
    """
    named = [
        _sentence_settings(folder).get("activation_fn"),
        part(config, "sentence_transformers").get("activation_fn"),
        config.get("sbert_ce_default_activation_function"),
    ]
    for name in named:
        if isinstance(name, str):
            last = name.rpartition(".")[2]
            if last not in _ACTIVATIONS:
                raise RecipeError(
                    f"{folder} names the activation {name}, and decant knows Sigmoid and Identity; "
                    "name the one you want (--activation)"
                )
            return _ACTIVATIONS[last]
    return None


def _pooling(config: Object, attention: Attention) -> Pooling:
    if config.get("classifier_pooling") == "mean":  # ModernBERT
        return Pooling.MEAN
    return Pooling.LAST if attention is Attention.CAUSAL else Pooling.FIRST


def _is_classifier(config: Object) -> bool:
    classes = config.get("architectures")
    return isinstance(classes, list) and any(str(one).endswith(_CLASSIFIER) for one in classes)


def _is_cross_encoder(folder: Path, config: Object) -> bool:
    """Return whether sentence-transformers wrote the folder as a ``CrossEncoder``."""
    written = _sentence_settings(folder).get("model_type") == _CROSS_ENCODER
    return written or "sentence_transformers" in config


def _modules(folder: Path) -> list[str]:
    path = folder / "modules.json"
    listed = json_records.read_json(path, error=RecipeError) if path.is_file() else ()
    entries = listed if isinstance(listed, list) else ()
    return [str(one.get("type")) for one in entries if isinstance(one, dict)]


def _sentence_settings(folder: Path) -> Object:
    return settings(folder / "config_sentence_transformers.json", required=False)
