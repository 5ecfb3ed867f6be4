"""What results mean together: the readiness of a feature, and the causes that failures share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Cause,
    Check,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    EndpointState,
    Evidence,
    Failure,
    FeatureReadiness,
    Phase,
    Plan,
    Reason,
    Requirement,
    Result,
    Root,
    Support,
    Target,
    TlsFacts,
    Tried,
    Trust,
    Use,
    Verdict,
    WhyReference,
    WhyUnprobed,
)
from exporter.plan.checks import plan
from exporter.results.paths import families, paths
from exporter.results.readiness import failures_to_come, features, overall, read_of
from tests.strategies import plans_with_results, results_of

UP, DOWN, UNPROBED, PENDING = EndpointState.UP, EndpointState.DOWN, EndpointState.UNPROBED, EndpointState.PENDING
CLIENT = Consumer("updates", "client", "azure-public")
Drawn = tuple[Plan, dict[CheckKey, Result]]


def key(host: str, proxy: str | None = None, scheme: str = "https") -> CheckKey:
    return CheckKey(Target(f"{scheme}://{host}/"), proxy)


def result(
    check: CheckKey,
    reason: Reason | None = None,
    cause: Cause | None = None,
    *,
    address: str = "192.0.2.1",
    by_dns: bool = True,
) -> Result:
    """A result that is up, or that failed for a reason in the phase it belongs to, with a name that was asked for."""
    if reason is None:
        seen = Evidence((address,), address, by_dns=by_dns)
        return Result(check, 0.0, dict.fromkeys((Phase.RESOLVE, Phase.CONNECT, Phase.PROCESSING), 0.1), seen)
    phase = {"dns": Phase.RESOLVE, "connect": Phase.CONNECT, "proxy": Phase.CONNECT, "tls": Phase.TLS}.get(
        reason.split("_")[0], Phase.PROCESSING
    )
    passed = [found for found in Phase if found <= phase] if phase is Phase.RESOLVE else list(Phase)
    came = passed[: passed.index(phase) + 1]
    seen = Evidence((address,) if len(came) > 1 else (), address if len(came) > 2 else None, by_dns=by_dns)
    return Result(check, 0.0, dict.fromkeys(came, 0.1), seen, Failure(phase, reason, "", cause))


# ---------------------------------------------------------------- one endpoint


def state(pattern: str, *outcomes: bool | None) -> EndpointState:
    """The state of an endpoint whose checks came out so; None: no result yet."""
    use = Use(CLIENT, pattern)
    keys = [key(f"h{number}.example") for number in range(len(outcomes))]
    work = Plan(tuple(Check(found, (use,)) for found in keys))
    if not outcomes:
        work = Plan(requirements=(Requirement(use, Endpoint(pattern), None, (), WhyUnprobed.NO_REPRESENTATIVE, ""),))
    known = {
        found: result(found, None if up else Reason.HTTP_STATUS)
        for found, up in zip(keys, outcomes, strict=True)
        if up is not None
    }
    ((endpoint,),) = (feature.endpoints for feature in features(work, known))
    return endpoint.state


@pytest.mark.parametrize(
    ("pattern", "outcomes", "expected"),
    [
        ("host.example", (True,), UP),
        ("host.example", (True, True), UP),
        ("host.example", (True, False), DOWN),
        ("host.example", (False, None), DOWN),
        ("host.example", (True, None), PENDING),
        ("https://host.example/path*", (True, False), DOWN),  # a star in the path does not make a wildcard
        ("<name>.example", (True, False), DOWN),
        ("*.example", (True, False), UP),
        ("*.example", (True, None), UP),
        ("*.example", (False, None), PENDING),
        ("*.example", (False, False), DOWN),
        ("https://*.example", (True, False), UP),
        ("a-*.example", (False, True), UP),
        ("host.example", (), UNPROBED),
        ("*.example", (), UNPROBED),
    ],
)
def test_all_targets_of_an_endpoint_or_one_of_a_wildcard(
    pattern: str, outcomes: tuple[bool | None, ...], expected: EndpointState
) -> None:
    assert state(pattern, *outcomes) == expected


# ---------------------------------------------------------------- inspection


@pytest.mark.parametrize(
    ("inspection", "trust", "root", "breaks"),
    [
        (Support.UNSUPPORTED, Trust.PUBLIC, Root.PRIVATE, True),
        (Support.UNSUPPORTED, Trust.PUBLIC, Root.PUBLIC, False),
        (Support.UNSUPPORTED, Trust.MICROSOFT_PRODUCT, Root.MICROSOFT_PRODUCT, False),
        (Support.UNSUPPORTED, Trust.MICROSOFT_PRODUCT, Root.PRIVATE, True),
        (Support.UNSUPPORTED, Trust.CUSTOMER, Root.PRIVATE, False),
        (Support.UNSUPPORTED, Trust.PUBLIC, None, False),
        (Support.UNSPECIFIED, Trust.PUBLIC, Root.PRIVATE, False),
    ],
)
def test_inspection_breaks_what_does_not_support_it(
    inspection: Support, trust: Trust, root: Root | None, breaks: bool
) -> None:
    use, found = Use(CLIENT, "a.example"), key("a.example")
    needed = Requirement(use, Endpoint("a.example", tls_inspection=inspection, trust=trust), None, (found.target,))
    seen = replace(result(found), evidence=Evidence(tls=TlsFacts(leads_to=root)))
    work = Plan((Check(found, (use,)),), (needed,))
    assert failures_to_come(work, {found: seen}) == (((found, use),) if breaks else ())
    assert failures_to_come(work, {}) == ()


# ---------------------------------------------------------------- one feature


@given(plans_with_results())
def test_readiness_follows_from_the_results_of_the_features_own_checks(drawn: Drawn) -> None:
    work, results = drawn
    outcomes: dict[Use, list[bool | None]] = defaultdict(list, {need.use: [] for need in work.unprobed})
    for check in work.checks:
        for use in check.uses:
            outcomes[use].append(results[check.key].up if check.key in results else None)
    found = {endpoint.use: endpoint for feature in features(work, results) for endpoint in feature.endpoints}
    assert found.keys() == outcomes.keys()
    for use, endpoint in found.items():
        assert endpoint.state == state(use.pattern, *outcomes[use])
        assert set(endpoint.checks) == {check.key for check in work.checks if use in check.uses}


@given(plans_with_results())
def test_a_feature_is_ready_when_nothing_that_is_probed_is_missing(drawn: Drawn) -> None:
    for feature in features(*drawn):
        states = {endpoint.state for endpoint in feature.endpoints} - {UNPROBED}
        assert (feature.ready is True) == (states == {UP})
        assert (feature.ready is False) == (DOWN in states and PENDING not in states)


@given(plans_with_results())
def test_features_and_their_endpoints_stand_in_order_and_once(drawn: Drawn) -> None:
    found = features(*drawn)
    shown = [feature.consumer for feature in found]
    assert shown == sorted(set(shown))
    for feature in found:
        uses = [endpoint.use for endpoint in feature.endpoints]
        assert uses == sorted(set(uses))
        assert {use.consumer for use in uses} == {feature.consumer}


def down(feature: FeatureReadiness) -> set[Use]:
    return {endpoint.use for endpoint in feature.endpoints if endpoint.state is DOWN}


@given(plans_with_results(), st.data())
def test_a_result_that_turns_from_down_to_up_makes_no_feature_worse(drawn: Drawn, data: st.DataObject) -> None:
    work, results = drawn
    failed = [found for found, seen in results.items() if not seen.up]
    assume(failed)
    fixed = data.draw(st.sampled_from(failed))
    better = {**results, fixed: data.draw(results_of(fixed, up=True))}
    for before, after in zip(features(work, results), features(work, better), strict=True):
        assert before.consumer == after.consumer
        assert down(after) <= down(before)
        assert after.ready or not before.ready


@given(plans_with_results())
def test_an_endpoint_without_a_target_changes_no_verdict(drawn: Drawn) -> None:
    work, results = drawn
    verdicts = {feature.consumer: feature.ready for feature in features(Plan(work.checks), results)}
    for feature in features(work, results):
        assert feature.ready == verdicts.get(feature.consumer)


# ---------------------------------------------------------------- verdicts


def needs(feature: str, *endpoints: bool | WhyUnprobed | str, cloud: str = "azure-public") -> list[Requirement]:
    """What a feature needs: a target, one that decides nothing ("reference"), or nothing that can be probed."""
    consumer = Consumer(feature, "client", cloud)
    found = []
    for number, kind in enumerate(endpoints):
        host = f"{feature}{number}.example"
        why = kind if isinstance(kind, WhyUnprobed) else None
        targets = () if why else (Target(f"https://{host}/{'up' if kind else 'down'}"),)
        reference = WhyReference.KNOWN_DEAD if kind == "reference" else None
        found.append(Requirement(Use(consumer, host), Endpoint(host, reference=reference), None, targets, why))
    return found


def verdicts(needed: list[Requirement]) -> tuple[Verdict, list[Verdict]]:
    """What everything and what each feature comes to, where targets end as their URLs say."""
    work = plan(needed, {}, {})
    ends = {c.key: result(c.key, None if c.key.target.url.endswith("/up") else Reason.HTTP_STATUS) for c in work.checks}
    found = features(work, ends)
    return overall(found), [feature.verdict for feature in found]


NO_HOST, NO_HTTP = WhyUnprobed.NO_REPRESENTATIVE, WhyUnprobed.NOT_HTTP
PARAMETER, NOT_THERE = WhyUnprobed.MISSING_PARAMETER, WhyUnprobed.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ((True,), Verdict.READY),
        ((True, False), Verdict.NOT_READY),
        ((True, False, PARAMETER), Verdict.NOT_READY),
        ((True, NO_HOST, NO_HTTP), Verdict.READY),
        ((True, PARAMETER), Verdict.INCOMPLETE),
        ((PARAMETER,), Verdict.INCOMPLETE),
        ((NO_HOST,), Verdict.INCOMPLETE),
        ((NO_HTTP, "reference"), Verdict.INCOMPLETE),
        (("reference",), Verdict.NOTHING_TO_CHECK),
        ((True, "reference"), Verdict.READY),
        ((NOT_THERE,), Verdict.NOT_SUPPORTED),
    ],
)
def test_what_a_feature_comes_to(endpoints: tuple[bool | WhyUnprobed | str, ...], expected: Verdict) -> None:
    whole, (found, beside) = verdicts([*needs("a", *endpoints), *needs("b", True)])
    assert (found, beside) == (expected, Verdict.READY)
    assert whole is (Verdict.READY if expected in {Verdict.NOT_SUPPORTED, Verdict.NOTHING_TO_CHECK} else expected)


@pytest.mark.parametrize("only", [(), (PARAMETER,), (NO_HOST,), (NOT_THERE,), ("reference",)])
def test_where_nothing_that_decides_is_probed_there_is_nothing_to_check(only: tuple[WhyUnprobed | str, ...]) -> None:
    assert verdicts(needs("a", *only))[0] is Verdict.NOTHING_TO_CHECK


def test_what_is_missing_of_what_decides_nothing_makes_nothing_incomplete() -> None:
    (lacking,) = needs("a", PARAMETER)
    listed = replace(lacking, endpoint=replace(lacking.endpoint, reference=WhyReference.CONFIGURED))
    assert verdicts([*needs("b", True), listed])[0] is Verdict.READY


def test_the_first_results_are_waited_for_unless_something_is_down_already() -> None:
    work = plan([*needs("a", True), *needs("b", False), *needs("c", PARAMETER)], {}, {})
    up, broken = sorted((check.key for check in work.checks), key=lambda found: found.target.url)
    assert overall(features(work, {})) is Verdict.PENDING
    assert overall(features(work, {up: result(up)})) is Verdict.PENDING
    assert overall(features(work, {broken: result(broken, Reason.HTTP_STATUS)})) is Verdict.NOT_READY
    assert overall(features(work, {up: result(up), broken: result(broken)})) is Verdict.INCOMPLETE


@given(plans_with_results())
def test_a_verdict_never_flatters(drawn: Drawn) -> None:
    work, results = drawn
    found = features(work, results)
    states = [endpoint.state for feature in found for endpoint in feature.endpoints]
    whole = overall(found)
    assert (whole is Verdict.NOT_READY) == (DOWN in states)
    assert whole is not Verdict.READY or (UP in states and PENDING not in states)
    for feature in found:
        assert feature.verdict is not Verdict.READY or feature.ready is True
        assert feature.ready is not False or feature.verdict is Verdict.NOT_READY


@given(plans_with_results())
def test_a_wildcard_is_partly_open_where_hosts_of_it_are_up_and_others_down(drawn: Drawn) -> None:
    work, results = drawn
    for feature in features(work, results):
        for endpoint in feature.endpoints:
            down_now = {found for found in endpoint.checks if found in results and not results[found].up}
            narrow = endpoint.state is UP and endpoint.use.pattern.startswith("*")
            assert set(endpoint.refused) == (down_now if narrow else set())


@given(plans_with_results(), st.data())
def test_results_outside_the_plan_change_nothing(drawn: Drawn, data: st.DataObject) -> None:
    work, results = drawn
    stranger = key("stranger.example")
    assert features(work, {**results, stranger: data.draw(results_of(stranger))}) == features(work, results)


# ---------------------------------------------------------------- shared causes

A, B = key("a.example"), key("b.example")
VIA_A, VIA_B = key("a.example", "corporate"), key("b.example", "corporate")


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], {}),
        ([result(A)], {"dns": True, "direct": True}),
        ([result(A, Reason.DNS_TIMEOUT), result(B, Reason.DNS_ERROR)], {"dns": False}),
        ([result(A, Reason.DNS_TIMEOUT), result(B)], {"dns": True, "direct": True}),
        ([result(A, Reason.DNS_NOT_FOUND)], {"dns": True}),
        ([result(A, Reason.CONNECT_TIMEOUT), result(B, Reason.CONNECT_REFUSED)], {"dns": True, "direct": False}),
        ([result(A, Reason.CONNECT_UNREACHABLE), result(B, Reason.CONNECT_TIMEOUT)], {"dns": True, "direct": False}),
        ([result(A, Reason.CONNECT_TIMEOUT), result(B, Reason.DNS_TIMEOUT)], {"dns": True, "direct": True}),
        ([result(A, Reason.CONNECT_TIMEOUT), result(B, Reason.TLS_TIMEOUT)], {"dns": True, "direct": True}),
        ([result(A, Reason.CONNECT_TIMEOUT)], {"dns": True, "direct": True}),
        ([result(VIA_A, Reason.PROXY_UNREACHABLE)], {"dns": True, "proxy:corporate": False}),
        (
            [result(VIA_A, Reason.PROXY_AUTH_REQUIRED), result(VIA_B, Reason.PROXY_UNREACHABLE)],
            {"dns": True, "proxy:corporate": False},
        ),
        ([result(VIA_A, Reason.PROXY_UNREACHABLE), result(VIA_B)], {"dns": True, "proxy:corporate": True}),
        ([result(VIA_A, Reason.PROXY_DENIED)], {"dns": True, "proxy:corporate": True}),
        ([result(VIA_A, Reason.PROXY_ERROR)], {"dns": True, "proxy:corporate": True}),
        (
            [result(VIA_A, Reason.PROXY_ERROR, Cause.NOT_A_PROXY), result(VIA_B, Reason.PROXY_UNREACHABLE)],
            {"dns": True, "proxy:corporate": False},
        ),
        ([result(VIA_A, Reason.PROXY_ERROR, Cause.NOT_A_PROXY), result(VIA_B)], {"dns": True, "proxy:corporate": True}),
        ([result(VIA_A, Reason.HTTP_STATUS)], {"dns": True, "proxy:corporate": True}),
        (
            [result(VIA_A, Reason.DNS_TIMEOUT), result(VIA_B, Reason.DNS_ERROR)],
            {"dns": False, "proxy:corporate": True},
        ),
    ],
)
def test_a_path_is_down_when_all_that_used_it_points_at_it(results: list[Result], expected: dict[str, bool]) -> None:
    assert paths(results) == expected


@pytest.mark.parametrize("reason", [Reason.DNS_NOT_FOUND, Reason.CONNECT_TIMEOUT])
def test_one_dead_host_asked_by_two_schemes_takes_no_path_down(reason: Reason) -> None:
    dead = [result(key("a.example", scheme=scheme), reason) for scheme in ("http", "https")]
    assert False not in paths(dead).values()


INTRANET = CheckKey(Target("http://sup.corp.example:8530/", own=True))
OTHER_INTRANET = CheckKey(Target("http://mp.corp.example/", own=True))
SILENT, TIMEOUT = Reason.DNS_TIMEOUT, Reason.CONNECT_TIMEOUT


def dead(reason: Reason, hosts: int = 3) -> list[Result]:
    return [result(key(f"h{number}.example"), reason) for number in range(hosts)]


@pytest.mark.parametrize(
    ("results", "path", "expected"),
    [
        # a proxy that is given as an address asked for no name
        ([*dead(SILENT), result(VIA_A, by_dns=False)], "dns", False),
        # nor does the name of a proxy, which a zone of one's own holds, tell of those that the resolver asks others for
        ([*dead(SILENT), result(VIA_A)], "dns", False),
        ([*dead(SILENT), result(INTRANET, address="10.0.0.1")], "dns", False),
        ([*dead(Reason.DNS_ERROR), result(B, by_dns=False)], "dns", False),  # stands in the hosts file
        ([*dead(SILENT), result(B)], "dns", True),
        ([result(VIA_A, by_dns=False)], "dns", None),
        ([result(VIA_A, SILENT), result(VIA_B, SILENT)], "dns", False),
        ([result(INTRANET, SILENT), result(OTHER_INTRANET, SILENT)], "dns", False),
        ([result(INTRANET, SILENT), result(OTHER_INTRANET)], "dns", True),
        ([result(A, SILENT), result(INTRANET)], "dns", True),  # one name is no outage
        ([result(A, SILENT), result(INTRANET, SILENT)], "dns", False),
        ([result(A), result(INTRANET, SILENT), result(OTHER_INTRANET, SILENT)], "dns", True),
        # the intranet is there, and the internet is not
        ([*dead(TIMEOUT), result(INTRANET, address="10.0.0.1")], "direct", False),
        ([*dead(TIMEOUT), result(INTRANET, address="192.0.2.1")], "direct", False),
        ([*dead(TIMEOUT), result(B, address="10.0.0.1")], "direct", False),  # a private endpoint of a public service
        ([*dead(TIMEOUT), result(key("10.0.0.1"), by_dns=False)], "direct", False),
        ([*dead(TIMEOUT), result(key("127.0.0.1"), by_dns=False)], "direct", False),
        ([*dead(TIMEOUT), result(key("192.0.2.1"), by_dns=False)], "direct", True),
        ([*dead(TIMEOUT), result(B, address="192.0.2.1")], "direct", True),
        ([*dead(TIMEOUT), result(B, Reason.DNS_ERROR)], "direct", False),  # hidden by a filter: nobody was asked
        # without others, one's own are all there is to judge by
        ([result(INTRANET, TIMEOUT), result(OTHER_INTRANET, TIMEOUT)], "direct", False),
        ([result(INTRANET, TIMEOUT), result(OTHER_INTRANET)], "direct", True),
        ([result(INTRANET)], "direct", True),
        # and they do not speak against the internet
        ([result(A), result(B), result(INTRANET, TIMEOUT), result(OTHER_INTRANET, TIMEOUT)], "direct", True),
    ],
)
def test_nobody_vouches_for_what_he_did_not_use(results: list[Result], path: str, expected: bool | None) -> None:
    assert paths(results).get(path) is expected


# ---------------------------------------------------------------- families of addresses


def reached(check: CheckKey, *tried: tuple[str, Contact]) -> Result:
    return replace(
        result(check), evidence=Evidence(tried=tuple(Tried(address, contact, 0.1) for address, contact in tried))
    )


SIX, FOUR = "2001:db8::1", "192.0.2.1"


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], {}),
        ([reached(A, (SIX, Contact.OPENED))], {("direct", "ipv6"): True}),
        (
            [reached(A, (SIX, Contact.SILENT), (FOUR, Contact.OPENED))],
            {("direct", "ipv4"): True, ("direct", "ipv6"): False},
        ),
        (
            [reached(A, (SIX, Contact.SILENT), (FOUR, Contact.OPENED)), reached(B, (SIX, Contact.OPENED))],
            {("direct", "ipv4"): True, ("direct", "ipv6"): True},
        ),
        ([reached(A, (SIX, Contact.SILENT), (FOUR, Contact.REFUSED))], {}),
        (
            [reached(A, (SIX, Contact.NO_WAY)), reached(VIA_A, (FOUR, Contact.OPENED))],
            {("proxy:corporate", "ipv4"): True},
        ),
        ([reached(A, ("::ffff:192.0.2.1", Contact.OPENED))], {("direct", "ipv4"): True}),
    ],
)
def test_a_family_is_dead_where_it_was_tried_and_only_the_other_opened(
    results: list[Result], expected: dict[tuple[str, str], bool]
) -> None:
    assert families(results) == expected


@given(plans_with_results(), st.data())
def test_what_is_read_of_results_is_all_that_the_verdicts_follow_from(drawn: Drawn, data: st.DataObject) -> None:
    _, results = drawn
    assume(results)
    changed = data.draw(st.sampled_from(list(results)))
    other = {**results, changed: data.draw(results_of(changed))}
    if read_of(results[changed]) == read_of(other[changed]):
        assert paths(results.values()) == paths(other.values())
        assert families(results.values()) == families(other.values())


# ---------------------------------------------------------------- one cause


def test_a_dead_proxy_is_one_cause_beside_a_healthy_network() -> None:
    by_proxy = [result(key(f"h{n}.example", "corporate"), Reason.PROXY_UNREACHABLE) for n in range(3)]
    by_other = [result(key(f"h{n}.example", "dmz")) for n in range(3)]
    direct = [result(A), result(B)]
    assert paths([*by_proxy, *by_other, *direct]) == {
        "proxy:corporate": False,
        "proxy:dmz": True,
        "dns": True,
        "direct": True,
    }


@given(plans_with_results())
def test_a_path_that_carried_anything_is_up(drawn: Drawn) -> None:
    _, results = drawn
    found = paths(results.values())
    assert {path for path in found if path.startswith("proxy:")} == {
        seen.key.path for seen in results.values() if seen.key.proxy
    }
    for seen in results.values():
        if seen.up:
            assert all(found.get(path, True) for path in ([seen.key.path] if seen.key.proxy else ["dns", "direct"]))


def test_a_target_that_is_an_address_says_nothing_of_the_names() -> None:
    assert paths([result(key("192.0.2.1"))]) == {"direct": True}


@given(plans_with_results(), st.sampled_from(["dns", "direct"]))
def test_one_host_alone_takes_neither_dns_nor_the_direct_path_down(drawn: Drawn, path: str) -> None:
    _, results = drawn
    by_host = defaultdict(list)
    for seen in results.values():
        by_host[seen.key.target.host].append(seen)
    for of_one_host in by_host.values():
        assert paths(of_one_host).get(path, True)


@given(plans_with_results(), st.data())
def test_a_result_that_turns_from_down_to_up_takes_no_path_down(drawn: Drawn, data: st.DataObject) -> None:
    _, results = drawn
    failed = [found for found, seen in results.items() if not seen.up]
    assume(failed)
    fixed = data.draw(st.sampled_from(failed))
    before = paths(results.values())
    after = paths({**results, fixed: data.draw(results_of(fixed, up=True))}.values())
    assert all(after.get(path, True) for path, up in before.items() if up)


# ---------------------------------------------------------------- what decides nothing


def with_reference(**hosts: bool) -> Plan:
    """A plan whose endpoints decide, or not."""
    needed = [
        Requirement(
            Use(CLIENT, host),
            Endpoint(host, reference=None if decides else WhyReference.KNOWN_DEAD),
            None,
            (Target(f"https://{host}/"),),
        )
        for host, decides in hosts.items()
    ]
    return plan(needed, {}, {})


@pytest.mark.parametrize("reason", [None, Reason.DNS_NOT_FOUND])
def test_what_is_for_reference_only_decides_nothing_whatever_came_of_it(reason: Reason | None) -> None:
    work = with_reference(needed=True, listed=False)
    needed, listed = key("needed"), key("listed")
    for up, ready in ((None, True), (Reason.HTTP_STATUS, False)):
        (feature,) = features(work, {needed: result(needed, up), listed: result(listed, reason)})
        found = {endpoint.use.pattern: endpoint for endpoint in feature.endpoints}
        assert feature.ready is ready
        assert found["listed"].state is EndpointState.REFERENCE
        assert found["listed"].seen is (DOWN if reason else UP)


def test_nobody_waits_for_what_is_for_reference_only_and_nothing_is_ready_by_it() -> None:
    needed, listed = key("needed"), key("listed")
    (waiting,) = features(with_reference(needed=True, listed=False), {needed: result(needed)})
    (alone,) = features(with_reference(listed=False), {listed: result(listed)})
    assert waiting.ready is True
    assert alone.ready is None


def test_a_check_counts_for_whom_it_decides_something() -> None:
    other = Consumer("updates", "console", "azure-public")
    reference = Endpoint("a", reference=WhyReference.KNOWN_DEAD)
    needed = [
        Requirement(Use(CLIENT, "a"), reference, None, (Target("https://a/"),)),
        Requirement(Use(other, "a"), Endpoint("a"), None, (Target("https://a/"),)),
    ]
    (check,) = plan(needed, {}, {}).checks
    assert check.consumers == (CLIENT, other)
    assert check.counted_for == (other,)
