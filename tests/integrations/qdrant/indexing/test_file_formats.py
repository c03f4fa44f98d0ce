"""PDF, Office and HTML files become text, by the extra docs; what is damaged or empty is told."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, connect, read_documents

pytest.importorskip("markitdown", reason="needs the extra docs")

_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def write_pdf(path: Path, *lines: str) -> None:
    """Write one page (ISO 32000-1, 7.5: header, objects, cross-reference table, trailer)."""
    shown = " ".join(f"({line}) Tj T*" for line in lines)
    stream = f"BT /F1 12 Tf 72 720 Td 14 TL {shown} ET"
    page = "/Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< {page} /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    written, places = "%PDF-1.4\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj\n{item}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    path.write_text(
        f"{written}xref\n0 {size}\n0000000000 65535 f \n{table}"
        f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{len(written)}\n%%EOF",
        encoding="latin-1",
    )


def write_docx(path: Path, text: str) -> None:
    """Write one paragraph (ECMA-376, part 1, 11.3)."""
    relations = "application/vnd.openxmlformats-package.relationships+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Default Extension="rels" '
        f'ContentType="{relations}"/><Override PartName="/word/document.xml" '
        f'ContentType="{_MAIN}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r1" '
        f'Type="{_OFFICE}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body><w:p><w:r><w:t>{text}'
        "</w:t></w:r></w:p></w:body></w:document>",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, f'<?xml version="1.0"?>{content}')


def write_pptx(path: Path, title: str, text: str) -> None:
    made = pytest.importorskip("pptx").Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text = title
    slide.placeholders[1].text = text
    made.save(path)


def write_xlsx(path: Path, *rows: list[object]) -> None:
    made = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        made.active.append(row)
    made.save(path)


WRITTEN: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "ferry.pdf": (
        lambda path: write_pdf(path, "The ferry leaves at seven.", "It returns after dark."),
        ["The ferry leaves at seven.", "It returns after dark."],
    ),
    "bread.docx": (lambda path: write_docx(path, "Yeast makes bread rise."), ["Yeast makes bread"]),
    "ice.pptx": (
        lambda path: write_pptx(path, "Glaciers", "Ice carves valleys."),
        ["# Glaciers", "Ice carves valleys."],
    ),
    "towns.xlsx": (
        lambda path: write_xlsx(path, ["town", "people"], ["Ghent", 262219]),
        ["| town | people |", "| Ghent | 262219 |"],
    ),
    "copper.HTML": (
        lambda path: path.write_text(
            "<style>p {}</style><h1>Copper</h1><p>It conducts &amp; bends.<script>x()</script>",
            encoding="utf-8",
        ),
        ["# Copper", "It conducts & bends."],
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_each_format_becomes_text(tmp_path: Path, name: str) -> None:
    write, expected = WRITTEN[name]
    write(tmp_path / name)
    (document,) = read_documents(tmp_path)
    assert document.source == name
    assert all(part in document.text for part in expected)
    assert "x()" not in document.text


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx"])
@pytest.mark.parametrize("content", [b"plain text under another name", b"PK\3\4 cut", b"%PDF-1.4"])
def test_what_is_damaged_is_no_text(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "b.txt").write_text("text", encoding="utf-8")
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["b.txt"]
    (bad,) = documents.unreadable
    assert bad.source == name
    assert "cannot be converted to text: " in bad.reason
    assert "\n" not in bad.reason


def test_a_scan_without_text_is_told(tmp_path: Path) -> None:
    write_pdf(tmp_path / "scan.pdf")
    (tmp_path / "b.txt").write_text("text", encoding="utf-8")
    documents = read_documents(tmp_path)
    assert [item.source for item in documents] == ["b.txt"]
    assert "holds no text" in documents.unreadable[0].reason


def test_a_converted_folder_is_indexed_and_found_and_costs_nothing_again(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, (write, _) in WRITTEN.items():
        write(folder / name)
    docs = Collection.create(connect(tmp_path / "store"), "docs", HashEncoder())
    report = docs.index(read_documents(folder))
    assert report.added == len(WRITTEN)
    assert docs.search("Yeast makes bread rise.", limit=1)[0].source == "bread.docx"
    again = docs.index(read_documents(folder))
    assert (again.unchanged, again.embedded) == (len(WRITTEN), 0)
