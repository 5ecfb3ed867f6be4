"""Quote servers: an Answer or a text from outside -> what may be shown of it. Pure.

Cookies and whatever signs somebody in are secrets, also where a server gives them back: only their names are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from http import HTTPStatus
from typing import Final

from exporter.model.vocabulary import Answer
from exporter.report.findings import one_line, plural

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_HIDDEN: Final = "(not shown)"
_LONGEST_VALUE: Final = 300  # characters of a header
_LONGEST_PAGE: Final = 400  # characters of a page, less its markup

_COOKIES: Final = frozenset({"set-cookie", "set-cookie2"})
_CHALLENGES: Final = frozenset({"proxy-authenticate", "www-authenticate"})
_CREDENTIALS: Final = frozenset(
    {"authentication-info", "authorization", "cookie", "proxy-authentication-info", "proxy-authorization"}
)
# A challenge and its parameters stand between commas outside quotes; a token68 is what stands alone behind the scheme
# (RFC 9110, 11.2 and 11.6.1). In other places a token is known by the scheme before it, and because it is no word.
_BETWEEN_COMMAS: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_TOKEN: Final = re.compile(r"(\s*[^\s,=\"]+\s+)[\w.~+/-]+=*\s*")
_LOOSE_TOKEN: Final = re.compile(
    r"\b((?i:basic|bearer|kerberos|negotiate|ntlm)[\s:]+)(?=[\w.~+/-]+[0-9A-Z+/=])[\w.~+/-]{8,}=*(?![\w.~+/=\"'-])"
)
_GIVEN_BACK: Final = re.compile(r"(?i)\b((?:proxy-)?authorization\s*[:=]\s*(?:[a-z]+\s+)?)[\w.~+/-]+=*")
_USER: Final = re.compile(r"(?<=://)[^\s/?#]*@")  # up to the last @: a password may hold one

_UNSEEN: Final = re.compile(r"(?is)<(style|script)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*(?:>|\Z)")


def quoted(answer: Answer) -> Iterator[tuple[str, str]]:
    """An answer line by line: what it is, and what it says. A text that is cut off says so."""
    yield "status", f"{answer.status} {_PHRASES.get(answer.status, '')}"
    for name, value in answer.headers:
        yield name, _value(name.lower(), value)
    words = harmless(unescape(_UNSEEN.sub(" ", answer.body)))
    if words:
        yield "page begins", _beginning(words, _LONGEST_PAGE)


def harmless(text: str) -> str:
    """A text on one line, without what signs somebody in."""
    line = one_line(text)
    for secret in (_GIVEN_BACK, _LOOSE_TOKEN):
        line = secret.sub(rf"\1{_HIDDEN}", line)
    return _USER.sub("***@", line)


def _value(name: str, value: str) -> str:
    """What a header says."""
    if name in _CREDENTIALS:
        return _HIDDEN
    if name in _COOKIES:
        cookie, equals, _ = value.partition(";")[0].partition("=")
        return f"{cookie.strip()} {_HIDDEN}" if equals else _HIDDEN  # without a name, it is all value
    if name in _CHALLENGES:
        value = _BETWEEN_COMMAS.sub(_without_token, value)
    return _beginning(harmless(value), _LONGEST_VALUE)


def _without_token(challenge: re.Match[str]) -> str:
    token = _TOKEN.fullmatch(challenge[0])
    return f"{token[1]}{_HIDDEN}" if token else challenge[0]


def _beginning(text: str, length: int) -> str:
    rest = len(text) - length
    return text if rest <= 0 else f"{text[:length]}... ({plural(rest, 'character')} more)"
