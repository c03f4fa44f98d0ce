"""Write ``docs/command-line.md`` from what ``decant --help`` shows; ``make docs`` runs this file.

Only what decant itself states is read (names, help, metavariables, defaults), so that the page is
the same under every version of typer.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from decant.cli.exit_codes import CODES
from decant.cli.main import app

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "command-line.md"

_HEAD = f"""\
# Command line

<!-- Written by `make docs` from the commands themselves; do not edit. -->

`decant COMMAND --help` shows the same. Results go to standard output, messages and progress to the
standard error stream. `decant --debug …`, or `DECANT_DEBUG=1`, shows tracebacks and all logs.

```text
{CODES}
```

"""


def reference() -> str:
    """Return the page: a table of the commands, then a section for each."""
    found = [*commands()]
    rows = [
        f"| [`{name}`](#{name.replace(' ', '-')}) | {_first(command.help)} |\n"
        for name, command in found
    ]
    sections = [_section(name, command) for name, command in found]
    return "".join([_HEAD, "| command | what it does |\n|---|---|\n", *rows, *sections])


def commands(group: Any = None, prefix: str = "decant") -> Iterator[tuple[str, Any]]:
    """Yield every command that help shows, those of groups behind their group."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if command.hidden:
            continue
        yield f"{prefix} {name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")


def _section(name: str, command: Any) -> str:
    parameters = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [
        each
        for each in parameters
        if each.param_type_name == "option" and "--help" not in each.opts
    ]
    shape = " ".join([name, *(_shape(each) for each in arguments)])
    if options:
        shape += " [OPTIONS]"
    if hasattr(command, "commands"):
        shape += " COMMAND"
    text, examples = _split(command.help or "")
    parts = [f"\n## {name}\n\n```text\n{shape}\n```\n\n{text}\n"]
    if examples:
        parts.append(f"\n```text\n{examples}\n```\n")
    if arguments or options:
        parts.append("\n| argument or option | meaning |\n|---|---|\n")
        parts += [_row(each) for each in (*arguments, *options)]
    return "".join(parts)


def _split(text: str) -> tuple[str, str]:
    """Return a help text without its examples, and the examples, one a line."""
    body, _, examples = text.partition("Examples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    return body.replace("\f", "").replace("\b", "").strip(), "\n".join(lines)


def _first(text: str | None) -> str:
    return _cell((text or "").strip().split("\n\n")[0])


def _shape(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
        value = f" {parameter.metavar}" if parameter.metavar and not parameter.is_flag else ""
        shown = ", ".join(f"`{name}`" for name in names[:-1])
        shown += (", " if shown else "") + f"`{names[-1]}{value}`"
    notes = [_cell(parameter.help or "")]
    if parameter.required and parameter.param_type_name == "option":
        notes.append("Required.")
    if (default := _default(parameter)) is not None:
        notes.append(f"Default: `{default}`.")
    if parameter.envvar:
        notes.append(f"Also `{parameter.envvar}` in the environment.")
    return f"| {_cell(shown)} | {' '.join(notes)} |\n"


def _default(parameter: Any) -> str | None:
    value = parameter.default
    if value is None or isinstance(value, bool) or callable(value) or not parameter.show_default:
        return None
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or None
    return str(value.value if isinstance(value, Enum) else value) or None


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
