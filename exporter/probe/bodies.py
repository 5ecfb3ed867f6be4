"""How a body begins, as somebody would read it: (head of an answer, bytes) -> text, whatever its labels say. Pure.

Filters and portals label their pages carelessly, so the labels only say what is worth a look: what is meant to be
stored or played is none. Whether a body is a page, its first tag shows where its type does not.
"""

from __future__ import annotations

import codecs
import re
import zlib
from encodings import normalize_encoding
from encodings.aliases import aliases
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Answer

BEGINNING: Final = 4096  # characters that are kept
ENOUGH: Final = 2 * BEGINNING  # bytes that are read for them: two each in UTF-16
# The same of a page that somebody on the way may have put there: its style and its logo often stand before its words.
ENOUGH_OF_A_PAGE: Final = 8 * ENOUGH

_PAGES: Final = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS: Final = frozenset({"application/json", "application/xml", "application/javascript", "application/x-javascript"})
# What is no type, or says that nobody knows it, leaves the browser to guess: https://mimesniff.spec.whatwg.org, 7.
_UNKNOWN: Final = frozenset({"", "unknown/unknown", "application/unknown"})


def worth_reading(answer: Answer) -> bool:
    """Whether a body may be text that somebody reads, by what its head says."""
    kind = _media_type(answer)
    return kind in _PAGES | _TEXTS | _UNKNOWN or kind.startswith("text/") or kind.endswith(("+xml", "+json"))


def is_page(answer: Answer) -> bool:
    """Whether an answer's body is one that a browser shows as a page: by its type, or else by its first tag."""
    kind = _media_type(answer)
    return kind in _PAGES or _begins_page(answer.body, xml=kind.endswith("xml"))


def readable(answer: Answer, body: bytes) -> str:
    """How a body begins that was read as it came, unpacked and decoded; empty where that is no text.

    What is too long is shown without style sheets and images, of which nobody reads anything.
    """
    if not worth_reading(answer):
        return ""
    packing = ",".join(answer.values("Content-Encoding"))
    as_it_came = _decoded(body, answer)
    # A filter may put its page in place of a packed body, and leave the label of that.
    text = as_it_came if _begins_page(as_it_came) else _decoded(unpacked(body, packing, ENOUGH_OF_A_PAGE), answer)
    return text[:BEGINNING] if len(text) <= BEGINNING else _IMAGE.sub("data:", _without_style(text))[:BEGINNING]


# ---------------------------------------------------------------- types

_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*[\"']?([^\s\"';,]{1,40})", re.IGNORECASE)
_BLANK: Final = r"(?>(?:\s+|(?><!--.*?-->)|(?><\?.*?>))*)"  # atomic, so that the time does not explode
_FIRST_TAG: Final = re.compile(
    _BLANK + r"<(?:!doctype\s+html|html|head|title|meta|link|base|style|script|noscript|body|frameset|iframe|form|div|"
    r"span|table|center|font|big|img|h[1-6]|p|a|b|br|hr)(?=[\s/>])",
    re.IGNORECASE | re.DOTALL,
)
_FIRST_IN_XML: Final = re.compile(_BLANK + r"<(?:!doctype\s+html|html)(?=[\s>])", re.IGNORECASE | re.DOTALL)


def _media_type(answer: Answer) -> str:
    """The type in lower case, without its parameters; empty where none can be made out. Of several the last counts."""
    given = ",".join(answer.values("Content-Type")).lower().split(",")
    types = [match[0] for text in given if (match := _TYPE.fullmatch(text.partition(";")[0].strip()))]
    return next((kind for kind in reversed(types) if kind not in {"*/*", *_UNKNOWN}), "")


def _begins_page(text: str, *, xml: bool = False) -> bool:
    first = _FIRST_IN_XML if xml else _FIRST_TAG
    return first.match(text[:BEGINNING].removeprefix("\ufeff")) is not None


_STYLE: Final = re.compile(r"<(/?)style(?=[\s/>])", re.IGNORECASE)
_IMAGE: Final = re.compile(r"data:[\w/+;=,.%-]{64,}+")


def _without_style(text: str) -> str:
    """A page without what stands in its style elements."""
    kept, begun, inside = [], 0, False
    for tag in _STYLE.finditer(text):
        if not inside and not tag[1]:
            kept.append(f"{text[begun : tag.start()]}<style>")
            inside = True
        elif inside and tag[1]:
            begun, inside = tag.start(), False
    return "".join(kept) + ("" if inside else text[begun:])


