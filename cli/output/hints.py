"""Translate the advice in error messages from Python calls to commands and options.

The library is used from Python and from the command line. Its errors name the Python call that
helps, sometimes with the option; people at a terminal need the command. Advice that is not listed
here stays unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_NAME = r"'(?P<name>[^']*)'"


def _option(found: re.Match[str]) -> str:
    return f"pass --{found['name'].replace('_', '-')} {found['value']}"


_HINTS: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    # Advice in both forms has its option or command in brackets.
    (r"\w+=True \((?P<option>--[\w-]+)\)", r"\g<option>"),
    (r"(?:\w+\.)?\w+\([^()]*\) \(`?(?P<command>decant [^()`]*)`?\)", r"`\g<command>`"),
    # A call, "or" the command.
    (r"(?:\w+\.)?\w+\([^()]*\),? or (?P<command>(?:run )?`decant |--\w)", r"\g<command>"),
    (r"Make it with Collection\.create\b", "Make it with `decant index`"),
    (
        r"open it with Collection\.open, or delete it with store\.drop\(name\)",
        "`decant drop` deletes it",
    ),
    (
        rf"(?:delete|drop) (?:it|the collection) with store\.drop\({_NAME}\) and index again",
        r"delete it with `decant drop \g<name>` and index again",
    ),
    (
        rf"delete it with collection\.delete\(\[{_NAME}\]\)",
        r"delete it with `decant delete --id \g<name>`",
    ),
    # The command line has no headers and no port for gRPC of its own.
    (r", or, if a proxy asks for the password, headers=\{[^}]*\}", ""),
    (r"\(for gRPC too; give its port as grpc_port=\)", "(for gRPC too, with --grpc)"),
    (
        r"\bgrpc=True means\b(?P<why>.*); give the port at which it speaks gRPC as grpc_port=",
        r"--grpc means\g<why>; leave --grpc out",
    ),
    (r"or use a client with prefer_grpc=True, which", "or pass --grpc, which"),
    (r"^(?P<name>ca|grpc) goes with", r"--\g<name> goes with"),
    (r"^ca= goes with(?P<why>.*); leave ca out", r"--ca goes with\g<why>; leave --ca out"),
    (r"\bthe file ca=", "the file --ca "),
    (r"\b(?P<how>as|trusted with) ca=", r"\g<how> --ca"),
    (
        (
            r"index it with collection\.add_index\(.*\) \((?P<command>`decant [^`]*`)\), or when .*"
            r"CollectionSettings\(.*\)"
        ),
        r"index it with \g<command>",
    ),
    (
        r"use a temporary folder, or hand over QdrantClient\(':memory:'\) for a test",
        "give a temporary folder",
    ),
    (r"\bas api_key=", "as --api-key"),
    (r",? or pass allow_uncertified=True", ""),
    (
        r"open it with decant\.embedders\.load\(\), or export a reranker: ",
        "`decant embed` and `decant search` take it. Export a reranker: ",
    ),
    (
        r"open it with decant\.embedders\.load_reranker\(\)",
        "`decant rerank` takes it",
    ),
    (r"pass (?P<name>[a-z_]+)='?(?P<value>[\w.-]+)'?", _option),
]


def in_commands(message: str) -> str:
    """Return a message whose advice is commands and options.

    >>> in_commands("there is no collection 'a' in ./index. Make it with Collection.create")
    "there is no collection 'a' in ./index. Make it with `decant index`"
    >>> in_commands("pass attention='causal' if it is one")
    'pass --attention causal if it is one'
    """
    for pattern, hint in _HINTS:
        message = re.sub(pattern, hint, message)
    return message
