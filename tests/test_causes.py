"""What has to be changed once: every target that is down, in the cause that somebody can remove."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Certificate,
    Check,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    Evidence,
    Failure,
    Importance,
    Phase,
    Plan,
    Reason,
    Requirement,
    Result,
    Root,
    Snapshot,
    Target,
    TlsFacts,
    Tried,
    Trust,
    Use,
    WhyReference,
)
from exporter.report.causes import Cause, apart, causes, reported
from exporter.report.evidence import common_name
from exporter.report.findings import down
from exporter.report.reasons import Who
from exporter.results.store import ResultStore
from tests.strategies import plans_with_results

UPDATES, INTUNE = (Consumer(feature, "client", "azure-public") for feature in ("updates", "intune"))


def snapshot_of(plan: Plan, results: Iterable[Result]) -> Snapshot:
    store = ResultStore(plan)
    for result in results:
        store.record(result)
    return store.snapshot()


def down_by(
    host: str, phase: Phase, reason: Reason, *, proxy: str | None = None, by: str | None = None, at: float = 0.0
) -> Result:
    """A target that failed in a phase."""
    key = CheckKey(Target(f"https://{host}/"), proxy)
    laps = dict.fromkeys(list(Phase)[: list(Phase).index(phase) + 1], 0.5)
    seen = Evidence(("192.0.2.1",), by_dns=proxy is None)
    return Result(key, at, laps, seen, Failure(phase, reason, "in words", answered_by=by))


def up(host: str, *, proxy: str | None = None, at: float = 0.0) -> Result:
    key = CheckKey(Target(f"https://{host}/"), proxy)
    return Result(key, at, {Phase.RESOLVE: 0.5, Phase.CONNECT: 0.5}, Evidence(("192.0.2.1",), by_dns=True))


def inspected(host: str, issuer: str, *, proxy: str | None = None) -> Result:
    chain = (Certificate(f"CN={host}", issuer, 0.0, 9.0, "ab"),)
    failed = down_by(host, Phase.TLS, Reason.TLS_UNTRUSTED, proxy=proxy)
    return replace(failed, evidence=replace(failed.evidence, tls=TlsFacts(chain=chain, leads_to=Root.PRIVATE)))


def needed(
    results: Iterable[Result],
    consumer: Consumer = UPDATES,
    importance: Importance = Importance.NORMAL,
    *,
    trust: Trust = Trust.PUBLIC,
    reference: WhyReference | None = None,
) -> Plan:
    """A plan in which a consumer needs each target as it stands."""
    checks, requirements = [], []
    for result in results:
        target = result.key.target
        use = Use(consumer, target.host)
        checks.append(Check(result.key, (use,), frozenset({use} if reference else ())))
        endpoint = Endpoint(target.host, trust=trust, reference=reference)
        requirements.append(Requirement(use, endpoint, None, (target,), importance=importance))
    return Plan(tuple(checks), tuple(requirements))


def found(*results: Result) -> tuple[Cause, ...]:
    return causes(snapshot_of(needed(results), results))


# ---------------------------------------------------------------- laws


@given(plans_with_results())
def test_everything_that_is_down_has_exactly_one_cause(drawn: tuple[Plan, dict[CheckKey, Result]]) -> None:
    plan, results = drawn
    snapshot = snapshot_of(plan, results.values())
    faults = Counter(fault.key for cause in causes(snapshot) for fault in cause.faults)
    assert faults == Counter(fault.key for fault in down(snapshot))


@given(plans_with_results(), st.randoms())
def test_the_order_of_the_plan_changes_no_cause(drawn: tuple[Plan, dict[CheckKey, Result]], random: Random) -> None:
    plan, results = drawn
    shuffled = list(plan.checks)
    random.shuffle(shuffled)
    other = replace(plan, checks=tuple(shuffled))
    assert causes(snapshot_of(other, results.values())) == causes(snapshot_of(plan, results.values()))


@given(plans_with_results())
def test_each_path_that_is_down_is_one_cause_and_the_others_have_one_kind(
    drawn: tuple[Plan, dict[CheckKey, Result]],
) -> None:
    plan, results = drawn
    snapshot = snapshot_of(plan, results.values())
    shown = causes(snapshot)
    assert sorted(cause.path for cause in shown if cause.whole_path) == sorted(
        path for path, is_up in snapshot.paths.items() if not is_up
    )
    for cause in shown:
        kinds = {(fault.key.path, fault.failure.reason, fault.failure.cause) for fault in cause.faults}
        assert cause.whole_path or len(kinds) == 1
        assert cause.result.key == cause.targets[0]


@given(plans_with_results())
def test_what_makes_nothing_unusable_comes_last(drawn: tuple[Plan, dict[CheckKey, Result]]) -> None:
    plan, results = drawn
    snapshot = snapshot_of(plan, results.values())
    shown = causes(snapshot)
    assert [cause.harmless for cause in shown] == sorted(cause.harmless for cause in shown)
    broken = {use.consumer for fault in down(snapshot) for use in fault.broken}
    assert {consumer for cause in shown for consumer in cause.consumers} == broken
    assert all((cause.importance is None) == cause.harmless for cause in shown)


@given(plans_with_results())
def test_a_headline_is_one_line_that_names_where_to_look(drawn: tuple[Plan, dict[CheckKey, Result]]) -> None:
    plan, results = drawn
    for cause in causes(snapshot_of(plan, results.values())):
        assert cause.headline.isprintable()
        assert cause.whole_path or cause.headline.startswith(cause.hosts[0])


# ---------------------------------------------------------------- which go together


def test_a_dead_proxy_is_one_cause_however_many_targets_hang_on_it() -> None:
    refused = [
        replace(failed, evidence=Evidence(tried=(Tried("192.0.2.9", Contact.REFUSED, 0.1, "Connection refused"),)))
        for failed in (
            down_by(f"h{number}.example", Phase.CONNECT, Reason.PROXY_UNREACHABLE, proxy="corporate")
            for number in range(47)
        )
    ]
    direct = down_by("other.example", Phase.PROCESSING, Reason.HTTP_RESET)
    first, second = found(*refused, direct)
    assert (first.headline, len(first.targets), first.who) == (
        "The proxy corporate refuses connections",
        47,
        Who.PROXY,
    )
    assert second.headline == "other.example: connection cut before the answer"


def test_dns_and_the_way_out_are_causes_of_their_own() -> None:
    nobody = [down_by(f"h{number}.example", Phase.RESOLVE, Reason.DNS_TIMEOUT) for number in range(3)]
    (dns,) = found(*nobody)
    assert (dns.path, dns.whole_path, dns.headline) == ("dns", True, "DNS: no answer from the DNS servers")
    silent = [down_by(f"h{number}.example", Phase.CONNECT, Reason.CONNECT_TIMEOUT) for number in range(3)]
    (direct,) = found(*silent)
    assert (direct.path, direct.headline) == ("direct", "Direct connections: no answer to the connection")


def test_targets_of_one_path_and_reason_are_one_cause() -> None:
    unknown = [down_by(f"h{number}.example", Phase.RESOLVE, Reason.DNS_NOT_FOUND) for number in range(3)]
    through = down_by("h9.example", Phase.PROXY, Reason.PROXY_DENIED, proxy="corporate")
    named, denied = found(*unknown, through, up("up.example"))
    assert (named.headline, named.who) == ("h0.example and 2 more hosts: name not found", Who.DNS)
    assert denied.headline == "h9.example: denied by the proxy corporate"


def test_two_products_that_block_are_two_causes() -> None:
    blocked = [
        down_by(f"h{number}.example", Phase.PROCESSING, Reason.HTTP_BLOCKED, by=product)
        for number, product in enumerate(("FortiGate", "Zscaler", "FortiGate"))
    ]
    assert [cause.headline for cause in found(*blocked, up("up.example"))] == [
        "h0.example and 1 more host: blocked on the way (answered by FortiGate)",
        "h1.example: blocked on the way (answered by Zscaler)",
    ]


def test_inspected_targets_are_one_cause_for_each_issuer_and_the_proxys_matter() -> None:
    name = r"CN=Laboratory\, Inspection CA,O=Example"
    shown = [inspected(f"h{number}.example", name, proxy="inspecting") for number in range(17)]
    (cause, other) = found(*shown, inspected("x.example", "O=Nobody", proxy="inspecting"))
    assert cause.headline == (
        "h0.example and 16 more hosts: certificate not trusted (issued by Laboratory, Inspection CA)"
    )
    assert (cause.who, len(cause.targets), other.origin) == (Who.PROXY, 17, "O=Nobody")


def test_a_certificate_of_the_customers_own_is_not_inspected() -> None:
    own = inspected("gateway.example", "CN=Corporate CA")
    (cause,) = causes(snapshot_of(needed([own], trust=Trust.CUSTOMER), [own]))
    assert (cause.origin, cause.who) == ("", Who.PKI)


def test_the_cause_of_the_most_important_feature_comes_first() -> None:
    many = [down_by(f"h{number}.example", Phase.RESOLVE, Reason.DNS_NOT_FOUND) for number in range(3)]
    one = down_by("one.example", Phase.PROCESSING, Reason.HTTP_RESET)
    listed = down_by("listed.example", Phase.PROCESSING, Reason.HTTP_TIMEOUT)
    plans = (
        needed(many),
        needed([one], INTUNE, Importance.CRITICAL),
        needed([listed], INTUNE, Importance.CRITICAL, reference=WhyReference.KNOWN_DEAD),
    )
    plan = Plan(
        tuple(check for part in plans for check in part.checks),
        tuple(requirement for part in plans for requirement in part.requirements),
    )
    shown = causes(snapshot_of(plan, [*many, one, listed, up("up.example")]))
    assert [(cause.reason, cause.importance, cause.features) for cause in shown] == [
        (Reason.HTTP_RESET, Importance.CRITICAL, ("intune",)),
        (Reason.DNS_NOT_FOUND, Importance.NORMAL, ("updates",)),
        (Reason.HTTP_TIMEOUT, None, ()),
    ]


# ---------------------------------------------------------------- since when


def test_a_cause_holds_since_the_first_failure_of_any_of_its_targets() -> None:
    plan = needed([up("a.example"), up("b.example")])
    store = ResultStore(plan)
    for at in (100.0, 200.0, 300.0):
        store.record(
            up("a.example", at=at) if at < 200 else down_by("a.example", Phase.PROXY, Reason.PROXY_DENIED, at=at)
        )
        store.record(
            up("b.example", at=at) if at < 300 else down_by("b.example", Phase.PROXY, Reason.PROXY_DENIED, at=at)
        )
    (cause,) = causes(store.snapshot())
    assert cause.since == 201.5  # the end of that probe


def test_another_reason_does_not_begin_the_failure_anew() -> None:
    store = ResultStore(needed([up("a.example")]))
    store.record(down_by("a.example", Phase.RESOLVE, Reason.DNS_NOT_FOUND, at=100.0))
    store.record(down_by("a.example", Phase.PROCESSING, Reason.HTTP_RESET, at=200.0))
    (cause,) = causes(store.snapshot())
    assert cause.since == 100.5


def test_one_probe_does_not_say_since_when() -> None:
    (cause,) = found(down_by("a.example", Phase.PROCESSING, Reason.HTTP_RESET, at=100.0))
    assert cause.since is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CN=A CA,O=Org", "A CA"),
        ("O=Org,CN=A CA", "A CA"),
        (r"CN=A\, Inc.\+B,O=Org", "A, Inc.+B"),
        ("O=No CN=here", "O=No CN=here"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_common_name_of_an_issuer(name: str | None, expected: str) -> None:
    assert common_name(name) == expected


def test_what_a_path_takes_down_is_not_reported_again() -> None:
    refused = [
        down_by(f"h{number}.example", Phase.CONNECT, Reason.PROXY_UNREACHABLE, proxy="corporate") for number in range(3)
    ]
    lone = down_by("lone.example", Phase.PROCESSING, Reason.HTTP_RESET)
    snapshot = snapshot_of(needed([*refused, lone], reference=WhyReference.CONFIGURED), [*refused, lone])
    assert [fault.key.target.host for fault in apart(snapshot)] == ["lone.example"]
    assert [cause.whole_path for cause in reported(snapshot)] == [True]
