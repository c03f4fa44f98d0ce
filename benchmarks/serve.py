"""Measure ``decant serve``: clients of one text each, a bulk load beside them, memory, its end.

The texts of the clients are chunks of all lengths, and the offline side encodes the same chunks of
the same bundle in one call. Both are timed in turns, and ratios are taken within a round: on a
machine that others use, two minutes differ more than the two sides do. With ``--fastapi``, what
people write today is asked in the same rounds: FastAPI around sentence-transformers; ``--model``
and ``--bundle`` have to be the same model then. All servers share the processors with the clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median

from bench.corpus import Cutter, load_corpus, some_queries
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, conduct, parser, positive
from bench.report import Figure, Findings, Result
from bench.report import Target as Goal
from bench.rounds import Spread, timed
from bench.serving.clients import Answers, Target, ask_all, ask_beside_load, ask_until_it_ends
from bench.serving.servers import (
    NAME,
    Started,
    decant_command,
    hash_command,
    started,
    wrapper_command,
)
from decant.embedders import OnStep, Role, load

_OFFLINE_SHARE = 0.8
_SLOWDOWN = 3.0
_GROWTH = 5.0  # percent
_OURS = "decant serve"
_CLIENTS = (1, 8, 64)
_BULK = 256  # texts of a large request


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        tokens: How many tokens the texts of the clients have.
        queries: How many queries are timed.
        requests: How many requests memory is watched over; 0 leaves that out.
        fastapi: Whether FastAPI around sentence-transformers is asked, too.
        bundle_parts: Whether anything is measured that needs a bundle.
    """

    common: Common
    tokens: int
    queries: int
    requests: int
    fastapi: bool
    bundle_parts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What clients send.

    Args:
        chunks: Texts of all lengths.
        tokens: How many tokens of all chunks the model reads; what it cuts off does not count.
        queries: Short texts.
    """

    chunks: list[str]
    tokens: int
    queries: list[str]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    made.add_argument(
        "--tokens",
        type=positive,
        default=60_000,
        help="of the texts that clients send (%(default)s)",
    )
    made.add_argument(
        "--queries", type=positive, default=1_000, help="that are timed in each round (%(default)s)"
    )
    made.add_argument(
        "--requests",
        type=int,
        default=0,
        help="watch the server's memory over so many requests, without a model (%(default)s)",
    )
    made.add_argument(
        "--fastapi", action="store_true", help="ask FastAPI around sentence-transformers, too"
    )
    made.add_argument(
        "--memory-only", action="store_true", help="measure nothing that needs a bundle"
    )
    found = made.parse_args(arguments)
    return Options(
        common=common(found),
        tokens=found.tokens,
        queries=found.queries,
        requests=found.requests,
        fastapi=found.fastapi,
        bundle_parts=not found.memory_only,
    )


def measure(options: Options, stage: Stage) -> Result:
    """Measure all that was asked for."""
    settings = {"clients": " ".join(map(str, _CLIENTS)), "bulk": f"{_BULK} texts a request"}
    found = Findings()
    if options.bundle_parts:
        corpus = load_corpus(options.common.data)
        settings["corpus"] = corpus.name
        with load(stage.bundle, provider="cpu", precision="fp32") as encoder:
            cutter, longest = Cutter(encoder.tokenizer), encoder.recipe.max_tokens
            chunks = cutter.mixed(corpus, options.tokens, seed=options.common.seed)
            texts = Texts(
                chunks=chunks,
                tokens=sum(min(count, longest) for count in cutter.tokens(chunks)),
                queries=some_queries(corpus, cutter, options.queries, seed=options.common.seed),
            )

            def offline() -> object:
                return encoder.encode(chunks, role=Role.PASSAGE)

            with ExitStack() as opened:
                server = opened.enter_context(started(decant_command(stage.bundle)))
                targets = {_OURS: _target(server, Role.PASSAGE)}
                if options.fastapi:
                    wrapper = opened.enter_context(started(wrapper_command(stage.model)))
                    targets["FastAPI"] = Target(port=wrapper.port)
                rounds = options.common.rounds
                found = throughput(targets, offline, texts, rounds=rounds, on_step=stage.on_step)
                found = found.and_then(latency(server, texts, rounds=rounds, on_step=stage.on_step))
                found = found.and_then(ending(server, texts, stage))
    if options.requests:
        found = found.and_then(memory(options.requests, stage))
    return Result(
        benchmark="serve",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings=settings,
        sections=found.sections,
        figures=found.figures,
        targets=found.targets,
    )


def throughput(
    targets: Mapping[str, Target],
    offline: Callable[[], object],
    texts: Texts,
    *,
    rounds: int,
    on_step: OnStep,
) -> Findings:
    """Time clients of one text each, of every server, in turns with offline encoding.

    Args:
        targets: The servers by name, ours among them.
        offline: Encodes all chunks in one call.
        texts: The texts.
        rounds: How often each is timed.
        on_step: Called with the name of each step as it begins.
    """
    offline()
    for target in targets.values():
        asyncio.run(ask_all(target, texts.chunks[:64], clients=8))
    sides = [(name, clients) for name in targets for clients in _CLIENTS]
    alone, walls = list[float](), {side: list[float]() for side in sides}
    answers = {side: Answers() for side in sides}
    for number in range(rounds):
        on_step(f"offline and clients, round {number + 1} of {rounds}")
        alone.append(timed(offline).wall)
        for side in sides if number % 2 else reversed(sides):
            found = asyncio.run(ask_all(targets[side[0]], texts.chunks, clients=side[1]))
            walls[side].append(found.wall)
            answers[side].seconds += found.seconds
    figures = [Figure(name="offline encode", value=texts.tokens / median(alone), unit="tokens/s")]
    shares = dict[tuple[str, int], float]()
    for side in sides:
        name = f"{side[0]}, {side[1]} clients"
        share = Spread.of([one / wall for one, wall in zip(alone, walls[side], strict=True)])
        speed = texts.tokens / median(walls[side])
        figures.append(Figure(name=name, value=speed, unit="tokens/s"))
        for what, value in (
            ("lowest", share.low),
            ("median", share.median),
            ("highest", share.high),
        ):
            figures.append(Figure(name=f"{name}, {what} share", value=value, unit="of offline"))
        figures += _percentiles(name, answers[side])
        shares[side] = share.median
    goal = Goal(
        name=f"{_CLIENTS[-1]} clients against offline encode, median of rounds",
        wanted=_OFFLINE_SHARE,
        measured=shares[_OURS, _CLIENTS[-1]],
        unit="of its tokens/s",
    )
    return Findings(figures=tuple(figures), targets=(goal,))


def latency(server: Started, texts: Texts, *, rounds: int, on_step: OnStep) -> Findings:
    """Time queries alone and beside a client that sends passages without a pause, in turns."""
    queries, passages = _target(server, Role.QUERY), _target(server, Role.PASSAGE)
    load = [
        passages.request(*texts.chunks[start : start + _BULK])
        for start in range(0, len(texts.chunks), _BULK)
    ]
    figures, goals = list[Figure](), list[Goal]()
    for clients in _CLIENTS:
        alone, beside = Answers(), Answers()
        for number in range(rounds):
            on_step(f"queries of {clients} clients, round {number + 1} of {rounds}")
            found = asyncio.run(ask_all(queries, texts.queries, clients=clients))
            alone.seconds += found.seconds
            found = asyncio.run(ask_beside_load(queries, texts.queries, clients=clients, load=load))
            beside.seconds += found.seconds
        figures += _percentiles(f"queries of {clients} clients", alone)
        figures += _percentiles(f"queries of {clients} clients beside a load", beside)
        goals.append(
            Goal(
                name=f"p99 of queries of {clients} clients beside a load, without one pass",
                wanted=_SLOWDOWN,
                measured=(beside.percentile(99) - _longest_pass(server)) / alone.percentile(99),
                unit="times p99 alone",
                at_most=True,
            )
        )
    return Findings(figures=tuple(figures), targets=tuple(goals))


def ending(server: Started, texts: Texts, stage: Stage) -> Findings:
    """Stop the server with 64 clients at work, and count the requests that it loses."""
    stage.on_step("SIGTERM under load")
    target = _target(server, Role.PASSAGE)

    async def run() -> tuple[Answers, int]:
        stop = asyncio.Event()
        asking = asyncio.create_task(
            ask_until_it_ends(target, texts.chunks, clients=_CLIENTS[-1], stop=stop)
        )
        await asyncio.sleep(3)
        stop.set()
        code = await asyncio.to_thread(server.terminate)
        return await asking, code

    found, code = asyncio.run(run())
    lost = Goal(
        name="accepted requests lost at SIGTERM under load",
        wanted=0,
        measured=found.lost,
        unit="requests",
        at_most=True,
    )
    figures = (
        Figure(name="answered until SIGTERM under load", value=len(found.seconds), unit="requests"),
        Figure(name="exit code after it", value=code, unit=""),
    )
    return Findings(figures=figures, targets=(lost,))


def memory(requests: int, stage: Stage) -> Findings:
    """Watch the memory of a server over many requests, from the first tenth of them on."""
    texts = [f"text number {number} of a client" for number in range(max(10, requests // 10))]
    held = list[float]()
    with started(hash_command()) as server:
        target = Target(port=server.port)
        for tenth in range(1, 11):
            stage.on_step(f"memory, {tenth} of 10")
            asyncio.run(ask_all(target, texts, clients=8))
            held.append(server.resident)
    growth = 100 * (held[-1] / held[0] - 1)
    goal = Goal(
        name=f"growth of memory over {requests:,} requests",
        wanted=_GROWTH,
        measured=growth,
        unit="%",
        at_most=True,
    )
    figures = [
        Figure(name=f"memory after {tenth} of 10 parts", value=value, unit="MB")
        for tenth, value in enumerate(held, 1)
    ]
    return Findings(figures=tuple(figures), targets=(goal,))


def _longest_pass(server: Started) -> float:
    """Return what the slowest hundredth of passes of passages took at least, in milliseconds.

    The histogram tells between which bounds that is. The lower one is taken off a query's time, so
    that its goal is rather missed than met by the width of a bucket.
    """
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    passes = [
        (float(line.split('le="')[1].split('"')[0]), float(line.rsplit(" ", 1)[1]))
        for line in lines
        if line.startswith("decant_pass_seconds_bucket") and 'lane="long"' in line
    ]
    most = 0.99 * passes[-1][1]
    return 1000 * max((bound for bound, count in passes if count < most), default=0.0)


def _percentiles(name: str, found: Answers) -> list[Figure]:
    return [
        Figure(name=f"{name}, p{percent}", value=found.percentile(percent), unit="ms")
        for percent in (50, 99)
    ]


def _target(server: Started, role: Role) -> Target:
    return Target(port=server.port, path=f"/models/{NAME}:{role}/embed")


def run(options: Options) -> None:
    """Measure, with a bundle if one is needed."""
    if options.bundle_parts:
        carry_out(options.common, lambda stage: measure(options, stage))
        return

    def without_bundle(work: Path, on_step: OnStep) -> Result:
        return measure(options, Stage(model=work, bundle=work, work=work, on_step=on_step))

    conduct(options.common.output, without_bundle)


if __name__ == "__main__":
    run(parse())
