"""What people read, and the names in the code, are in the words of the field, and in plain English."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.walk import PAGES

ROOT: Final = Path(__file__).parents[1]

# Words that no other project uses for what they mean here, or that are no plain English.
BANNED: Final = re.compile(
    r"(?<!front )\bdoors?\b|\bmend|\blest\b|time-out|look-up|black-box|belongs? into|(?-i:\bby https?\b)"
    r"|\ball that\b|\btold\b|\btells?\b|\bdoubted\b|\btrails?\b|\bwishes\b",
    re.IGNORECASE,
)
NO_NAMES: Final = frozenset(
    ["board", "boards", "door", "doors", "doubt", "doubted", "lest", "mend", "tell", "tells", "told", "trail", "wishes"]
)

# Files that hold text for people, each a folder and how their names end.
TEXTS: Final = (
    ("exporter", ("yaml", "html")),
    ("config", ("yaml", "md", "txt", "service", "xml")),
    ("dashboards", ("yaml", "yml", "md", "tmpl")),
)
ROOTS: Final = ("Dockerfile", "Makefile", "compose.yaml", "pyproject.toml")
CODE: Final = ("exporter", "config", "dashboards")


def files(folder: str, *endings: str) -> list[str]:
    """The files below a folder, but for what others wrote."""
    found = (path for ending in endings for path in (ROOT / folder).rglob(f"*.{ending}"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found if "licences" not in path.parts)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def joined(text: str) -> str:
    """A text as it is read: without the ends of its lines, and the marks of a comment behind them."""
    return re.sub(r"\s+(?:#\s)?\s*", " ", text)


def banned(text: str) -> list[str]:
    return BANNED.findall(joined(text))


def said(source: str) -> Iterator[str]:
    """The texts in a module: comments, those of successive lines as one, docstrings, and other strings."""
    comments = [token for token in tokens(source) if token.type == tokenize.COMMENT]
    yield "\n".join(token.string for token in comments)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def names(source: str) -> set[str]:
    """The words that a module's names are made of."""
    found = (token.string for token in tokens(source) if token.type == tokenize.NAME)
    return {word for name in found for word in re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")}


def tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_is_written_in_the_words_of_the_field(page: str) -> None:
    """But for figures that are measured, and for what the product prints."""
    text = re.sub(
        r"^```.*?^```$|<!-- measured -->.*<!-- /measured -->", "", PAGES[page], flags=re.DOTALL | re.MULTILINE
    )
    assert banned(re.sub(r"`[^`]*`", "", text)) == []


@pytest.mark.parametrize("path", [*ROOTS, *(path for folder, endings in TEXTS for path in files(folder, *endings))])
def test_a_file_for_people_is_written_in_the_words_of_the_field(path: str) -> None:
    assert banned(read(path)) == []


@pytest.mark.parametrize("path", [path for folder in CODE for path in files(folder, "py")])
def test_a_module_says_everything_in_the_words_of_the_field(path: str) -> None:
    assert [word for text in said(read(path)) for word in banned(text)] == []


@pytest.mark.parametrize("path", files("exporter", "py"))
def test_names_are_made_of_the_words_of_the_field(path: str) -> None:
    assert names(read(path)) & NO_NAMES == set()


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("x = 1  # what it tells\n", "tells"),
        ("# all\n# that\n", "all that"),
        ('"""Everything by\n\nhttps."""\n', "by https"),
        ('x = f"{y} time-out"\n', "time-out"),
        ('x = ("it is "\n     "told")\n', "told"),
    ],
)
def test_a_banned_word_is_found_wherever_a_module_says_it(source: str, word: str) -> None:
    assert [found for text in said(source) for found in banned(text)] == [word]


def test_a_banned_word_is_found_in_names() -> None:
    assert names("def tell_all() -> ToldYou: front_door = untold\n") & NO_NAMES == {"tell", "told", "door"}
