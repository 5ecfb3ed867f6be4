"""The runbooks that travel with the exporter: a name -> a page of HTML that loads nothing from anywhere."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
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
_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentcolor 25%, transparent) }
body { margin: 0 auto; max-width: 55rem; padding: 0 1rem 3rem; font: 1rem/1.55 system-ui, sans-serif }
body { overflow-wrap: break-word }
nav { padding: 1rem 0; border-bottom: 1px solid var(--line) }
h1 { font-size: clamp(1.1rem, 5vw, 1.5rem) }
h2 { margin-top: 2.2rem; font-size: 1.2rem; border-bottom: 1px solid var(--line) }
h3 { margin-top: 1.6rem; font-size: 1rem }
code { font-family: ui-monospace, monospace; font-size: .875em }
code { padding: .1em .25em; border-radius: .25em; background: color-mix(in srgb, currentcolor 8%, transparent) }
pre { margin: 1.4rem 0 .4rem; padding: .75rem; overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem }
pre + p { margin-top: 0 }
pre code { padding: 0; background: none }
table { display: block; overflow-x: auto; border-collapse: collapse }
th, td { padding: .35rem .6rem; text-align: left; vertical-align: top; border: 1px solid var(--line) }
td { min-width: 8rem }
"""


def page(name: str) -> str | None:
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
def _rendered(file: Path) -> str:
    tokens = _MARKDOWN.parse(file.read_text(encoding="utf-8"))
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(content.content))
        _lead_to_pages(content)
    title = next(content.content for token, content in pairwise(tokens) if token.type == "heading_open")
    return _frame(title, _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _lead_to_pages(token: Token) -> None:
    """Have links to files lead to the pages made of them."""
    for part in token.children or ():
        if part.type == "link_open":
            file, mark, place = str(part.attrGet("href")).partition("#")
            if file.endswith(".md") and "/" not in file:
                name = file.removesuffix(".md")
                part.attrSet("href", f"{'./' if name == INDEX else name}{mark}{place}")


def _frame(title: str, body: str) -> str:
    """A whole document around the body."""
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
        '<nav><a href="./">Runbooks</a> · <a href="../">Exporter</a></nav>'
        f"<main>{body}</main></body></html>\n"
    )
