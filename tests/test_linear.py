"""What files and strangers write takes time by its length: four times as much, about four times as long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.allowlist.existing import read_allowed
from exporter.config import catalogue, settings
from exporter.config.documents import DocumentError
from exporter.model.patterns import host_of
from exporter.model.vocabulary import Answer, Catalogue, Target
from exporter.probe.block_pages import leads_astray
from exporter.probe.bodies import is_page, readable
from exporter.proxies.windows import setting
from exporter.text.secrets import Hiding, harmless, header
from tests.running import in_a_quiet_moment

pytestmark = pytest.mark.timing

# What is quadratic takes sixteen times as long, and what is linear four times; a busy machine may double either.
TOO_MUCH: Final = 10
ENOUGH: Final = 0.02  # seconds that are measured well, and that nobody minds
URL: Final = "https://x.example/"
HIDE: Final = Hiding("svc", "zQ9hunter2")


@cache
def shipped() -> Catalogue:
    return catalogue.load()


def configured(text: str, folder: Path) -> None:
    file = folder / "exporter.yaml"
    file.write_text(text)
    with pytest.raises(DocumentError):
        settings.load(file, shipped())


def own(**keys: str) -> str:
    """A group with an endpoint, and a mistake in the end."""
    given = {"pattern": "x.example", "docs": URL} | keys
    return f"groups: [{{feature: own, docs: '{given['docs']}', endpoints: [{{pattern: '{given['pattern']}'}}]}}]\nx: 1"


CONFIGURATIONS: Final[Mapping[str, Callable[[int], str]]] = {
    "a link of colons": lambda size: own(docs=f"http://{':' * size}"),
    "a link of @": lambda size: own(docs=f"http://{'a@' * (size // 2)}"),
    "a pattern of stars": lambda size: own(pattern="*." * (size // 2)),
    "a pattern of placeholders": lambda size: own(pattern="<" * size),
    "unknown keys": lambda size: "\n".join(f"key{number}: 1" for number in range(size // 20)),
    "unknown keys of a section": lambda size: (
        "site:\n" + "\n".join(f"  key{number}: 1" for number in range(size // 20))
    ),
    "unknown roles": lambda size: f"via: {{{', '.join(f'r{number}: x' for number in range(size // 20))}}}",
    "proxies that are none": lambda size: f"proxies: {{{', '.join(f'p{number}: x' for number in range(size // 20))}}}",
    "groups that are none": lambda size: f"groups: [{'{},' * (size // 20)}]",
    "the same key": lambda size: f"site: {{{'roles: x, ' * (size // 20)}}}",
}


def page(body: str) -> Answer:
    return Answer(200, (("Content-Type", "text/html"),), body)


def judged(body: str) -> None:
    is_page(page(body))
    leads_astray(URL, page(body), frozenset())


TEXTS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "an attribute without a value": (judged, "<meta %s>"),
    "attributes": (judged, "<meta a%s"),
    "quotes": (judged, "<meta a='%s"),
    "a comment": (judged, "<!--%s"),
    "a refresh": (lambda text: leads_astray(URL, Answer(200, (("Refresh", text),)), frozenset()), "%s"),
    "a redirect": (lambda text: leads_astray(URL, Answer(302, (("Location", text),)), frozenset()), "http://%s"),
    "a type": (lambda text: readable(Answer(200, (("Content-Type", text),)), b"x"), "text/html;%s"),
    "a style sheet": (lambda text: readable(page(""), text.encode()), "<style>%s"),
    "an image in a page": (lambda text: readable(page(""), text.encode()), "data:%s"),
    "a text that is shown": (harmless, "%s"),
    "a challenge": (lambda text: header("WWW-Authenticate", text), "Basic %s"),
    "a text with a password": (HIDE, "%s"),
    "a pattern": (host_of, "%s"),
    "an exception of Windows": (lambda text: setting("p:1", text).ways(Target("http://x.example/")), "%s/x"),
}
FILLINGS: Final = (
    "a",
    " ",
    ":",
    '"',
    "<",
    "&",
    "%41",
    "='",
    "<!--",
    "basic ",
    "://",
    ";",
    "[",
    "\\x41",
    "41 ",
    "a.",
    "@",
)


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def grows(work: Callable[[int], object], first: int) -> bool:
    """Whether four times as much takes out of proportion longer, once it takes long enough to be measured."""
    size = first
    while (before := seconds(partial(work, size))) < ENOUGH and size < 64 * first:
        size *= 2
    return before >= ENOUGH and seconds(partial(work, 4 * size)) > TOO_MUCH * before


def is_linear(work: Callable[[int], object], first: int) -> bool:
    return in_a_quiet_moment(lambda: not grows(work, first), bool)


@pytest.mark.parametrize("written", CONFIGURATIONS)
def test_a_configuration_takes_time_by_its_length(written: str, tmp_path: Path) -> None:
    assert is_linear(lambda size: configured(CONFIGURATIONS[written](size), tmp_path), 2_000)


@pytest.mark.parametrize("read", TEXTS)
def test_a_text_of_a_stranger_takes_time_by_its_length(read: str) -> None:
    function, form = TEXTS[read]

    def work(filling: str) -> Callable[[int], object]:
        return lambda size: function(form % (filling * (size // len(filling))))

    assert [filling for filling in FILLINGS if not is_linear(work(filling), 1_000)] == []


@pytest.mark.parametrize("row", ["%s,direct,x,https,443", "%s"])
def test_a_cell_of_any_length_is_a_mistake(row: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"role,path,host,protocol,ports\n{row % ('a' * 200_000)}\n")
    (tmp_path / "head.csv").write_text(f"{'a' * 200_000},host,protocol,ports\n")
    refused = list[Any]()
    for name in ("list.csv", "head.csv"):
        with pytest.raises(DocumentError) as found:
            read_allowed(tmp_path / name)
        refused += found.value.mistakes
    assert {mistake.line for mistake in refused} <= {1, 2}
