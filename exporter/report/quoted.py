"""Quote servers: an Answer -> what may be shown of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from http import HTTPStatus
from typing import Final

from exporter.model.vocabulary import Answer
from exporter.text.numbers import plural
from exporter.text.printable import one_line
from exporter.text.secrets import harmless, header

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_LONGEST_VALUE: Final = 300  # characters of a header
_LONGEST_PAGE: Final = 400  # characters of a page, less its markup

_UNSEEN: Final = re.compile(r"(?is)<(style|script)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*(?:>|\Z)")


def quoted(answer: Answer) -> Iterator[tuple[str, str]]:
    """An answer line by line: what it is, and what it says. A text that is cut off says so."""
    yield "status", f"{answer.status} {_PHRASES.get(answer.status, '')}"
    for name, value in answer.headers:
        yield one_line(name), _beginning(header(name, value), _LONGEST_VALUE)
    words = harmless(unescape(_UNSEEN.sub(" ", answer.body)))
    if words:
        yield "page begins", _beginning(words, _LONGEST_PAGE)


def _beginning(text: str, length: int) -> str:
    rest = len(text) - length
    return text if rest <= 0 else f"{text[:length]}... ({plural(rest, 'character')} more)"
