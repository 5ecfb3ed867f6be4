"""What a person with the tools at hand could read in a text: a text -> it decoded, again and again. Pure."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import Final
from urllib.parse import unquote_to_bytes

_DEPTH: Final = 4  # codes within codes
_MARKUP: Final = re.compile(r"<!--.{0,1000}?-->|</?[a-z!?][^<>]{0,1000}>", re.DOTALL | re.IGNORECASE)
_PERCENT: Final = re.compile(r"(?:%[0-9a-f]{2})+", re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"(?:=[0-9a-f]{2})+", re.IGNORECASE)  # quoted-printable, of mail
_BACKSLASH: Final = re.compile(
    r"(?:\\|%(?=u))(?:x([0-9a-f]{2})|u\{?([0-9a-f]{4,6})\}?|U([0-9a-f]{8})|([0-7]{3}))", re.IGNORECASE
)
_BYTES_IN_TEXT: Final = re.compile(r"[\x80-\xff]{2,}")
_INTERNATIONAL: Final = re.compile(r"xn--[a-z0-9-]{1,59}", re.IGNORECASE)
_HEX: Final = re.compile(r"(?:(?:0x|\\x)?[0-9a-f]{2}[\s:,;.-]{0,2}){4,}", re.IGNORECASE)
_NUMBERS: Final = re.compile(r"(?:\d{2,5}[\s,;+|-]{1,3}){3,}\d{2,5}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{6,}")
_NO_DIGIT: Final = re.compile(r"0x|\\x|[^0-9a-f]", re.IGNORECASE)
_MARKS: Final = re.compile(r"([^\w\x00-\x7f]{32})[^\w\x00-\x7f]+")
_FOLD: Final = re.compile(r"[\r\n]+[ \t]*")
_LAST: Final = 0x10FFFF


def bare(text: str) -> str:
    """Its letters and digits alone, in one case and one width, however they are set apart."""
    return re.sub(r"[\W_]+", "", _folded(text))


def squeezed(text: str) -> str:
    """The same less blanks and what does not print, in one case and one width."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060-\u2064\ufeff]+", "", _folded(text))


def _folded(text: str) -> str:
    # Marks that combine are put in an order, which takes the square of the length of a run of them.
    return unicodedata.normalize("NFKC", _MARKS.sub(r"\1", text)).casefold()


def readings(text: str, size: int, depth: int = 2) -> Iterator[str]:
    """The text itself, with its markup and without, and what is written in it in any code that is read by machines.

    Of what stands in there as bytes or numbers, only what may come to `size` bytes, and codes so deep within codes.
    """
    for level in _levels(text):
        yield level
        if "<" in level:
            yield _MARKUP.sub("", level)
        for found in _runs(level, size):
            if depth and found.isascii():
                yield from readings(found, size, depth - 1)
            else:
                yield found


def _levels(text: str) -> Iterator[str]:
    """The text, and it decoded again and again, as long as that changes it."""
    yield text
    for _ in range(_DEPTH):
        before, text = text, _decoded(text)
        if text == before:
            return
        yield text


def _decoded(text: str) -> str:
    if "&" in text:
        text = unescape(text)
    if "\\" in text or "%u" in text:
        text = _BACKSLASH.sub(_character, text)
    for code, escape in (("%", _PERCENT), ("=", _PRINTABLE)):
        if code in text:
            text = escape.sub(lambda found: _characters(unquote_to_bytes(found[0].replace("=", "%"))), text)
    if "--" in text:
        text = _INTERNATIONAL.sub(_domain, text)
    if not text.isascii():
        text = _BYTES_IN_TEXT.sub(lambda found: _characters(found[0].encode("latin-1")), text)
    return text


def _character(escape: re.Match[str]) -> str:
    hexadecimal, octal = escape[1] or escape[2] or escape[3], escape[4]
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8)
    return chr(number) if number <= _LAST else escape[0]


def _domain(label: re.Match[str]) -> str:
    with suppress(UnicodeError):
        return label[0][4:].encode("ascii").decode("punycode")
    return label[0]


def _runs(text: str, size: int) -> Iterator[str]:
    """What bytes and numbers in it come to that are written down as such."""
    for found in _HEX.finditer(text):
        digits = _NO_DIGIT.sub("", found[0])
        if len(digits) >= 2 * size:
            for data in (digits, digits[1:]):
                yield from _texts(bytes.fromhex(data[: len(data) // 2 * 2]))
    for found in _NUMBERS.finditer(text):
        numbers = map(int, re.findall(r"\d+", found[0]))
        yield "".join(chr(number) for number in numbers if number <= _LAST)
    for found in _BASE64.finditer(_FOLD.sub("", text)):
        run = found[0].replace("-", "+").replace("_", "/")
        if len(run) * 3 >= (size - 1) * 4:
            for before in range(4):
                yield from _texts(_from_base64(run[before:]))


def _from_base64(text: str) -> bytes:
    whole = text[:-1] if len(text) % 4 == 1 else text
    return b64decode(whole + "=" * (-len(whole) % 4))


def _texts(data: bytes) -> Iterator[str]:
    """What bytes say, also where others stand beside those that say something."""
    yield _characters(data)
    with suppress(UnicodeDecodeError):
        data.decode()
        return
    yield data.decode("utf-8", "ignore")


def _characters(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
