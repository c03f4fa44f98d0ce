"""Hooks of mkdocs: what lies outside ``docs/`` and is linked from it becomes part of the site.

Links are written so that they hold in the repository; here they are turned to where the site has
the same files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parent.parent
_OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "README.md",
    "examples/*.py",
    "experiments/*.toml",
    "experiments/log/*.md",
    "experiments/curves/*.svg",
)
_FROM_DOCS = re.compile(r"\]\(\.\./(?=[A-Za-z])")
_TO_DOCS = re.compile(r"\]\(((?:\.\./)*)docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked from the pages."""
    for pattern in _OUTSIDE:
        for path in sorted(_ROOT.glob(pattern)):
            # README.md would become the site's first page, which docs/index.md is.
            name = path.relative_to(_ROOT).as_posix()
            name = {"README.md": "readme.md"}.get(name, name)
            if name == "experiments/log/README.md":
                name = "experiments/log/index.md"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links that leave ``docs/``, or lead into it, to where the site has them."""
    source = page.file.src_uri
    inside = (Path(str(_ROOT / "docs")) / source).exists()
    if inside and "/" not in source:
        markdown = _FROM_DOCS.sub("](", markdown)
    elif not inside:
        markdown = _TO_DOCS.sub(r"](\1", markdown)
    return markdown.replace("experiments/log/README.md", "experiments/log/index.md")
