"""``decant serve``: what it says at the start, what it serves, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashReranker, Role, load

KEY, OTHER = "a-key-of-some-length", "another-key-of-some-length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A server in a process of its own, and what it said until it listened."""

    process: subprocess.Popen[str]
    said: str

    @property
    def port(self) -> int:
        """Where it listens."""
        found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", self.said)
        assert found is not None, self.said
        return int(found[1])

    def post(self, path: str, body: object, *, key: str = "") -> tuple[int, object]:
        """Return status and answer to a request."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal, and return the exit code and what was said after it."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=60)
        return self.process.returncode, rest


@contextmanager
def serving(decant: Decant, *arguments: object, **environment: str) -> Iterator[Serving]:
    """Start ``decant serve`` on a free port, and end it."""
    with subprocess.Popen(
        decant.command("serve", *arguments, "--port", 0, "--provider", "cpu"),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "listening" not in said and (line := process.stderr.readline()):
                said += line
            yield Serving(process=process, said=said)
        finally:
            process.kill()


def test_two_names_of_a_bundle_are_served_to_qdrant_as_encode_gives_them(
    decant: Decant, tiny_bundle: Path
) -> None:
    texts = ["the ferry leaves at seven", "bread"]
    body = {
        "inputs": [
            {"data": text, "data_type": "text", "model": name, "options": None}
            for name in ("tiny", "papers")
            for text in texts
        ],
        "inference": "update",
        "token": None,
    }
    with serving(decant, tiny_bundle, f"papers={tiny_bundle}") as server:
        status, answer = server.post("/infer", body)
        code, rest = server.end(signal.SIGTERM)
    with load(tiny_bundle, provider="cpu") as encoder:
        expected = encoder.encode(texts, role=Role.PASSAGE).dense
        digest = encoder.recipe.digest()
    assert status == 200
    assert isinstance(answer, dict)
    found = np.array(answer["embeddings"], np.float32)
    np.testing.assert_allclose(found, np.concatenate([expected, expected]), atol=1e-6)
    assert f"tiny: {expected.shape[1]} wide, recipe {digest}, fp32 on CPU" in server.said
    assert "papers: " in server.said
    assert "only this machine reaches it; no API key is asked for" in server.said
    assert (code, rest) == (Exit.OK, "stopped; every accepted request was answered\n")


def test_rerankers_are_told_from_encoders_and_served_beside_them(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(f"[models]\ntiny = {str(tiny_bundle)!r}\nranker = 'hash'\n")
    texts = ["a hill", "a river"]
    body = {"query": "a river", "texts": texts}
    with serving(decant, "--config", file) as server:
        ranked = server.post("/rerank", body)
        embedded, _ = server.post("/embed", {"inputs": "a"})
        code, _ = server.end(signal.SIGTERM)
    scores = HashReranker().score("a river", texts)
    status, answer = ranked
    assert isinstance(answer, list)
    assert (status, embedded, code) == (200, 400, Exit.OK)
    assert answer[0] == {"index": 1, "score": pytest.approx(float(scores[1]))}
    digest = HashReranker().recipe.digest()
    assert f"ranker: a reranker, recipe {digest}, fp32 on HashReranker\n" in server.said


def test_keys_come_from_file_and_environment_and_are_not_said(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"{KEY}\n")
    body = {"model": "tiny:query", "input": "a text"}
    with serving(decant, tiny_bundle, "--keys", file, DECANT_API_KEYS=OTHER) as server:
        statuses = [server.post("/v1/embeddings", body, key=key)[0] for key in (KEY, OTHER, "no")]
        code, rest = server.end(signal.SIGINT)
    assert statuses == [200, 200, 401]
    assert "; 2 API keys\n" in server.said
    assert KEY not in server.said + rest
    assert OTHER not in server.said + rest
    assert code == Exit.OK


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys.txt").write_text(f"{KEY}\n")
    file = tmp_path / "serve.toml"
    # `serving` says --port and --provider, so those of the file are overruled.
    file.write_text(
        "port = 1\nkeys = 'keys.txt'\nqueue_tokens = 1000\nmax_texts = 4\nmax_body = 2\n"
        f"[models]\nsmall = {str(tiny_bundle)!r}\n"
        f"papers = {{bundle = {str(tiny_bundle)!r}, precision = 'fp32', provider = 'cuda'}}\n"
    )
    arguments = ("--config", file, "--max-body", 3)
    with serving(decant, *arguments, DECANT_SERVE_MAX_TEXTS="2", DECANT_SERVE_MAX_BODY="1") as one:
        body = {"model": "papers:query", "input": ["a", "b", "c"]}
        status, _ = one.post("/v1/embeddings", body, key=KEY)
        fewer, _ = one.post("/v1/embeddings", {**body, "input": ["a", "b"]}, key=KEY)
    assert (status, fewer) == (413, 200)
    *models, configured, queue, texts, size, _ = one.said.splitlines()
    assert [line.partition(":")[0] for line in models] == ["small", "papers"]
    assert configured == f"configured by {file}"
    assert queue == "queue_tokens = 1000, from the file"
    assert texts == "max_texts = 2, from the environment"
    assert size == "max_body = 3, from the command line"
    assert "; 1 API key\n" in one.said
    assert KEY not in one.said


def test_each_model_of_a_file_has_its_own_precision(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(f"[models]\nsmall = {{bundle = {str(tiny_bundle)!r}, precision = 'int8'}}\n")
    ran = decant.process("serve", "--config", file)
    assert ran.code != Exit.OK
    assert "int8" in ran.err
    with serving(decant, "--config", file, "--precision", "fp32") as server:
        assert "small: " in server.said


def test_without_a_model_it_is_said_how_to_name_one(decant: Decant) -> None:
    ran = decant("serve")
    assert ran.code == Exit.INPUT
    assert "there is nothing to serve; name a bundle" in ran.err


@pytest.mark.parametrize(
    ("arguments", "environment", "message", "code"),
    [
        (["--config", "NO.toml"], "", "NO.toml cannot be read", Exit.INPUT),
        (["nowhere"], "", "nowhere", Exit.INPUT),
        (["hash", "--store", "http://a"], "", "name an encoder, too", Exit.INPUT),
        (["TINY", "TINY"], "", "two models are called 'tiny'", Exit.INPUT),
        (["a:b=TINY"], "", "has at most 128 letters", Exit.INPUT),
        (["TINY"], "short", "API key 1 must have at least 16", Exit.INPUT),
        (["TINY", "--host", "192.0.2.1"], "", "Cannot assign", Exit.ENVIRONMENT),
    ],
)
def test_what_cannot_be_served_is_refused(
    arguments: list[str],
    environment: str,
    message: str,
    code: Exit,
    decant: Decant,
    tiny_bundle: Path,
) -> None:
    words = [word.replace("TINY", str(tiny_bundle)) for word in arguments]
    ran = decant.process("serve", *words, "--provider", "cpu", DECANT_API_KEYS=environment)
    assert ran.code == code
    assert message in ran.err
    assert "short" not in ran.err


def test_without_the_extra_the_pip_line_is_said(decant: Decant, tiny_bundle: Path) -> None:
    ran = decant.without("starlette", "serve", tiny_bundle)
    assert ran.code == Exit.ENVIRONMENT
    assert "pip install 'decant-qdrant[server]'" in ran.err
