"""Encode short queries behind a prompt: computed once, or with every query.

A seeded decoder in float32 on the CPU, in one process, turn by turn: decant, which computes a
prompt once; the same graph without a prompt, which is handed prompt and query as one text, and so
computes both every time; and sentence-transformers with the prompt. All give the same vectors,
which is checked. One prompt is an instruction of a sentence, the other has three examples besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.corpus import Cutter, load_corpus, some_queries
from bench.decoder import Shape, read_shape, save_decoder
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.peers import Peer, batch_seconds, sentence_transformers, worst_cosine
from bench.report import Amount, Figure, Result, Section, section
from bench.rounds import Contender, interleave
from decant.embedders import Choices, OnnxEncoder, OnStep, ParityError, Role, load
from decant.export import export

_TASK = "Given a question about software, retrieve passages that answer the question"
_EXAMPLES = {
    "how are names looked up": "Names refer to objects. A name is bound by assignment, import, "
    "definition or a loop, and is looked up in the innermost scope that binds it.",
    "what closes a file": "Leaving the block of a with statement calls the file's exit method, "
    "which closes it, whether or not an exception was raised inside.",
    "when is a generator run": "Calling the function makes the generator; its body begins with "
    "the first request for a value and stops at every yield until the next one.",
}
_SHOTS = "".join(f"Query: {asked}\nPassage: {told}\n\n" for asked, told in _EXAMPLES.items())
PROMPTS = {
    "an instruction": f"Instruct: {_TASK}\nQuery: ",
    "an instruction and three examples": f"Instruct: {_TASK}\n\n{_SHOTS}Query: ",
}
_LEAST_COSINE = 0.99999

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        queries: How many different ones.
        decoder: The seeded decoder's sizes.
    """

    common: Common
    queries: int
    decoder: Shape


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    made.add_argument(
        "--queries", type=positive, default=64, help="how many different ones (%(default)s)"
    )
    made.add_argument(
        "--decoder", type=read_shape, default=Shape(), metavar="WIDTHxLAYERS",
        help="the seeded decoder (512x8)",
    )  # fmt: skip
    found = made.parse_args(arguments)
    return Options(common=common(found), queries=found.queries, decoder=found.decoder)


def measure(options: Options, stage: Stage) -> Result:
    """Time every prompt, with queries one by one and all at once."""
    seed = options.common.seed
    decoder = save_decoder(stage.work / "decoder", stage.model, options.decoder, seed=seed)
    stage.on_step("exporting the decoder without a prompt")
    export(decoder, stage.work / "whole")
    whole = load(stage.work / "whole", provider="cpu")
    cutter = Cutter(whole.tokenizer)
    corpus = load_corpus(options.common.data)
    queries = some_queries(corpus, cutter, options.queries, seed=seed)
    peer = sentence_transformers(decoder)
    sections: list[Section] = []
    figures: list[Figure] = []
    for number, (title, prompt) in enumerate(PROMPTS.items()):
        bundle = stage.work / f"prompt{number}"
        stage.on_step(f"exporting the decoder with {title}")
        export(decoder, bundle, choices=Choices(query_prompt=f"{prompt}{{text}}"))
        length = int(median(cutter.tokens([prompt + query for query in queries])))
        figures += [
            Figure(name=f"{title} and a query, median", value=length, unit="tokens"),
            Figure(name="a query alone", value=median(cutter.tokens(queries)), unit="tokens"),
        ]
        with load(bundle, provider="cpu") as once:
            both = _Both(once=once, whole=whole, peer=peer, prompt=prompt, queries=queries)
            both.agree()
            sections += both.sections(title, cutter, options.common.rounds, stage.on_step)
    return Result(
        benchmark="prompts",
        circumstances=circumstances(),
        seed=seed,
        settings={"decoder": str(options.decoder), "corpus": corpus.name},
        sections=tuple(sections),
        figures=tuple(figures),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    """One prompt's contenders."""

    once: OnnxEncoder
    whole: OnnxEncoder
    peer: Peer
    prompt: str
    queries: Sequence[str]

    def agree(self) -> None:
        """Check that all give the same vectors; all are warm afterwards.

        Raises:
            ParityError: Two differ.
        """
        ours = self._once(self.queries)
        for other in (self._whole, partial(self._theirs, batch=8)):
            if (worst := worst_cosine(ours, other(self.queries))) < _LEAST_COSINE:
                raise ParityError(f"the vectors differ, worst cosine {worst:.6f}")

    def sections(
        self, title: str, cutter: Cutter, rounds: int, on_step: OnStep
    ) -> Iterator[Section]:
        """Time queries one by one, and all at once."""
        amount = Amount(chunks=len(self.queries), tokens=sum(cutter.tokens(self.queries)))
        sweep = batch_seconds(self.peer, [self.prompt + query for query in self.queries])
        batch = min(sweep, key=sweep.__getitem__)
        alone: dict[str, Embed] = {
            "prompt computed once": partial(_singly, self._once),
            "prompt computed with every query": partial(_singly, self._whole),
            "sentence-transformers": partial(_singly, partial(self._theirs, batch=1)),
        }
        together: dict[str, Embed] = {
            "prompt computed once": self._once,
            "prompt computed with every query": self._whole,
            f"sentence-transformers, batch {batch}": partial(self._theirs, batch=batch),
        }
        for kind, embeds in {"one by one": alone, "all at once": together}.items():
            contenders = [
                Contender(name=name, settings="its defaults", run=partial(embed, self.queries))
                for name, embed in embeds.items()
            ]
            laps = interleave(contenders, rounds=rounds, on_step=on_step)
            yield section(f"{title}, {kind}", contenders, laps, dict.fromkeys(laps, amount))

    def _once(self, queries: Sequence[str]) -> NDArray[np.float32]:
        return self.once.encode(queries, role=Role.QUERY).dense

    def _whole(self, queries: Sequence[str]) -> NDArray[np.float32]:
        texts = [self.prompt + query for query in queries]
        return self.whole.encode(texts, role=Role.QUERY).dense

    def _theirs(self, queries: Sequence[str], *, batch: int) -> NDArray[np.float32]:
        return self.peer.embed([self.prompt + query for query in queries], batch)


def _singly(embed: Embed, queries: Sequence[str]) -> NDArray[np.float32]:
    return np.concatenate([embed([query]) for query in queries])


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
