"""Encode the same real texts with decant, sentence-transformers and fastembed, and compare.

All run all-MiniLM-L6-v2 in fp32 on the CPU, in one process, turn by turn. Vectors are compared
before anything is timed. Each peer runs with its default batch size and with the one that is
fastest on a sample of the very texts; decant runs with its defaults. The products of the model's
shapes run alone, too: the machine's ceiling. For two cores of a larger machine: taskset -c 0,1
python benchmarks/encode.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bench.ceiling import ceilings
from bench.corpus import LONGEST, Cutter, load_corpus
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive, read_runtime
from bench.peers import Peer, batch_seconds, fastembed, sentence_transformers, worst_cosine
from bench.report import Amount, Figure, Result, Section, Target, lowest_speed_up, section
from bench.rounds import Contender, interleave
from decant.embedders import ExecutionOptions, OnnxEncoder, ParityError, Role, load

PEERS = ("sentence-transformers", "fastembed")
WANTED = {"sentence-transformers": 1.4, "fastembed": 3.0}
MIXED = "mixed lengths"
SAME = 0.9999
_SAMPLE = 0.2  # of the texts, for sweeps and warm-ups
_COMPARED = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        tokens: Tokens of mixed lengths in a run; half of it for each of ``lengths``.
        lengths: Further runs, each with texts a little under so many tokens.
        peers: Whom to compare with.
        runtimes: Further settings of decant to show.
    """

    common: Common
    tokens: int
    lengths: tuple[int, ...]
    peers: tuple[str, ...]
    runtimes: tuple[ExecutionOptions, ...]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    made.add_argument(
        "--tokens", type=positive, default=24_000, help="size of the mixed run (%(default)s)"
    )
    made.add_argument(
        "--lengths", type=positive, nargs="*", default=[32, 128, 256],
        help="further runs, half the size, with texts a little under so many tokens (%(default)s)",
    )  # fmt: skip
    made.add_argument(
        "--peers", nargs="*", default=list(PEERS), choices=PEERS, help="whom to compare with (all)"
    )
    made.add_argument(
        "--runtime", type=read_runtime, action="append", default=[], metavar="WxTxB",
        help="show decant also with W workers of T threads and batches of B tokens",
    )  # fmt: skip
    found = made.parse_args(arguments)
    return Options(
        common=common(found),
        tokens=found.tokens,
        lengths=tuple(found.lengths),
        peers=tuple(found.peers),
        runtimes=tuple(found.runtime),
    )


def measure(options: Options, stage: Stage) -> Result:
    """Compare vectors, then speed."""
    runtimes = (ExecutionOptions(), *options.runtimes)
    encoders = [load(stage.bundle, provider="cpu", runtime=runtime) for runtime in runtimes]
    ours = encoders[0]
    corpus = load_corpus(options.common.data)
    cutter = Cutter(ours.tokenizer, longest=min(LONGEST, ours.recipe.max_tokens))
    seed = options.common.seed
    sets = {MIXED: cutter.mixed(corpus, options.tokens, seed=seed)}
    for length in options.lengths:
        sets[f"{length} tokens"] = cutter.near(corpus, length, options.tokens // 2, seed=seed)
    peers = [_peer(name, stage) for name in options.peers]
    agree(ours, peers, sets[MIXED][:_COMPARED])
    notes = {"corpus": corpus.name}
    sections = []
    shares: list[Figure] = []
    for title, texts in sets.items():
        on_step = partial(_name_step, stage, title)
        contenders = [_contender(*pair, texts) for pair in zip(encoders, runtimes, strict=True)]
        for peer in peers:
            on_step(f"the fastest batch size of {peer.name}")
            sweep = batch_seconds(peer, _sample(texts))
            shown = ", ".join(f"{batch}: {seconds:.2f} s" for batch, seconds in sweep.items())
            notes[f"batch sizes of {peer.name}, {title}"] = shown
            contenders += _contenders(peer, texts, best=min(sweep, key=sweep.__getitem__))
        amount = Amount(chunks=len(texts), tokens=sum(cutter.tokens(texts)))
        on_step("the products of its shapes alone")
        with ceilings({contenders[0].name: ours}, amount.tokens) as rows:
            contenders += [row.contender for row in rows]
            laps = interleave(contenders, rounds=options.common.rounds, on_step=on_step)
        amounts = dict.fromkeys(laps, amount) | {row.contender.name: row.amount for row in rows}
        sections.append(section(title, contenders, laps, amounts))
        shares += [row.figure(title, laps, amounts) for row in rows]
    return Result(
        benchmark="encode",
        circumstances=circumstances(),
        seed=seed,
        settings=notes,
        sections=tuple(sections),
        figures=tuple(shares),
        targets=tuple(_targets(sections[0], options.peers)),
    )


def agree(ours: OnnxEncoder, peers: Sequence[Peer], texts: Sequence[str]) -> None:
    """Check that all give the same vectors.

    Raises:
        ParityError: Two differ.
    """
    vectors = ours.encode(texts, role=Role.PASSAGE).dense
    for peer in peers:
        worst = worst_cosine(vectors, peer.embed(texts, 8))
        if worst < SAME:
            raise ParityError(
                f"{peer.name} gives other vectors than decant: worst cosine {worst:.6f}, at least "
                f"{SAME} is needed for a comparison; are model and bundle the same?"
            )


def _peer(name: str, stage: Stage) -> Peer:
    stage.on_step(f"loading {name}")
    if name == "fastembed":
        return fastembed(stage.model, stage.work)
    return sentence_transformers(stage.model)


def _contender(encoder: OnnxEncoder, runtime: ExecutionOptions, texts: Sequence[str]) -> Contender:
    """Return decant; with its default settings it bears no numbers in its name."""
    used = runtime.settled(encoder.provider)
    label = f"decant {used.workers}x{used.threads}x{used.token_budget}"
    return Contender(
        name="decant" if runtime == ExecutionOptions() else label,
        settings=(
            f"workers={used.workers}, threads={used.threads}, token_budget={used.token_budget}"
        ),
        run=lambda: encoder.encode(texts, role=Role.PASSAGE),
        warm_up=lambda: encoder.encode(_sample(texts), role=Role.PASSAGE),
    )


def _contenders(peer: Peer, texts: Sequence[str], *, best: int) -> list[Contender]:
    """Return the peer at its best batch size, and at its default if that is another."""
    batches = {best: "the fastest batch size of a sweep"}
    batches.setdefault(peer.default_batch, "the default batch size")
    return [
        Contender(
            name=f"{peer.name}, batch {batch}",
            settings=f"{kind}; {peer.threads}",
            run=partial(peer.embed, texts, batch),
            warm_up=partial(peer.embed, _sample(texts), batch),
        )
        for batch, kind in batches.items()
    ]


def _name_step(stage: Stage, title: str, what: str) -> None:
    stage.on_step(f"{title}: {what}")


def _sample(texts: Sequence[str]) -> Sequence[str]:
    return texts[: max(16, int(len(texts) * _SAMPLE))]


def _targets(mixed: Section, peers: Sequence[str]) -> list[Target]:
    return [
        Target(
            name=f"decant against {peer} at its fastest, {MIXED}",
            wanted=WANTED[peer],
            measured=lowest_speed_up(mixed, peer),
            unit="times as fast",
        )
        for peer in peers
    ]


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
