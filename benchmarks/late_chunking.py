"""What late chunking is worth: MiniLM on the paragraphs of XQuAD's 48 articles.

The set holds five paragraphs of each article in a row, which need not follow each other there.
Articles of one paragraph are the control: a late chunk is then the paragraph alone, but for the
states of special tokens, which belong to no chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import circumstances
from bench.minilm import bundle
from bench.options import Common, common, conduct, parser, positive
from bench.report import Figure, Result
from decant.embedders import OnStep, load
from decant.evaluation import Bootstrap, Chunkings, LateChunking, consecutive, read_beir

_SET = "retrieval/xquad_en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark; a bundle that is given has token states.
        paragraphs: How many an article has, one run each.
        max_tokens: What the model reads at once, if a bundle is exported.
    """

    common: Common
    paragraphs: tuple[int, ...]
    max_tokens: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=1)
    made.add_argument(
        "--paragraphs",
        type=positive,
        nargs="+",
        default=[1, 5],
        metavar="N",
        help="paragraphs of an article, one run each (%(default)s)",
    )
    made.add_argument("--max-tokens", type=positive, default=256, help="read at once (%(default)s)")
    found = made.parse_args(arguments)
    return Options(
        common=common(found), paragraphs=tuple(found.paragraphs), max_tokens=found.max_tokens
    )


def measure(options: Options, work: Path, on_step: OnStep) -> Result:
    """Score both ways for each length of article."""
    chosen = options.common
    folder = chosen.bundle or bundle(
        chosen.model, work, max_tokens=options.max_tokens, tokens=True, on_step=on_step
    )
    data = read_beir(chosen.data / _SET)
    figures: list[Figure] = []
    with load(folder, provider="cpu", precision="fp32") as encoder:
        for count in options.paragraphs:
            on_step(f"articles of {count}")
            articles = consecutive(data, count)
            bootstrap = Bootstrap(seed=chosen.seed)
            task = LateChunking(data=data, articles=articles, bootstrap=bootstrap)
            figures += figures_of(f"articles of {count}", task.both(encoder))
        length = encoder.recipe.max_tokens
    return Result(
        benchmark="late_chunking",
        circumstances=circumstances(),
        seed=chosen.seed,
        settings={"max tokens": str(length)},
        sections=(),
        figures=tuple(figures),
        targets=(),
    )


def figures_of(label: str, both: Chunkings) -> Iterator[Figure]:
    """Yield values with their intervals, differences with theirs, and the coverage."""
    for way, measurements in (("alone", both.alone), ("late", both.late)):
        for one in measurements:
            score = one.score
            for part, value in (("", score.value), (" low", score.low), (" high", score.high)):
                name = f"{label}, {score.metric}, {way}{part}"
                yield Figure(name=name, value=100 * value, unit="points")
    for found in both.comparisons():
        name, difference = f"{label}, {found.metric}, late - alone", found.difference
        ends = (("", difference.value), (" low", difference.low), (" high", difference.high))
        for part, value in ends:
            yield Figure(name=f"{name}{part}", value=100 * value, unit="points")
        if difference.p_value is not None:
            yield Figure(name=f"{name}, p", value=difference.p_value, unit="")
    score = both.late[0].score
    yield Figure(name=f"{label}, queries", value=score.cases, unit="")
    yield Figure(name=f"{label}, coverage", value=100 * score.coverage, unit="%")


if __name__ == "__main__":
    asked = parse()
    conduct(asked.common.output, lambda work, on_step: measure(asked, work, on_step))
