"""What several addresses come to together: the one that leads to a remedy."""

from __future__ import annotations

import errno
import os
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import Cause, Contact, Evidence, Failure, Phase, Question, Reason, Target, Tried
from exporter.probe.classify import Way, classify
from exporter.probe.connecting import at_private_address, contact_of, telling_most
from exporter.probe.errors import Sinkholed, Unanswered, Unfound

SILENT = 0  # for an errno: no answer until the time was up

# By turns what IPv6 and IPv4 came to, and the reason that matters.
TOGETHER = [
    ((errno.ENETUNREACH, errno.ECONNREFUSED), Reason.CONNECT_REFUSED),
    ((errno.ENETUNREACH, SILENT), Reason.CONNECT_TIMEOUT),
    ((errno.ENETUNREACH, errno.ETIMEDOUT), Reason.CONNECT_TIMEOUT),
    ((errno.ENETUNREACH, errno.EHOSTUNREACH), Reason.CONNECT_UNREACHABLE),
    ((errno.EAFNOSUPPORT, SILENT), Reason.CONNECT_TIMEOUT),
    ((errno.EADDRNOTAVAIL, errno.ECONNREFUSED), Reason.CONNECT_REFUSED),
    ((errno.EHOSTUNREACH, errno.ECONNREFUSED), Reason.CONNECT_REFUSED),
    ((errno.EHOSTUNREACH, SILENT), Reason.CONNECT_TIMEOUT),
    ((errno.EACCES, SILENT), Reason.CONNECT_UNREACHABLE),  # a rule says no
    ((errno.EACCES, errno.ECONNREFUSED), Reason.CONNECT_REFUSED),
    ((SILENT, errno.ECONNREFUSED), Reason.CONNECT_REFUSED),
    ((SILENT, SILENT), Reason.CONNECT_TIMEOUT),
    ((errno.ENETUNREACH, errno.ENETUNREACH), Reason.CONNECT_UNREACHABLE),
    ((errno.ENETUNREACH, SILENT, errno.ECONNREFUSED), Reason.CONNECT_REFUSED),
]


def tried(*outcomes: int) -> tuple[Tried, ...]:
    """Addresses that came to these errors."""
    return tuple(
        Tried(f"192.0.2.{number}", Contact.SILENT, 1.0)
        if outcome == SILENT
        else Tried(f"192.0.2.{number}", contact_of(OSError(outcome, "")), 0.1, os.strerror(outcome))
        for number, outcome in enumerate(outcomes, 1)
    )


def error_of(outcomes: tuple[int, ...]) -> OSError:
    """What ends the attempt: the timeout, or the last of the errors."""
    return TimeoutError() if SILENT in outcomes else OSError(outcomes[-1], os.strerror(outcomes[-1]))


@pytest.mark.parametrize(("outcomes", "reason"), TOGETHER)
def test_the_reason_is_that_of_the_address_that_leads_to_a_remedy(outcomes: tuple[int, ...], reason: Reason) -> None:
    for order in permutations(outcomes):
        seen = Evidence(tried=tried(*order))
        found = classify(Phase.CONNECT, error_of(order), Way.DIRECT, seen)
        assert found.reason is reason
        assert all(one.address in found.message for one in seen.tried)
        assert classify(Phase.CONNECT, error_of(order), Way.TUNNEL, seen).reason is Reason.PROXY_UNREACHABLE


def test_the_address_that_tells_most_is_named_first_and_a_crowd_is_counted() -> None:
    seen = Evidence(tried=tried(*[errno.ENETUNREACH] * 6, errno.ECONNREFUSED))
    found = classify(Phase.CONNECT, error_of((errno.ENETUNREACH,)), Way.DIRECT, seen)
    assert found.message == (
        "Connection refused (192.0.2.7); Network is unreachable (192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 2 more)"
    )


def test_the_addresses_of_a_proxy_are_not_in_the_message() -> None:
    seen = Evidence(tried=tried(errno.ENETUNREACH, errno.ECONNREFUSED))
    found = classify(Phase.CONNECT, error_of((errno.ENETUNREACH,)), Way.RELAY, seen)
    assert found.message == "no connection to the proxy: Connection refused"


@given(st.lists(st.sampled_from([errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPIPE]), min_size=1))
def test_what_this_machine_lacks_comes_before_all_else(numbers: list[int]) -> None:
    errors = [OSError(number, "") for number in numbers]
    assert telling_most([*errors, OSError(errno.EMFILE, "")]).errno == errno.EMFILE
    assert telling_most(errors) in errors


@pytest.mark.parametrize(
    ("target", "addresses", "cause"),
    [
        (Target("https://public.example/"), ("10.0.0.1", "fd00::1"), Cause.PRIVATE_ADDRESS),
        (Target("https://public.example/"), ("10.0.0.1", "192.0.2.1"), None),
        (Target("https://public.example/"), (), None),
        (Target("https://intranet.example/", own=True), ("10.0.0.1",), None),
        (Target("https://10.0.0.1/"), ("10.0.0.1",), None),
    ],
)
def test_a_public_name_at_a_private_address_is_told_when_the_connection_fails(
    target: Target, addresses: tuple[str, ...], cause: Cause | None
) -> None:
    failure = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "silent")
    assert at_private_address(failure, target, Evidence(addresses)).cause is cause
    later = Failure(Phase.TLS, Reason.TLS_TIMEOUT, "silent")
    assert at_private_address(later, target, Evidence(addresses)) == later


@pytest.mark.parametrize(
    ("error", "way", "expected"),
    [
        (
            Sinkholed("resolves to ::: hidden"),
            Way.DIRECT,
            Failure(Phase.RESOLVE, Reason.DNS_ERROR, "the name resolves to ::: hidden", Cause.SINKHOLE),
        ),
        (
            Sinkholed("resolves to ::: hidden"),
            Way.TUNNEL,
            Failure(Phase.RESOLVE, Reason.DNS_ERROR, "the proxy's name resolves to ::: hidden", Cause.SINKHOLE),
        ),
        (Unfound("gone"), Way.DIRECT, Failure(Phase.RESOLVE, Reason.DNS_NOT_FOUND, "gone")),
        (Unfound("gone"), Way.RELAY, Failure(Phase.RESOLVE, Reason.PROXY_UNREACHABLE, "the proxy's name: gone")),
        (Unanswered("no answer"), Way.TUNNEL, Failure(Phase.RESOLVE, Reason.DNS_TIMEOUT, "no answer")),
    ],
)
def test_what_becomes_of_a_name(error: Exception, way: Way, expected: Failure) -> None:
    assert classify(Phase.RESOLVE, error, way) == expected


def test_the_question_without_an_answer_is_named() -> None:
    seen = Evidence(unanswered=Question.AAAA)
    found = classify(Phase.RESOLVE, TimeoutError(), Way.DIRECT, seen)
    assert found.message == "no answer within the timeout to the question for IPv6 addresses (AAAA)"
