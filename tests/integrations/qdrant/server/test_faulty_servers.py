"""What stands at an address: keys, certificates, other programs, cut answers, silence.

Over gRPC the same is in ``test_faulty_grpc.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from qdrant_client import QdrantClient

from decant.embedders import StoreError
from decant.integrations.qdrant import Equals, RemoteStore, Store, connect
from decant.integrations.qdrant.server.capabilities import Server, reach
from decant.integrations.qdrant.server.clients.addresses import read_address
from decant.integrations.qdrant.server.clients.client import Access
from decant.integrations.qdrant.server.retry import Backoff
from fault_server import PEM, Answer, FaultServer, Hang, refused, running

NO_KEY = Answer(
    status=401, body="Must provide an API key or an Authorization bearer token", kind="text/plain"
)
WRONG_KEY = Answer(status=401, body="Invalid API key or JWT", kind="text/plain")
PAGE = Answer(body="<!DOCTYPE html><title>Welcome to nginx!</title>", kind="text/html")
WHERE = Equals("year", 1)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with running(FaultServer()) as server:
        yield server


@pytest.fixture
def pauses() -> list[float]:
    return []  # filled with the seconds that would have been waited


@pytest.fixture
def store(server: FaultServer, pauses: list[float]) -> Iterator[Store]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield RemoteStore(Server(client, backoff=Backoff(attempts=4, sleep=pauses.append)))
    client.close()


def qdrant(server: FaultServer) -> Answer:
    """Return what a server says that needs no key for its version."""
    return server.qdrant("GET /")


class TestKeys:
    def test_a_wrong_key_is_noticed_when_connecting(self, server: FaultServer) -> None:
        server.faults.extend([qdrant(server), WRONG_KEY])
        said = r"401 Unauthorized: Invalid API key or JWT; give the server's key as api_key="
        with pytest.raises(StoreError, match=said) as refusal:
            connect(server.url, api_key="not-the-key")
        assert server.keys == ["not-the-key"] * 2
        assert server.url in str(refusal.value)
        assert "not-the-key" not in f"{refusal.value}{refusal.value.__cause__}"

    def test_a_key_that_is_missing_is_noticed_when_connecting(self, server: FaultServer) -> None:
        server.faults.extend([qdrant(server), NO_KEY])
        with pytest.raises(
            StoreError, match=r"401 Unauthorized: Must provide an API key.*; give the server's"
        ):
            connect(server.url)

    def test_a_client_with_a_wrong_key_is_noticed_too(self, server: FaultServer) -> None:
        server.faults.extend([qdrant(server), WRONG_KEY])
        client = QdrantClient(url=server.url, check_compatibility=False)
        with pytest.raises(StoreError, match="Invalid API key or JWT"):
            connect(client)
        client.close()

    def test_a_key_for_some_collections_only_is_no_wrong_one(self, server: FaultServer) -> None:
        server.faults.extend([qdrant(server), refused(403, "Forbidden: Access is required")])
        with connect(server.url, api_key="narrow") as store:
            assert store.names() == []

    def test_an_empty_key_of_the_environment_is_none(self, server: FaultServer) -> None:
        connect(server.url, api_key="").close()
        assert server.keys == [None, None]

    @pytest.mark.parametrize("key", ["hush\n", " hush", "hüsh", "hush\r\nx: y"])
    def test_what_no_header_can_hold_is_refused_and_not_shown(self, key: str) -> None:
        with pytest.raises(StoreError, match="strip it") as refusal:
            connect("http://localhost", api_key=key)
        assert "h" + key[2:4] not in str(refusal.value)
        assert key.strip() not in str(refusal.value)

    def test_over_plain_http_only_another_machine_is_warned_of(self, server: FaultServer) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            connect(server.url, api_key="key").close()
        with (
            pytest.warns(UserWarning, match="insecure connection"),
            pytest.raises(StoreError, match="reaching a Qdrant server"),
        ):
            connect("http://255.255.255.255", api_key="key", attempts=1)


class TestSecrets:
    @pytest.mark.parametrize(
        "address", ["http://me:hush@127.0.0.1:{}", "http://127.0.0.1:{}/?api_key=hush"]
    )
    def test_a_clients_address_is_shown_without_them(
        self, server: FaultServer, address: str
    ) -> None:
        url = address.format(server.port)
        client = QdrantClient(url=url, api_key=None, check_compatibility=False)
        store = connect(client, attempts=1)
        assert store.place == f"http://127.0.0.1:{server.port}"
        server.always = Answer(status=500, body="no")
        with pytest.raises(StoreError) as refusal:
            store.names()
        assert "hush" not in f"{refusal.value}{refusal.value.__cause__}{store!r}"
        client.close()

    @pytest.mark.parametrize(
        ("options", "place"),
        [
            ({"host": "127.0.0.1"}, "http://127.0.0.1:{}"),
            ({"url": "127.0.0.1"}, "127.0.0.1"),
            ({"url": "http://127.0.0.1"}, "http://127.0.0.1:{}"),
        ],
    )
    def test_a_client_is_at_one_place_however_it_is_written(
        self, server: FaultServer, options: dict[str, str], place: str
    ) -> None:
        client = QdrantClient(**options, port=server.port, check_compatibility=False)  # type: ignore[arg-type]
        assert connect(client).place == place.format(server.port)
        client.close()

    def test_a_key_in_a_servers_answer_is_hidden(self, server: FaultServer) -> None:
        with connect(server.url, api_key="hush-hush") as store:
            server.faults.append(refused(400, "no such key: hush-hush"))
            with pytest.raises(StoreError, match=r"no such key: \(hidden\)") as refusal:
                store.count("docs", WHERE)
        assert "hush-hush" not in f"{refusal.value}{refusal.value.__cause__}"


class TestOtherPrograms:
    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (PAGE, "a web page 'Welcome to nginx!'.*check the address, its path and its port"),
            (Answer(status=404, body="<html></html>", kind="text/html"), "404 .*a web page"),
            (Answer(status=404), "404 Not Found; check the address"),
            (Answer(body="It works!", kind="text/plain"), "no JSON: It works!"),
            (Answer(body='{"version": {"number": "8.1"}, "tagline": "x"}'), "none of Qdrant's"),
            (Answer(body='{"title": "My API", "version": "1.0"}'), "calls itself 'My API'"),
            (Answer(status=302, headers={"location": "https://sso/?k=hush"}), "to https://sso/;"),
        ],
    )
    def test_what_answers_is_said_with_its_address(
        self, server: FaultServer, answer: Answer, said: str
    ) -> None:
        server.always = answer
        with pytest.raises(StoreError, match=said) as refusal:
            connect(server.url)
        assert server.url in str(refusal.value)
        assert "hush" not in str(refusal.value)
        assert len(server.asked) == 1, "it is not asked again"

    def test_an_address_without_a_port_says_which_one_was_meant(self) -> None:
        said = r"//255\.255\.255\.255:6333 failed: ConnectError.* so 6333 is meant;.* write :%d\)"
        with pytest.raises(StoreError, match=said % 443):
            connect("https://255.255.255.255")  # nothing can be reached there
        with pytest.raises(StoreError, match=said % 80):
            connect("http://255.255.255.255")

    def test_a_failure_at_once_counts_no_attempts(self, server: FaultServer) -> None:
        server.always = Answer(status=503, body="busy", kind="text/plain")
        with pytest.raises(StoreError, match=f"at {server.url} failed: 503 .*: busy; check that"):
            connect(server.url)


class TestBrokenAnswers:
    def test_an_answer_that_was_cut_is_asked_for_again(
        self, server: FaultServer, store: Store
    ) -> None:
        whole = '{"result": {"count": 7}, "status": "ok", "time": 0.0}'
        cut = [Answer(body=whole[:at]) for at in (0, 20)] + [Answer(body=whole, cut=9)]
        server.faults.extend(cut)
        assert store.count("docs", WHERE) == 7

    def test_one_that_stays_cut_is_said_to_be(self, server: FaultServer, store: Store) -> None:
        server.always = Answer(body='{"result": {"cou')
        said = r"failed after 4 attempts in 0 s: the answer was cut after 16 characters"
        with pytest.raises(StoreError, match=said):
            store.count("docs", WHERE)

    @pytest.mark.parametrize(
        ("answer", "asked"),
        [
            (refused(408, "timeout"), 2),
            (refused(429, "slowly", retry_after="1.5"), 2),
            (refused(429, "slowly", retry_after="Mon, 30 Nov 1998 12:00:00 GMT"), 2),
            (refused(429, "slowly", retry_after="soon"), 2),
            (refused(429, "slowly", retry_after="-1"), 2),
            (refused(429, "slowly"), 2),
            (refused(429, "slowly", retry_after="86400"), 1),
            (refused(429, "slowly", retry_after="1e20"), 1),
            (refused(429, "request larger than rate limiter capacity"), 1),
            (refused(507, "Insufficient storage"), 1),
            (refused(500, "No space left on device"), 1),
            (refused(500, "The replica set does not have enough active replicas"), 2),
        ],
    )
    def test_only_what_passes_is_asked_again(
        self, server: FaultServer, store: Store, pauses: list[float], answer: Answer, asked: int
    ) -> None:
        server.faults.append(answer)
        before = len(server.asked)
        if asked == 1:
            with pytest.raises(StoreError):
                store.count("docs", WHERE)
        else:
            assert store.count("docs", WHERE) == 7
        assert len(server.asked) - before == asked
        assert len(pauses) == asked - 1

    @pytest.mark.parametrize("answer", [refused(507, "x"), refused(500, "No space left on device")])
    def test_a_full_disk_is_said_to_be_the_servers(
        self, server: FaultServer, store: Store, answer: Answer
    ) -> None:
        server.always = answer
        with pytest.raises(StoreError, match="the server's disk is full, or its quota") as refusal:
            store.count("docs", WHERE)
        assert "check that the server runs" not in str(refusal.value)


class TestSilence:
    """A request that hangs would do so for 20 s, if nobody gave it up."""

    @pytest.mark.parametrize("hang", [Hang(), Hang(drips=True)])
    def test_a_server_that_never_answers_is_given_up_in_time(
        self, server: FaultServer, hang: Hang
    ) -> None:
        with connect(server.url, timeout=1) as store:
            server.always = hang
            began = monotonic()
            with pytest.raises(StoreError, match=r"failed after \d attempts? in \d s: ReadTimeout"):
                store.count("docs", WHERE)
        assert monotonic() - began < 10

    def test_one_that_hangs_once_is_asked_again(self, server: FaultServer) -> None:
        access = Access(address=read_address(server.url))
        with RemoteStore(reach(access, Backoff(attempt_timeout=0.3))) as store:
            server.faults.append(Hang())
            assert store.count("docs", WHERE) == 7

    def test_one_that_hangs_when_connecting_is_given_up_soon(self, server: FaultServer) -> None:
        server.always = Hang()
        with pytest.raises(StoreError, match=r"reaching a Qdrant server at .*: ReadTimeout"):
            connect(server.url, timeout=1)

    def test_attempts_bound_how_often_it_is_asked(self, server: FaultServer) -> None:
        with connect(server.url, attempts=2) as store:
            before = len(server.asked)
            server.always = Answer(status=503)
            with pytest.raises(StoreError, match="failed after 2 attempts"):
                store.count("docs", WHERE)
        assert len(server.asked) - before == 2


class TestCertificates:
    @pytest.fixture
    def encrypted(self) -> Iterator[FaultServer]:
        with running(FaultServer(encrypted=True)) as server:
            yield server

    def test_an_authority_of_ones_own_is_trusted_by_name(self, encrypted: FaultServer) -> None:
        with connect(encrypted.url, api_key="key", ca=PEM) as store:
            assert store.names() == []
        with pytest.raises(StoreError, match=r"CERTIFICATE_VERIFY_FAILED.*trusted with ca="):
            connect(encrypted.url)

    def test_the_wrong_scheme_is_said(self, encrypted: FaultServer, server: FaultServer) -> None:
        with pytest.raises(StoreError, match="whether the server is at https:// or http://"):
            connect(server.url.replace("http:", "https:"))
        with pytest.raises(StoreError, match=r"illegal status line|disconnected"):
            connect(encrypted.url.replace("https:", "http:"), timeout=2)

    def test_a_file_that_holds_no_certificate_is_refused(self, tmp_path: Path) -> None:
        missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
        empty.write_text("no certificate")
        with pytest.raises(StoreError, match=r"missing\.pem' cannot be read: No such file"):
            connect("https://localhost", ca=missing)
        with pytest.raises(StoreError, match=r"empty\.pem' holds no certificate in PEM form"):
            connect("https://localhost", ca=str(empty))
        with pytest.raises(StoreError, match="cannot be read: Is a directory"):
            connect("https://localhost", ca=tmp_path)
        with pytest.raises(StoreError, match="goes with https:// only"):
            connect("http://localhost", ca=PEM)
