"""The lock that writers of one collection share: fair, re-entrant, and one for each collection."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Document, Store, connect
from decant.integrations.qdrant.points.locks import CollectionLock, FairLock, lock_of
from decant.integrations.qdrant.server.clients.addresses import endpoint
from decant.integrations.qdrant.stores.point_ids import DocumentKey
from qdrant_double import QdrantDouble
from threads import in_thread, wait_until

KEY, OTHER = DocumentKey("r", "a"), DocumentKey("r", "b")


def _has_waiting(lock: FairLock, count: int) -> bool:
    return lock.waiting == count


class TestFairLock:
    def test_it_is_given_in_the_order_in_which_threads_came(self) -> None:
        lock = FairLock()
        order: list[int] = []

        def take(number: int) -> None:
            with lock:
                order.append(number)

        threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
        with lock:
            for number, thread in enumerate(threads):
                thread.start()
                wait_until(partial(_has_waiting, lock, number + 1))
        for thread in threads:
            thread.join(20)
        assert order == list(range(20))

    def test_one_who_gives_it_back_and_comes_again_is_last(self) -> None:
        lock = FairLock()
        order: list[str] = []

        def take() -> None:
            with lock:
                order.append("other")

        thread = threading.Thread(target=take)
        with lock:
            thread.start()
            wait_until(lambda: lock.waiting == 1)
        with lock:
            order.append("again")
        thread.join(20)
        assert order == ["other", "again"]

    def test_its_owner_may_take_it_again(self) -> None:
        lock = FairLock()
        done = threading.Event()

        def take() -> None:
            with lock:
                done.set()

        thread = threading.Thread(target=take)
        with lock:
            with lock:
                thread.start()
                wait_until(lambda: lock.waiting == 1)
            assert lock.waiting == 1, "still held"
        assert done.wait(20)
        thread.join(20)

    def test_no_two_hold_it_at_once(self) -> None:
        lock = FairLock()
        total = 0

        def add() -> None:
            nonlocal total
            for _ in range(500):
                with lock:
                    before = total
                    time.sleep(0)
                    total = before + 1

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert total == 2_000

    @pytest.mark.parametrize("handed_over", [False, True])
    def test_who_is_interrupted_while_waiting_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch, handed_over: bool
    ) -> None:
        # Ctrl-C cannot be sent at a chosen moment, so the gate raises it.
        lock = FairLock()
        held = threading.Event()
        let_go = threading.Event()

        def hold() -> None:
            with lock:
                held.set()
                let_go.wait(20)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(20)

        class Gate:
            taken = False

            def acquire(self) -> bool:
                if self.taken:
                    if handed_over:
                        let_go.set()
                        holder.join(20)
                    raise KeyboardInterrupt
                self.taken = True
                return True

            def release(self) -> None:
                """Let through a thread that does not come any more."""

        monkeypatch.setattr("decant.integrations.qdrant.points.locks.Lock", Gate)
        with pytest.raises(KeyboardInterrupt), lock:
            pass
        monkeypatch.undo()
        let_go.set()
        holder.join(20)
        with lock:
            assert lock.waiting == 0


class TestClaims:
    def test_a_change_makes_the_claims_on_its_documents_stale(self) -> None:
        lock = CollectionLock()
        with lock.claims() as claims:
            taken = claims.take([KEY, OTHER])
            with lock.changing([KEY]):
                assert not taken[KEY].is_stale, "half of the change may have been seen"
            assert (taken[KEY].is_stale, taken[OTHER].is_stale) == (True, False)
            assert not claims.take([KEY])[KEY].is_stale, "claimed anew"

    def test_a_change_that_fails_does_too(self) -> None:
        lock = CollectionLock()
        with lock.claims() as claims:
            taken = claims.take([KEY])
            with pytest.raises(OSError), lock.changing(None):  # noqa: PT011 (any will do)
                raise OSError
            assert taken[KEY].is_stale

    def test_what_is_released_is_not_claimed(self) -> None:
        lock = CollectionLock()
        with lock.claims() as claims:
            taken = claims.take([KEY, OTHER])
            claims.release([KEY])
            assert (lock.is_claimed(KEY), lock.is_claimed(OTHER)) == (False, True)
            with lock.changing(None):
                pass
            assert not taken[KEY].is_stale
        assert not lock.is_claimed(OTHER), "a run that ends gives back all"

    def test_of_two_runs_the_later_one_has_the_document(self) -> None:
        lock = CollectionLock()
        with lock.claims() as outer, lock.claims() as inner:
            first = outer.take([KEY])
            second = inner.take([KEY])
            assert (first[KEY].is_stale, second[KEY].is_stale) == (True, False)


class TestOneForEachCollection:
    def test_stores_of_one_folder_share_it(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "index", target_is_directory=True)
        stores = [connect(tmp_path / name) for name in ("index", "index/../index", "link", "b")]
        (tmp_path / "index").mkdir()
        locks = [lock_of(store, "docs", "docs") for store in stores]
        assert locks[0] is locks[1] is locks[2]
        assert locks[3] is not locks[0]
        assert lock_of(stores[0], "other", "other") is not locks[0]

    def test_stores_of_one_client_share_it_and_two_in_memory_do_not(self) -> None:
        first, second = QdrantClient(":memory:"), QdrantClient(":memory:")
        locks = [lock_of(connect(client), "docs", "docs") for client in (first, first, second)]
        assert locks[0] is locks[1]
        assert locks[2] is not locks[0]
        first.close()
        second.close()

    def test_it_goes_with_the_last_who_keeps_it(self, tmp_path: Path) -> None:
        store = connect(tmp_path)
        lock_of(store, "docs", "docs").noted.add("something")
        gc.collect()
        assert lock_of(store, "docs", "docs").noted == set()

    def test_an_alias_shares_it_with_the_collection_behind(
        self, server: Store, double: QdrantDouble
    ) -> None:
        made = Collection.create(server, "docs", HashEncoder(8))
        double.engine.aliases["live"] = "docs"
        aliased = Collection.open(server, "live", HashEncoder(8))
        mark = server.card("docs").mark
        began, ended = threading.Event(), threading.Event()

        def documents() -> Iterator[Document]:
            began.set()
            assert ended.wait(20)
            yield Document(source="a", text="text", root="r")

        def count() -> int:
            return lock_of(server, "docs", mark).indexing.waiting

        first = in_thread(lambda: made.index(documents()))
        assert began.wait(20)
        second = in_thread(lambda: aliased.index([Document(source="b", text="text", root="r")]))
        wait_until(lambda: count() == 1)
        ended.set()
        first.join(20)
        second.join(20)
        assert [passage.source for passage in made.each()] == ["b"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_forked_child_waits_for_no_thread_of_its_parent(self) -> None:
        script = Path(__file__).with_name("fork_locks.py")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script)],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "1 1\n", "")

    @pytest.mark.parametrize(
        "options",
        [
            {"url": "http://host:6333"},
            {"url": "https://HOST"},
            {"url": "http://user:secret@host:6333/?api_key=secret"},
            {"host": "host", "port": 6333},
            {"location": "host", "port": 6333, "prefix": None},
        ],
    )
    def test_addresses_of_one_server_are_the_same(self, options: dict[str, object]) -> None:
        assert endpoint(options) == "host:6333"

    def test_addresses_of_two_servers_are_not(self) -> None:
        names = [
            endpoint(options)
            for options in (
                {},
                {"host": "host"},
                {"host": "host", "port": 7000},
                {"url": "http://host/qdrant"},
                {"url": "http://[::1]:6333"},
            )
        ]
        assert len(set(names)) == len(names)
        assert names[0] == "localhost:6333"
