"""Do all that is owed on an NVIDIA GPU in one call, and write it into one folder.

Environment, doctor, the tests marked gpu, certificates, where nodes run, speed against PyTorch and
sentence-transformers, latency, memory, outputs bound and not: the most important first, within
--minutes. A step that fails is written down, and the others go on; --resume goes on with what has
not passed. Nothing is downloaded. report.md is ready for experiments/log, report.json has
everything. --prepare only makes models and graphs, on any machine.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.gpu.options import Options, parse_gpu, several
from bench.gpu.report.page import gather, page, record_of
from bench.gpu.report.plan import Part, Wanted, choose, plan, step_name
from bench.gpu.report.steps import Run, State, carry_out, exit_code, run_process
from bench.gpu.report.work import QUANTIZED, Task, prepare, work
from bench.gpu.subjects import MODELS
from decant.embedders import Precision
from decant.embedders.json_records import to_json

_USUAL = ("minilm", "qwen3-0.6b", "bert-base", "llama-1b")
# Long enough for ratios, short enough for minutes: the benchmark itself (gpu.py) measures longer.
_SHORT = (
    "--lengths", "128,512,mixed", "--rounds", "3", "--batches", "50", "--queries", "50",
    "--seconds", "0.5",
)  # fmt: skip
_ON_A_GPU = (
    "--dtypes", "bfloat16,float16", "--peers", "sdpa,eager", "--sentence-transformers",
    "--precisions", "bf16,fp16,fp32",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None, *, run: Run = run_process) -> int:
    """Read the command line and do what it says; return the exit code.

    Args:
        arguments: The command line; None takes this process's.
        run: Runs a step.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    if typed[:1] == ["part"]:
        return _part(typed[1:])
    found, further = _parser().parse_known_args(typed)
    folder = found.folder.resolve()
    if (folder / "steps").exists() and not (found.resume or found.prepare):
        return _refused(f"{folder} holds a report; pass --resume to go on with it")
    _options(found.provider, further)  # what is not known there ends here
    wanted = Wanted(
        folder=folder,
        provider=found.provider,
        models=found.models,
        further=("--quantized", ",".join(found.quantized), *further),
    )
    if found.prepare:
        for model in found.models:
            _say(f"made {prepare(_task(folder, model, found.provider, further))}")
        return 0
    steps = plan(wanted)
    if found.only:
        try:
            steps = choose(steps, found.only)
        except ValueError as error:
            return _refused(str(error))
    outcomes = carry_out(steps, folder, seconds=60 * found.minutes, run=run, on_step=_say)
    command = shlex.join(["python", "benchmarks/gpu_report.py", *typed])
    seed = _options(found.provider, further).common.seed
    report = gather(folder, outcomes, command=command, seed=seed)
    (folder / "report.md").write_text(page(report), encoding="utf-8")
    (folder / "report.json").write_text(to_json(report), encoding="utf-8")
    for outcome in outcomes:
        if outcome.state is not State.PASSED:
            _say(f"{outcome.state}: {outcome.title}: {outcome.reason}")
    _say(f"written to {folder / 'report.md'}")
    return exit_code(outcomes)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__,
        epilog="What is not listed here are options of benchmarks/gpu.py.",
        allow_abbrev=False,
    )
    made.add_argument("folder", type=Path, help="where everything goes")
    made.add_argument("--provider", default="cuda", choices=("cuda", "cpu"), help="(%(default)s)")
    made.add_argument("--models", type=several(_model), default=_USUAL, help=",".join(MODELS))
    made.add_argument(
        "--quantized", type=several(Precision), default=QUANTIZED, help=",".join(QUANTIZED)
    )
    made.add_argument("--minutes", type=float, default=9.0, help="the budget (%(default)s)")
    made.add_argument("--resume", action="store_true", help="go on with what has not passed")
    made.add_argument("--only", type=several(str), help="names of steps, as in the folder steps")
    made.add_argument("--prepare", action="store_true", help="only make models and graphs")
    return made


def _part(arguments: Sequence[str]) -> int:
    """Do one step's work in this process; return 1 if something of it failed."""
    made = argparse.ArgumentParser(allow_abbrev=False)
    made.add_argument("part", type=Part)
    made.add_argument("folder", type=Path)
    made.add_argument("--subject", default="")
    made.add_argument("--provider", required=True)
    made.add_argument("--quantized", type=several(Precision), default=QUANTIZED)
    found, further = made.parse_known_args(arguments)
    task = _task(found.folder, found.subject, found.provider, further)
    name = step_name(found.part, found.subject, found.provider)
    path = record_of(name, found.folder)
    record = work(found.part, replace(task, quantized=found.quantized), path)
    for error in record.errors:
        _say(error)
    return 1 if record.errors else 0


def _task(folder: Path, model: str, provider: str, further: Sequence[str]) -> Task:
    return Task(folder=folder, model=model, options=_options(provider, further), on_step=_say)


def _options(provider: str, further: Sequence[str]) -> Options:
    usual = [*_SHORT, *(() if provider == "cpu" else _ON_A_GPU)]
    return parse_gpu(str(__doc__), [*usual, *further, "--provider", provider])


def _model(text: str) -> str:
    if text not in MODELS:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(MODELS)}, got {text!r}")
    return text


def _refused(text: str) -> int:
    _say(text)
    return 2


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