# ---------------------------------------------------------------- packing

_EITHER: Final = zlib.MAX_WBITS | 32  # a header of gzip's or of zlib's own
_BARE: Final = -zlib.MAX_WBITS  # no header, as some servers understand `deflate`
_INFLATED: Final = MappingProxyType({"gzip": (_EITHER,), "x-gzip": (_EITHER,), "deflate": (_EITHER, _BARE)})
_PACKINGS: Final = 4  # one in another


def unpacked(body: bytes, coding: str, most: int) -> bytes:
    """How a body begins, unpacked no further than that: a small one may hold gigabytes. Empty where it cannot be."""
    codings = [name.strip().lower() for name in coding.split(",") if name.strip()]
    if len(codings) > _PACKINGS:
        return b""
    for name in reversed(codings):
        if name in _INFLATED:
            body = next(filter(None, (_as_far(body, window, most) for window in _INFLATED[name])), b"")
        elif name != "identity":
            return b""  # nothing of the kind was asked for
    return body[:most]


def _as_far(body: bytes, window: int, most: int) -> bytes:
    """As much as can be unpacked: what comes behind a fault is passed over, and the fault with it.

    Where there is one, in smaller and smaller pieces, since zlib gives nothing of a piece that has a fault in it.
    """
    engine = zlib.decompressobj(window)
    found, at, piece = b"", 0, ENOUGH
    while piece and at < len(body[:ENOUGH]) and len(found) < most:
        before = engine.copy()
        try:
            found += engine.decompress(engine.unconsumed_tail + body[at : min(at + piece, ENOUGH)], most - len(found))
            at += piece
        except zlib.error:
            engine = before
            piece //= 2
    return found


# ---------------------------------------------------------------- characters

_MARKS: Final = (  # UTF-32 first, as its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED: Final = re.compile(
    rb"<(?:meta|\?xml)\s[^<>]{0,500}?(?:charset|encoding)\s{0,5}=\s{0,5}[\"']?([\w:.-]{2,40})", re.IGNORECASE
)
_WIDE: Final = 64  # bytes among which a zero shows that each character has two, where its text is mostly ASCII
_PRESCANNED: Final = 1024  # bytes in which a page may declare its encoding: https://html.spec.whatwg.org, 13.2.3.2
# Encodings of pages, by Python's names. Not its others: some unpack, and some run for long.
_CHARACTERS: Final = re.compile(
    r"ascii|utf-8|iso8859-\d+|cp(?:125\d|866|874|932|949|950|437|850|852)|koi8-[ru]|"
    r"mac-(?:roman|cyrillic)|gb(?:2312|k|18030)|big5(?:hkscs)?|euc_(?:jp|kr)|shift_jis|iso2022_jp|tis-620"
)
# Python's own lookup remembers each name for good that it was ever asked for, so it is asked for no other.
_PYTHONS: Final = frozenset({*aliases.values(), "cp874", "koi8_u"})


def _decoded(body: bytes, answer: Answer) -> str:
    """Its text by its mark, its label, what it declares itself, or what it looks like; empty for what is no text."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    text = body.decode(_encoding(body, answer), "replace")
    return text if _media_type(answer) in _PAGES or "\0" not in text else ""


def _encoding(body: bytes, answer: Answer) -> str:
    """Python's name for the encoding of a body without a mark."""
    label = _CHARSET.search(";".join(("", *answer.values("Content-Type"))))
    declared = _DECLARED.search(body[:_PRESCANNED])
    names = [_known(label[1])] if label else []
    names += [_known(declared[1].decode("ascii"))] if declared else []
    if b"\0" in body[:_WIDE] and ("utf-16" in names or body.lstrip(b"\t\n\f\r \0").startswith(b"<")):
        return "utf-16-be" if body.startswith(b"\0") else "utf-16-le"
    return next((name for name in names if name not in {"", "utf-16"}), "utf-8")


def _known(label: str) -> str:
    """Python's name for an encoding of pages, `utf-16` for those that are two bytes wide; empty for what is none."""
    for spelling in (label.lower(), label.lower().removeprefix("x-")):
        known = normalize_encoding(spelling)
        known = aliases.get(known) or aliases.get(known.replace(".", "_"), known)
        if known in _PYTHONS:
            name = codecs.lookup(known).name
            return "utf-16" if name.startswith("utf-16") else name * bool(_CHARACTERS.fullmatch(name))
    return ""
