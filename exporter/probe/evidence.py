"""Keep of what was seen as much as is shown, and no secret: Evidence -> Evidence. Pure.

A stranger wrote it, and it is kept for each target until the next probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from exporter.model.vocabulary import Answer, Certificate, Evidence, TlsFacts
from exporter.text.numbers import plural

MOST_HEADERS: Final = 64
LONGEST_NAME: Final = 64  # characters
LONGEST_VALUE: Final = 512
MOST_TEXT: Final = 8 * 1024  # characters of all headers
MOST_ANSWERS: Final = 4  # of a dialogue with a proxy: the last ones
_PAGE_WITHIN: Final = 1024  # characters of a page in a dialogue


def kept(seen: Evidence, conceal: Callable[[str], str]) -> Evidence:
    """The evidence less what `conceal` takes out of each text, which is cut then: nobody knows half of a secret.

    Of what is cut, twice as much as is kept is looked through: with what a stranger may send, it would take seconds.
    """
    answer = seen.answer and _cut(seen.answer, conceal, len(seen.answer.body))
    tls, proxy_tls = _named(seen.tls, conceal), _named(seen.proxy_tls, conceal)
    dialogue = tuple(_cut(said, conceal, _PAGE_WITHIN) for said in seen.dialogue[-MOST_ANSWERS:])
    return replace(seen, answer=answer, dialogue=dialogue, tls=tls, proxy_tls=proxy_tls)


def _named(facts: TlsFacts | None, conceal: Callable[[str], str]) -> TlsFacts | None:
    """What certificates say; the same object where there is nothing to take out, as it is kept for others, too."""
    if facts is None:
        return None
    found: dict[str, str] = {}

    def concealed(text: str | None) -> str | None:
        if text and text not in found:
            found[text] = conceal(text)
        return text and found[text]

    def shown(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        return tuple(
            replace(
                one,
                subject=concealed(one.subject),
                issuer=concealed(one.issuer),
                ca_issuers=concealed(one.ca_issuers),
            )
            for one in chain
        )

    less = replace(facts, chain=shown(facts.chain), path=shown(facts.path), missing=concealed(facts.missing))
    return facts if less == facts else less


def _cut(answer: Answer, conceal: Callable[[str], str], page: int) -> Answer:
    body = conceal(answer.body[: 2 * page])[:page]
    phrase = _beginning(answer.phrase, LONGEST_VALUE, conceal)
    return replace(answer, headers=tuple(_beginnings(answer, conceal)), body=body, phrase=phrase)


def _beginnings(answer: Answer, conceal: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    left = MOST_TEXT
    for number, (name, value) in enumerate(answer.headers):
        if number < MOST_HEADERS:
            header = _beginning(name, LONGEST_NAME, conceal), _beginning(value, LONGEST_VALUE, conceal)
            left -= sum(map(len, header))
        if number == MOST_HEADERS or left < 0:
            yield "...", plural(len(answer.headers) - number, "more header")
            return
        yield header


def _beginning(text: str, length: int, conceal: Callable[[str], str]) -> str:
    shown = conceal(text[: 2 * length])
    return shown if len(shown) <= length and len(text) <= 2 * length else f"{shown[:length]}..."
