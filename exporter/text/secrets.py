"""Hide what signs somebody in: a text, a header or a URL -> the same without it. Pure.

Cookies and credentials are secrets, also where a server gives them back: only their names are shown.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import quote, quote_plus

from exporter.text.printable import one_line
from exporter.text.readings import bare, readings, squeezed

HIDDEN: Final = "(not shown)"
_SHORTEST: Final = 4  # characters of a password: the gaps that a shorter one leaves in a text would reveal it
_LOOKED_AT: Final = 8192  # characters, which takes some milliseconds
_SHORT: Final = 256  # characters
_REMEMBERED: Final = 1024  # such texts
_MOST_READ: Final = 256 * 1024  # characters that are read, decoded ones too, which takes a fifth of a second at most
_EACH: Final = 50  # characters that could be read in the time that it takes to decode something
_TELLING: Final = 6  # letters and digits that no other text has by chance

_COOKIES: Final = frozenset({"set-cookie", "set-cookie2"})
_CHALLENGES: Final = frozenset({"proxy-authenticate", "www-authenticate"})
_CREDENTIALS: Final = frozenset(
    {"authentication-info", "authorization", "cookie", "proxy-authentication-info", "proxy-authorization"}
)
# A challenge and its parameters stand between commas outside quotes; a token68 is what stands alone behind the scheme
# (RFC 9110, 11.2 and 11.6.1). In other places a token is known by the scheme before it, and because it is no word.
BETWEEN_COMMAS: Final = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_TOKEN: Final = re.compile(r"(\s*[^\s,=\"]+\s+)[\w.~+/-]+=*\s*")
_LOOSE_TOKEN: Final = re.compile(
    r"\b((?i:basic|bearer|kerberos|negotiate|ntlm)[\s:]+)(?=[\w.~+/-]+[0-9A-Z+/=])[\w.~+/-]{8,}=*(?![\w.~+/=\"'-])"
)
_GIVEN_BACK: Final = re.compile(r"(?i)\b((?:proxy-)?authorization\s*[:=]\s*(?:[a-z]+\s+)?)[\w.~+/-]+=*")
_USER: Final = re.compile(r"(?<=://)[^\s/?#]*@")  # up to the last @: a password may hold one
_PLACE: Final = re.compile(  # in a file: where a password may stand, alone or in place of the whole text
    r"passw|secret|token|credential|api_?key|auth_users|\bauth\b|^proxies(\.[^.]+)?$|^tls_server_config(\.key)?$",
    re.IGNORECASE,
)


def may_stand_at(place: str) -> bool:
    """Whether a password may stand at a place of a file, such as `proxies.corporate.password_file`."""
    return _PLACE.search(place) is not None


def without_user(text: str) -> str:
    """A text less what stands before its last `@`, which may be a password."""
    before, at, after = text.rpartition("@")
    return f"***@{after}" if before and at else text


def address(url: str) -> str:
    """A URL less what stands before its host and what follows its path; both may be secret."""
    return re.sub(r"//[^/]*@", "//***@", re.split(r"[?#]", url)[0])


def harmless(text: str) -> str:
    """A text on one line, without what signs somebody in."""
    line = one_line(text)
    for secret in (_GIVEN_BACK, _LOOSE_TOKEN):
        line = secret.sub(rf"\1{HIDDEN}", line)
    return _USER.sub("***@", line)


def header(name: str, value: str) -> str:
    """What may be shown of a header's value, on one line."""
    name = name.lower()
    if name in _CREDENTIALS:
        return HIDDEN
    if name in _COOKIES:
        cookie, equals, _ = value.partition(";")[0].partition("=")
        return harmless(f"{cookie.strip()} {HIDDEN}") if equals else HIDDEN  # without a name, it is all value
    return harmless(BETWEEN_COMMAS.sub(_without_token, value) if name in _CHALLENGES else value)


def _without_token(challenge: re.Match[str]) -> str:
    token = _TOKEN.fullmatch(challenge[0])
    return f"{token[1]}{HIDDEN}" if token else challenge[0]


class Hiding:
    """Takes a password out of texts, in each form in which a page or a header may give it back.

    A text in which it is disguised, so that a person has to decode it or put it together, is not shown at all; nor is
    what follows the first 8 KiB of one, nor what holds more codes than can be looked through. Text from outside may
    have been read as Latin-1.
    """

    def __init__(self, username: str, password: str) -> None:
        self._password = password
        basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        forms = (basic, quote(password, safe=""), quote_plus(password), html.escape(password), password)
        read = [form.encode().decode("latin-1") for form in forms]
        quoted = [ascii(form)[1:-1] for form in (*forms, *read)]
        self._forms = re.compile("|".join(map(re.escape, dict.fromkeys((*forms, *read, *quoted)))), re.IGNORECASE)
        self._find = _finding(password)

    def __call__(self, text: str) -> str:
        """One text without it."""
        return self.altogether()(text)

    def altogether(self) -> Callable[[str], str]:
        """What takes it out of several texts, for which together there is an end of looking: the rest is not shown."""
        if len(self._password) < _SHORTEST:
            return str
        left = _MOST_READ

        def hide(text: str) -> str:
            nonlocal left
            if not text:
                return text
            if left <= 0:
                return HIDDEN
            hidden = _without_cut(self._forms.sub(HIDDEN, text[:_LOOKED_AT]), self._password)
            found, read = self._find(hidden)
            left -= read
            return HIDDEN if found else hidden

        return hide


def _finding(password: str) -> Callable[[str], tuple[bool, int]]:
    """Whether a password can be read in a text, forwards or backwards, whatever stands between its letters.

    And how much was read for that; where that is very much, it counts as found.
    """
    reduced = bare if len(bare(password)) >= _TELLING else squeezed
    wanted = reduced(password)
    ways = {wanted, wanted[::-1]} if len(wanted) >= _TELLING else {wanted}

    def found(text: str) -> tuple[bool, int]:
        read = 0
        for reading in readings(text, len(password.encode())):
            read += len(reading) + _EACH
            if read > _MOST_READ or any(way in reduced(reading) for way in ways):
                return True, read
        return False, read

    remembered = lru_cache(_REMEMBERED)(found)  # names and headers are the same from probe to probe
    return lambda text: (remembered if len(text) <= _SHORT else found)(text)


def _without_cut(text: str, password: str) -> str:
    """A text that may have been cut off within a password, at its end or before an ellipsis, without what is left."""
    return "...".join(_less_beginning(piece, password) for piece in text.split("..."))


def _less_beginning(text: str, password: str) -> str:
    for length in range(len(password) - 1, _SHORTEST - 1, -1):
        if text.endswith(password[:length]):
            return f"{text[:-length]}{HIDDEN}"
    return text
