"""Keep of what was seen as much as is shown, and no secret: Evidence -> Evidence. Pure.

A stranger wrote it, and it is kept for each target until the next probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from exporter.model.vocabulary import Answer, Certificate, Evidence, TlsFacts

MOST_HEADERS: Final = 64
LONGEST_NAME: Final = 64  # characters
LONGEST_VALUE: Final = 512
MOST_TEXT: Final = 8 * 1024  # characters of all headers
MOST_ANSWERS: Final = 4  # of a dialogue with a proxy: the last ones
_PAGE_WITHIN: Final = 1024  # characters of a page in a dialogue


def kept(seen: Evidence, conceal: Callable[[str], str]) -> Evidence:
    """The evidence less what `conceal` takes out of each text, which is cut then: nobody knows half of a secret."""
    answer = seen.answer and _cut(_concealed(seen.answer, conceal))
    dialogue = tuple(
        replace(one, body=one.body[:_PAGE_WITHIN])
        for one in (_cut(_concealed(said, conceal)) for said in seen.dialogue[-MOST_ANSWERS:])
    )
    tls, proxy_tls = (facts and _nameless(facts, conceal) for facts in (seen.tls, seen.proxy_tls))
    return replace(seen, answer=answer, dialogue=dialogue, tls=tls, proxy_tls=proxy_tls)


def _nameless(facts: TlsFacts, conceal: Callable[[str], str]) -> TlsFacts:
    """What a handshake showed, with names of which whoever issued the certificates may have made anything."""

    def named(certificate: Certificate) -> Certificate:
        texts = {name: getattr(certificate, name) for name in ("subject", "issuer", "ca_issuers")}
        changed: dict[str, Any] = {
            name: hidden for name, text in texts.items() if text and (hidden := conceal(text)) != text
        }
        return replace(certificate, **changed) if changed else certificate  # most are shared by many targets

    chain, path = tuple(map(named, facts.chain)), tuple(map(named, facts.path))
    return replace(facts, chain=chain, path=path, missing=facts.missing and conceal(facts.missing))


def _concealed(answer: Answer, conceal: Callable[[str], str]) -> Answer:
    headers = tuple((conceal(name), conceal(value)) for name, value in answer.headers)
    return replace(answer, headers=headers, body=conceal(answer.body))


def _cut(answer: Answer) -> Answer:
    return replace(answer, headers=tuple(_beginnings(answer)))


def _beginnings(answer: Answer) -> Iterator[tuple[str, str]]:
    left = MOST_TEXT
    for number, (name, value) in enumerate(answer.headers):
        header = _beginning(name, LONGEST_NAME), _beginning(value, LONGEST_VALUE)
        left -= sum(map(len, header))
        if number == MOST_HEADERS or left < 0:
            yield "...", f"{len(answer.headers) - number} more headers"
            return
        yield header


def _beginning(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
