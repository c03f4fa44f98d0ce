"""The files that let sentence-transformers open a bundle: its module, and its prompts by name.

They hold no setting of decant's, because each reader of a bundle reads its recipe. They hold the
prompts so that sentence-transformers shows them and passes on the name that a caller gives.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..files import write_atomically
from ..recipe.prompt import Prompt, Role
from ..recipe.recipe import Recipe

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
SENTENCE_FILES = (MODULES, SETTINGS)

_MODULE = "decant.integrations.sentence_transformers.BundleModule"
_NAMES = {Role.QUERY: "query", Role.PASSAGE: "document"}


def prompt_text(prompt: Prompt) -> str:
    """Return a prompt in sentence-transformers' form: the text before the input.

    A prompt with more than that is returned as a whole template.

    >>> prompt_text(Prompt.parse("query: {text}"))
    'query: '
    >>> prompt_text(Prompt.parse("{text}, in one word:"))
    '{text}, in one word:'
    """
    return prompt.prefix if prompt == Prompt(prefix=prompt.prefix) else prompt.template


def sentence_prompts(recipe: Recipe) -> dict[str, str]:
    """Return a recipe's prompts by the names under which sentence-transformers asks for them."""
    return {name: prompt_text(recipe.prompt(role)) for role, name in _NAMES.items()}


def write_sentence_files(folder: Path, recipe: Recipe) -> list[str]:
    """Write those of :data:`SENTENCE_FILES` that ``folder`` does not hold, and return their names.

    The default prompt is that of passages, if they have one, because ``encode`` takes texts for
    passages; sentence-transformers then shows that default.
    """
    prompts = sentence_prompts(recipe)
    document = _NAMES[Role.PASSAGE]
    held: dict[str, object] = {
        MODULES: [{"idx": 0, "name": "0", "path": "", "type": _MODULE}],
        SETTINGS: {
            "model_type": "SentenceTransformer",
            "prompts": prompts,
            "default_prompt_name": document if prompts[document] else None,
            "similarity_fn_name": "cosine",
        },
    }
    missing = [name for name in SENTENCE_FILES if not (folder / name).exists()]
    for name in missing:
        write_atomically(folder / name, json.dumps(held[name], indent=2) + "\n")
    return missing
