"""How long the tests of each file take: ``tests/durations.json``, which ``make test`` can write.

Files that take long begin first, so that no worker is left with one of them in the end, and
``--fast`` leaves them out. A file that is not listed is taken for a quick one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
FILE = TESTS / "durations.json"
SECONDS: dict[str, float] = json.loads(FILE.read_text(encoding="utf-8"))
FAST_SECONDS = 2.0
"""What a file of ``make test-fast`` may take, all its tests and fixtures together."""

LISTED_SECONDS = 1.0


def seconds(path: Path) -> float:
    """Return how long the tests of a file are known to take; 0 where that is not known."""
    inside = path.is_relative_to(TESTS)
    return SECONDS.get(path.relative_to(TESTS).as_posix(), 0.0) if inside else 0.0


class Measure:
    """Adds up how long the tests of each file take, and writes it when all are done."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what preparing, running or cleaning up a test took."""
        file = report.nodeid.partition("::")[0].removeprefix("tests/")
        self.seconds[file] += report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the files that are worth a line, the longest first; others keep theirs."""
        if exitstatus > pytest.ExitCode.TESTS_FAILED:
            return  # interrupted: what was measured is not all
        known = {file: spent for file, spent in SECONDS.items() if (TESTS / file).is_file()}
        whole = {**known, **self.seconds}
        longest = sorted(whole.items(), key=lambda item: item[1], reverse=True)
        listed = {file: round(spent, 1) for file, spent in longest if spent >= LISTED_SECONDS}
        FILE.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
