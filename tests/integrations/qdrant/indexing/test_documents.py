"""Reading folders: what is read, what is passed over, and what is remembered as unreadable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from decant.embedders import DecantError, StoreError, TextError
from decant.integrations.qdrant import Document, read_documents


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_files_are_read_in_order_with_their_path_as_source(tmp_path: Path) -> None:
    write(tmp_path, b_dot_txt="two", a_dot_md="one", c__d__e_dot_rst="three")
    found = list(read_documents(tmp_path))
    assert [(item.source, item.text) for item in found] == [
        ("a.md", "one"),
        ("b.txt", "two"),
        ("c/d/e.rst", "three"),
    ]
    assert {item.root for item in found} == {str(tmp_path.resolve())}


def test_texts_are_not_altered(tmp_path: Path) -> None:
    text = "  é \r\n\ttwo\x0c\n\n  \U0001f600 "
    write(tmp_path, a=text)
    assert [item.text for item in read_documents(tmp_path)] == [text]


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    write(tmp_path, a=b"\xef\xbb\xbfutf-8", b="utf-16 é".encode("utf-16"))
    assert [item.text for item in read_documents(tmp_path)] == ["utf-8", "utf-16 é"]


def test_hidden_and_binary_files_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, a="text", _dot_hidden="no", _dot_git__config="no", image=b"\x89PNG\0\0\1")
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["a"]
    assert documents.unreadable == ()


def test_undecodable_bytes_make_a_file_unreadable_and_the_others_go_on(tmp_path: Path) -> None:
    write(tmp_path, a="one", b=b"caf\xe9 au lait", c="three")
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["a", "c"]
    (bad,) = documents.unreadable
    assert bad.source == "b"
    assert "byte 0xe9 at position 3 is not UTF-8" in bad.reason
    assert len(list(documents)) == 2
    assert len(documents.unreadable) == 1, "a second pass starts anew"


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX only")
def test_a_name_that_is_not_unicode_makes_a_file_unreadable(tmp_path: Path) -> None:
    write(tmp_path, a="one")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.txt")).write_text("two")
    except OSError:
        pytest.skip("this file system takes only names in Unicode")
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["a"]
    (bad,) = documents.unreadable
    bad.source.encode()
    assert "not valid Unicode" in bad.reason


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path, a="one", b="two", c__d="three")
    (tmp_path / "b").chmod(0)
    (tmp_path / "c").chmod(0)
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["a"]
    assert [bad.source for bad in documents.unreadable] == ["b", "c/"]
    (tmp_path / "c").chmod(0o700)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, sub__a="one")
    (tmp_path / "sub" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["sub/a"]
    assert documents.unreadable == ()


def test_a_file_that_goes_while_reading_is_not_an_error(tmp_path: Path) -> None:
    write(tmp_path, a="one", b="two")
    documents = iter(read_documents(tmp_path))
    assert next(documents).source == "a"
    (tmp_path / "b").unlink()
    assert list(documents) == []


def test_one_file_is_a_root_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, a="one", b="two")
    (found,) = read_documents(tmp_path / "a")
    assert (found.source, found.root) == ("a", str((tmp_path / "a").resolve()))


def test_the_root_may_be_named(tmp_path: Path) -> None:
    write(tmp_path, a="one")
    documents = read_documents(str(tmp_path), root="handbook")
    assert documents.root == "handbook"
    assert [item.root for item in documents] == ["handbook"]


def test_files_can_be_counted_before_they_are_read(tmp_path: Path) -> None:
    write(tmp_path, a="one", b__c="two", _dot_x="no")
    assert read_documents(tmp_path).count() == 2


def test_a_path_that_does_not_exist_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="nothing here does not exist"):
        read_documents(tmp_path / "nothing here")


def test_a_folder_without_readable_text_is_an_error_with_reasons(tmp_path: Path) -> None:
    write(tmp_path, _dot_hidden="x", bad=b"\xe9 no")
    with pytest.raises(TextError, match=r"no readable text.*1 files.*bad: byte 0xe9"):
        list(read_documents(tmp_path))


def test_formats_that_need_converting_say_which_extra_does_it(tmp_path: Path) -> None:
    write(tmp_path, a="one", page_dot_html="<h1>Title</h1><p>words</p>")
    documents = read_documents(tmp_path)
    found = {item.source: item.text for item in documents}
    try:
        import markitdown  # noqa: F401
    except ImportError:
        assert set(found) == {"a"}
        assert [bad.source for bad in documents.unreadable] == ["page.html"]
        assert "pip install 'decant-qdrant[docs]'" in documents.unreadable[0].reason
    else:
        assert "Title" in found["page.html"]
        assert "<h1>" not in found["page.html"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": ""}, "needs a source"),
        ({"source": "a\ud800"}, "not valid Unicode"),
        ({"text": "x\udfff"}, "lone surrogate at position 1"),
        ({"text": b"bytes"}, "is a bytes"),
        ({"root": ""}, "give None"),
        ({"metadata": {"when": object()}}, "cannot be stored"),
        ({"metadata": {1: "x"}}, "key 1 is a int"),
        ({"metadata": {"x": float("nan")}}, "cannot be stored"),
        ({"metadata": {"x": [2**64]}}, "64 with the sign can be stored"),
        ({"metadata": {"x": "\ud800"}}, "cannot be stored"),
    ],
)
def test_a_document_that_cannot_be_stored_cannot_be_made(
    fields: dict[str, object], said: str
) -> None:
    held: dict[str, object] = {"source": "s", "text": "t", **fields}
    with pytest.raises((TextError, StoreError), match=said) as caught:
        Document(**held)  # type: ignore[arg-type]
    assert isinstance(caught.value, DecantError)


def test_a_document_keeps_its_own_copy_of_the_metadata() -> None:
    metadata = {"tags": ["a"]}
    document = Document(source="s", text="t", metadata=metadata)  # type: ignore[arg-type]
    metadata["tags"].append("b")
    assert document.metadata == {"tags": ["a"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"caf\xe9", "byte 0xe9 at position 3 is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9", "byte 0xe9 at position 6 is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfea\0\x00\xd8", "byte 0x00 at position 4 is not UTF-16; save the file as UTF-8"),
    ],
)
def test_the_byte_that_is_no_text_is_named_with_its_place_in_the_file(
    tmp_path: Path, data: bytes, message: str
) -> None:
    write(tmp_path, a=b"text", b=data)
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["a"]
    assert [bad.reason for bad in documents.unreadable] == [message]
