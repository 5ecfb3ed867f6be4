"""The runbooks that travel with the exporter: a name -> its title, and its body as HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

INDEX: Final = "README"

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True, slots=True)
class Runbook:
    """A page's title, and its body as HTML."""

    title: str
    body: str


def page(name: str) -> Runbook | None:
    """The page of an alert or a reason, or the index; None where there is none of that name."""
    file = _files().get(name)
    return _rendered(file) if file else None


def anchor(heading: str) -> str:
    """What a heading is called in a link, here as on GitHub."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def shipped() -> Path:
    """The folder of the shipped pages: within the package where it is installed, else beside it."""
    package = Path(str(resources.files("exporter")))
    installed = package / "data" / "runbooks"
    return installed if installed.is_dir() else package.parent / "dashboards" / "runbooks"


@cache
def _files() -> Mapping[str, Path]:
    """All there are, by name: what somebody asks for is looked up here and never becomes a path."""
    return MappingProxyType({file.stem: file for file in sorted(shipped().glob("*.md"))})


@cache
def _rendered(file: Path) -> Runbook:
    return rendered(file.read_text(encoding="utf-8"))


def rendered(text: str) -> Runbook:
    """Markdown as a page, which is called what its first heading says. HTML in it is text."""
    tokens = _MARKDOWN.parse(text)
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(content.content))
        _lead_to_pages(content)
    for token in tokens:
        if token.type == "table_open":  # a wide one is scrolled, by the keyboard as well
            token.attrSet("tabindex", "0")
    title = next(content.content for token, content in pairwise(tokens) if token.type == "heading_open")
    return Runbook(title, _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _lead_to_pages(token: Token) -> None:
    """Have links to files lead to the pages made of them."""
    for part in token.children or ():
        if part.type == "link_open":
            file, mark, place = str(part.attrGet("href")).partition("#")
            if file.endswith(".md") and "/" not in file:
                name = file.removesuffix(".md")
                part.attrSet("href", f"{'./' if name == INDEX else name}{mark}{place}")
