"""The runbooks that travel with the exporter: a name, and whatever it is about -> its title, and its body as HTML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from markdown_it import MarkdownIt
from markdown_it.token import Token

from exporter.model.vocabulary import CheckKey
from exporter.report.commands import EXAMPLE_PROXY, EXAMPLE_TARGET, Command, all_commands, by_path, filled
from exporter.report.invocation import BY_NAME, PROGRAM, Invocation, Shell
from exporter.report.searches import words_for

INDEX: Final = "README"
# What the files say where the served pages know better.
EXAMPLE_FILE: Final = "exporter.yaml"
PUT_IN_FILE: Final = f"On the exporter's machine, with its own configuration in place of `{EXAMPLE_FILE}`."
PUT_IN_URL: Final = "Put in the URL of the alert; where several paths lead there, `--path` chooses one."
PUT_IN_TARGET: Final = (
    f"The commands ask for `{EXAMPLE_TARGET.url}`, and where they name a proxy, through `{EXAMPLE_PROXY}`: put in the "
    "target and the proxy that it concerns."
)

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True, slots=True)
class Runbook:
    """A page's title, and its body as HTML."""

    title: str
    body: str


def page(name: str, command: Invocation = BY_NAME, about: CheckKey | None = None) -> Runbook | None:
    """The page of an alert or a reason, or the index; None where there is none of that name.

    Its commands are the exporter's own as `command` calls it, and where it is about a target, for that one.
    """
    file = _files().get(name)
    return _rendered(file, command, about) if file else None


def query_of(about: CheckKey) -> str:
    """What a link to a page has behind it, so that the page is about this target."""
    return f"?{urlencode({'target': about.target.url, 'path': about.path})}"


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


@lru_cache(maxsize=64)
def _rendered(file: Path, command: Invocation, about: CheckKey | None) -> Runbook:
    tokens = _MARKDOWN.parse(file.read_text(encoding="utf-8"))
    examples = _examples(about) if about else {}
    for token in tokens:
        _lead_to_pages(token, about)
        _speak_of(token, about)
        if token.type == "fence":
            key = (token.info, token.content.rstrip("\n"))
            text = examples.get(key) or "\n".join(_called(key[1], command, about))
            token.content = f"{text}\n"
    return _as_page(tokens)


def rendered(text: str) -> Runbook:
    """Markdown as a page, which is called what its first heading says. HTML in it is text."""
    return _as_page(_MARKDOWN.parse(text))


def _as_page(tokens: list[Token]) -> Runbook:
    for token, content in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(content.content))
        if token.type == "table_open":  # a wide one is scrolled, by the keyboard as well
            token.attrSet("tabindex", "0")
    title = next(content.content for token, content in pairwise(tokens) if token.type == "heading_open")
    return Runbook(title, _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))


def _examples(about: CheckKey) -> Mapping[tuple[str, str], str]:
    """The commands for this target, by the language and the text of those for the target of the examples."""
    every = all_commands()
    looks = (*every.reasons.values(), every.walk, every.certificate, every.fixed)
    by_shell: Mapping[Shell, Sequence[Command]] = {
        Shell.POWERSHELL: [
            *every.local_system,
            *every.revocation,
            *(command for look in looks for command in look.powershell),
        ],
        Shell.POSIX: [command for look in looks for command in look.posix],
    }
    return {
        (shell.value, filled(by_path(command, proxy), shell=shell)): filled(
            by_path(command, about.proxy), about.target, shell=shell
        )
        for shell, commands in by_shell.items()
        for command in commands
        for proxy in (None, about.proxy or "any")  # as some pages show it
    }


def _called(text: str, command: Invocation, about: CheckKey | None) -> Iterator[str]:
    """The lines, those that call the exporter as it is called here."""
    for line in text.split("\n"):
        if not line.startswith(f"{PROGRAM} "):
            yield line
            continue
        name, *arguments = shlex.split(line.removesuffix(f" --config.file {EXAMPLE_FILE}"))[1:]
        if about and arguments == [EXAMPLE_TARGET.url]:
            yield command.explain(about.target.url, about.path)
        else:
            yield command.line(name, *arguments)


def _speak_of(token: Token, about: CheckKey | None) -> None:
    """Say of the exporter that serves the page, and of the target that it is about, what the file says of examples."""
    if token.type != "inline":
        return
    if token.content == PUT_IN_FILE:
        token.children = _inline("On the exporter's machine.")
    if about is None:
        return
    if token.content == PUT_IN_URL:
        token.children = []
    if token.content == PUT_IN_TARGET:
        proxy = f"Put the address of the proxy {about.proxy} in place of `{EXAMPLE_PROXY}`." if about.proxy else ""
        token.children = _inline(proxy)
    codes = iter(words_for(about.target).get(token.content, ()))
    for part in token.children or ():
        if part.type == "code_inline":
            part.content = next(codes, part.content)


def _inline(text: str) -> list[Token]:
    return [child for token in _MARKDOWN.parseInline(text) for child in token.children or ()]


def _lead_to_pages(token: Token, about: CheckKey | None) -> None:
    """Have links to files lead to the pages made of them, about the same target."""
    query = query_of(about) if about else ""
    for part in token.children or ():
        if part.type == "link_open":
            file, mark, place = str(part.attrGet("href")).partition("#")
            if file.endswith(".md") and "/" not in file:
                name = file.removesuffix(".md")
                part.attrSet("href", f"{'./' if name == INDEX else name}{query}{mark}{place}")
