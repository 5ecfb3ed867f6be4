"""The words: complete, exact where they can be checked, and fit for any report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.config.documents import Document
from exporter.model.vocabulary import Cause, Failure, Phase, Reason, WhyUnprobed
from exporter.probe.classify import REFUSED
from exporter.report.reasons import AllWords, Words, all_words, words_of

SHIPPED = all_words()
ALL = [*SHIPPED.reasons.values(), *SHIPPED.causes.values(), SHIPPED.inspection, *SHIPPED.unprobed.values()]


def test_every_reason_has_words() -> None:
    assert list(SHIPPED.reasons) == list(Reason)
    assert list(SHIPPED.causes) == list(Cause)
    assert list(SHIPPED.unprobed) == list(WhyUnprobed)


def test_every_reason_and_cause_has_a_few_words_that_follow_the_hosts() -> None:
    said = [words.short for words in (*SHIPPED.reasons.values(), *SHIPPED.causes.values())]
    assert all(said)
    assert len(set(said)) == len(said)
    assert not [short for short in said if short.endswith(".") or re.findall(r"{(?!proxy})", short)]


def test_a_key_that_nobody_reads_is_a_mistake_in_the_words() -> None:
    document = Document(
        "reasons: {dns_error: {summary: S., remedy: R., who: DNS, remedies: none}}\ncauses: {}\nunprobed: {}\n"
        "inspection: {summary: S., remedy: R., who: DNS}",
        "w.yaml",
    )
    assert document.validate(AllWords) is None
    assert [mistake.place for mistake in document.mistakes] == [("reasons", "dns_error", "remedies")]


def test_a_known_cause_says_more_than_the_reason() -> None:
    plain = Failure(Phase.TLS, Reason.TLS_HANDSHAKE, "")
    assert words_of(plain) is SHIPPED.reasons[Reason.TLS_HANDSHAKE]
    for cause in Cause:
        assert words_of(Failure(Phase.TLS, Reason.TLS_HANDSHAKE, "", cause)) is SHIPPED.causes[cause]


def test_no_two_reasons_have_the_same_words() -> None:
    assert len({words.summary for words in ALL}) == len(ALL)


@pytest.mark.parametrize("words", ALL)
def test_a_summary_is_one_sentence_and_a_remedy_whole_sentences(words: Words) -> None:
    assert words.summary.endswith(".")
    assert ". " not in words.summary
    assert words.remedy.endswith(".")


@pytest.mark.parametrize("words", ALL)
def test_words_print_on_any_terminal_and_in_any_markup(words: Words) -> None:
    text = f"{words.summary} {words.remedy} {words.who}"
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set("<>|*&\\")
    assert text.count("`") % 2 == 0


def test_every_refused_status_is_named_where_it_is_explained() -> None:
    said = SHIPPED.reasons[Reason.HTTP_STATUS].summary + SHIPPED.reasons[Reason.HTTP_BLOCKED].summary
    assert [status for status in REFUSED if str(status) not in said] == []


def test_the_configuration_has_every_key_that_the_words_name() -> None:
    example = (Path(__file__).parents[1] / "config" / "exporter.yaml").read_text(encoding="utf-8")
    named = {key.rpartition(".")[2] for words in ALL for key in re.findall(r"`([^`]+)`", words.remedy)}
    assert named
    assert [key for key in named if not re.search(rf"\b{key}:", example)] == []
