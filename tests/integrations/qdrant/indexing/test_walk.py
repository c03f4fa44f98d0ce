"""What a walk through a folder passes over, and what it survives."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, TextError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Skipped,
    SkipReason,
    connect,
    read_documents,
)

ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# made by a tool\n"


def write(folder: Path, *names: str, text: str = "some text") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def sources(folder: Path) -> list[str]:
    return [document.source for document in read_documents(folder)]


def skipped(folder: Path) -> dict[str, SkipReason]:
    documents = read_documents(folder)
    assert list(documents)
    return {one.source: one.reason for one in documents.skipped}


class TestPassedOver:
    def test_the_collections_of_a_store_wherever_it_lies(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "deep/b.md")
        with connect(tmp_path / "deep" / "mine") as store:
            Collection.create(store, "docs", HashEncoder(4)).index([Document(source="s", text="x")])
        assert sources(tmp_path) == ["a.md", "deep/b.md"]
        assert skipped(tmp_path) == {"deep/mine/docs/": SkipReason.COLLECTION}

    def test_a_folder_may_hold_documents_and_a_store(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md")
        with connect(tmp_path) as store:
            Collection.create(store, "docs", HashEncoder(4))
        assert sources(tmp_path) == ["a.md"]
        assert skipped(tmp_path) == {"docs/": SkipReason.COLLECTION}

    def test_bundles_by_what_they_hold(self, tmp_path: Path, tiny_bundle: Path) -> None:
        write(tmp_path, "a.md")
        shutil.copytree(tiny_bundle, tmp_path / "models" / "minilm")
        assert sources(tmp_path) == ["a.md"]
        assert skipped(tmp_path) == {"models/minilm/": SkipReason.BUNDLE}

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            (["env/pyvenv.cfg", "env/lib/x.py"], SkipReason.ENVIRONMENT),
            (["env/conda-meta/history", "env/lib/x.py"], SkipReason.ENVIRONMENT),
            (["node_modules/x/readme.md"], SkipReason.TOOL),
            (["__pycache__/x.txt"], SkipReason.TOOL),
            (["CVS/Entries"], SkipReason.TOOL),
            ([".git/config", ".git/HEAD"], SkipReason.HIDDEN),
            ([".venv/pyvenv.cfg"], SkipReason.HIDDEN),
        ],
    )
    def test_what_tools_and_version_control_keep(
        self, tmp_path: Path, files: list[str], reason: SkipReason
    ) -> None:
        write(tmp_path, "a.md", "sub/b.md", *(f"sub/{file}" for file in files))
        assert sources(tmp_path) == ["a.md", "sub/b.md"]
        assert skipped(tmp_path) == {f"sub/{files[0].partition('/')[0]}/": reason}

    def test_a_folder_that_its_tool_marks_as_a_cache(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "target/doc/x.txt", "notes/x.txt")
        write(tmp_path, "target/CACHEDIR.TAG", text=CACHE_TAG)
        write(tmp_path, "notes/CACHEDIR.TAG", text="a text about tags")
        assert sources(tmp_path) == ["a.md", "notes/CACHEDIR.TAG", "notes/x.txt"]
        assert skipped(tmp_path) == {"target/": SkipReason.TOOL}

    def test_nothing_is_passed_over_for_its_name_alone(self, tmp_path: Path) -> None:
        # Somebody's own folders and files, which look like ours in one point only.
        own = ["build/x.md", "index/x.md", "docs/collection.json", "shard/x.md", "app/decant.json"]
        write(tmp_path, *own, "target/x.md", "env/x.md")
        assert sources(tmp_path) == sorted([*own, "target/x.md", "env/x.md"])
        assert skipped(tmp_path) == {}

    def test_what_was_asked_for_by_its_own_path_is_read(self, tmp_path: Path) -> None:
        write(tmp_path, "node_modules/x/readme.md")
        assert sources(tmp_path / "node_modules") == ["x/readme.md"]

    def test_a_second_pass_notes_anew_and_counting_agrees(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", ".git/config", "node_modules/x.md")
        documents = read_documents(tmp_path)
        assert documents.count() == len(list(documents)) == len(list(documents)) == 1
        assert documents.skipped == (
            Skipped(source=".git/", reason=SkipReason.HIDDEN),
            Skipped(source="node_modules/", reason=SkipReason.TOOL),
        )


class TestRefused:
    def test_a_bundle(self, tiny_bundle: Path) -> None:
        with pytest.raises(TextError, match=r"is a bundle of decant and no documents"):
            read_documents(tiny_bundle)

    def test_a_collection(self, tmp_path: Path) -> None:
        with connect(tmp_path) as store:
            Collection.create(store, "docs", HashEncoder(4))
        with pytest.raises(TextError, match=r"docs holds a collection of decant"):
            read_documents(tmp_path / "docs")

    def test_a_store_without_documents_says_what_was_passed_over(self, tmp_path: Path) -> None:
        with connect(tmp_path) as store:
            Collection.create(store, "docs", HashEncoder(4))
        with pytest.raises(TextError, match=r"no readable text.*passed over 1: docs/ \(collection"):
            list(read_documents(tmp_path))

    @pytest.mark.parametrize("root", ["", "\ud800"])
    def test_a_root_that_cannot_be_stored(self, tmp_path: Path, root: str) -> None:
        with pytest.raises(TextError, match="the root of documents is"):
            read_documents(tmp_path, root=root)


@ON_POSIX
class TestSurvived:
    def test_a_link_to_itself_is_unreadable(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "z.md")
        (tmp_path / "x").symlink_to("x")
        documents = read_documents(tmp_path)
        assert [document.source for document in documents] == ["a.md", "z.md"]
        (bad,) = documents.unreadable
        assert bad.source == "x"
        assert "symbolic links" in bad.reason
        assert str(tmp_path) not in bad.reason, "the source beside it says where"

    def test_the_loop_itself_cannot_be_indexed(self, tmp_path: Path) -> None:
        (tmp_path / "x").symlink_to("x")
        with pytest.raises(TextError, match=r"x (cannot be read|does not exist)"):
            read_documents(tmp_path / "x")

    def test_a_link_to_where_one_may_not_look_is_unreadable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Links are made to fail, because the tests may run as root, who may look anywhere."""
        write(tmp_path, "a.md", "secret/b.md", "z.md")
        listed = os.scandir

        class Barred:
            def __init__(self, entry: os.DirEntry[str]) -> None:
                self.name, self.path = entry.name, entry.path

            def is_dir(self, *, follow_symlinks: bool = True) -> bool:
                return False

            def is_symlink(self) -> bool:
                return True

            def is_file(self) -> bool:
                raise PermissionError(13, "Permission denied", self.path)

        class Scan:
            def __init__(self, path: Path) -> None:
                with listed(path) as found:
                    self.entries = [
                        Barred(entry) if entry.name == "secret" else entry for entry in found
                    ]

            def __enter__(self) -> list[object]:
                return list(self.entries)

            def __exit__(self, *_: object) -> None: ...

        monkeypatch.setattr("os.scandir", Scan)
        documents = read_documents(tmp_path)
        assert [document.source for document in documents] == ["a.md", "z.md"]
        assert [(bad.source, bad.reason) for bad in documents.unreadable] == [
            ("secret", "Permission denied")
        ]

    def test_links_to_files_are_followed_and_others_are_noted(self, tmp_path: Path) -> None:
        write(tmp_path, "sub/a.md")
        (tmp_path / "again.md").symlink_to(tmp_path / "sub" / "a.md")
        (tmp_path / "folder").symlink_to(tmp_path / "sub", target_is_directory=True)
        (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
        assert sources(tmp_path) == ["again.md", "sub/a.md"]
        assert skipped(tmp_path) == {"folder": SkipReason.LINK, "nowhere": SkipReason.LINK}

    def test_pipes_sockets_and_devices_are_passed_over(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "zero").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as here:
            here.chdir(tmp_path)  # the path of a socket must be short
            listening.bind("socket")
            assert sources(tmp_path) == ["a.md"]
            found = skipped(tmp_path)
        assert found == {
            "pipe": SkipReason.SPECIAL,
            "socket": SkipReason.SPECIAL,
            "zero": SkipReason.LINK,
        }

    def test_a_pipe_in_place_of_the_folder_is_refused_and_not_waited_for(
        self, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", Path("/dev/null")):
            with pytest.raises(TextError, match="neither a folder nor a file"):
                read_documents(path)

    def test_a_file_that_goes_between_listing_and_reading(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "b.md", "c/d.md", "e.md")
        documents = read_documents(tmp_path)
        found = iter(documents)
        assert next(found).source == "a.md"
        (tmp_path / "b.md").unlink()
        shutil.rmtree(tmp_path / "c")
        assert [document.source for document in found] == ["e.md"]
        assert not documents.unreadable
        assert not documents.skipped

    def test_folders_nested_deeper_than_pythons_stack(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "z.md")
        deep = os.open(tmp_path, os.O_RDONLY)
        for _ in range(1_500):
            os.mkdir("d", dir_fd=deep)
            deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
            os.close(deep)
            deep = deeper
        os.close(deep)
        try:
            assert sources(tmp_path) == ["a.md", "z.md"]
        finally:
            self.take_away(tmp_path)

    def take_away(self, folder: Path) -> None:
        """Remove the nested folders from above, since pytest would do it by recursion."""
        while (folder / "d" / "d").exists():
            (folder / "d" / "d").rename(folder / "next")
            (folder / "d").rmdir()
            (folder / "next").rename(folder / "d")
        (folder / "d").rmdir()
