"""Hooks of MkDocs: pages that are written for the repository, read as a site.

Outside of docs/ there are files that pages link to; the site gets copies of them. Headings get GitHub's anchors, and
tables may have an escaped bar in code, which GitHub shows without its backslash.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")
_CODE = re.compile(r"`[^`]+`")
_NO_ANCHOR = re.compile(r"[^\w -]")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.mdx_configs.setdefault("toc", {})["slugify"] = github_anchor
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each file outside of docs/ that a page links to."""
    pages = [Path(file.abs_src_path).read_text("utf-8") for file in files.documentation_pages() if file.abs_src_path]
    for name in sorted({found for page in pages for found in _OUTSIDE.findall(page)}):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    lines = _OUTSIDE.sub(r"](\1", markdown).split("\n")
    return "\n".join(_with_plain_bars(line) if line.startswith("|") else line for line in lines)


def github_anchor(title: str, separator: str) -> str:
    """The anchor of a heading; GitHub puts a dash for every space."""
    return _NO_ANCHOR.sub("", title.lower()).replace(" ", separator)


def _with_plain_bars(line: str) -> str:
    return _CODE.sub(lambda code: code[0].replace("\\|", "|"), line)
