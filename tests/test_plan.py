"""A plan has the fewest probes that answer every requirement, and each goes by its role's path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import catalogue as shipped
from exporter.model.vocabulary import Check, Consumer, Endpoint, Plan, Proxy, Requirement, Site, Target, Use
from exporter.plan.checks import bypasses, order, plan
from exporter.plan.requirements import everything, requirements
from tests.strategies import proxy_maps, requirement_lists, vias

Requirements = tuple[Requirement, ...]
Proxies = Mapping[str, Proxy]
Via = Mapping[str, str]

wishes = given(requirement_lists, proxy_maps, vias)


def answered(checks: Iterable[Check]) -> set[tuple[Use, str]]:
    return {(use, check.key.target.url) for check in checks for use in check.uses}


def use_of(need: Requirement) -> Use:
    return need.use


# ---------------------------------------------------------------- laws


@wishes
def test_no_key_stands_twice(wanted: Requirements, proxies: Proxies, via: Via) -> None:
    keys = [check.key for check in plan(wanted, proxies, via).checks]
    assert len(keys) == len(set(keys))


@given(requirement_lists, proxy_maps, vias, st.data())
def test_a_plan_does_not_depend_on_the_order_of_the_requirements(
    wanted: Requirements, proxies: Proxies, via: Via, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(wanted))
    assert plan(shuffled, proxies, via) == plan(wanted, proxies, via)


@wishes
def test_nothing_is_lost_and_nothing_invented(wanted: Requirements, proxies: Proxies, via: Via) -> None:
    work = plan(wanted, proxies, via)
    assert answered(work.checks) == {(need.use, target.url) for need in wanted for target in need.targets}
    assert {target for need in wanted for target in need.targets} == {check.key.target for check in work.checks}
    assert sorted(work.unprobed, key=use_of) == sorted((need for need in wanted if not need.targets), key=use_of)


@wishes
def test_each_use_stands_once_in_a_check_in_order(wanted: Requirements, proxies: Proxies, via: Via) -> None:
    for check in plan(wanted, proxies, via).checks:
        assert list(check.uses) == sorted(set(check.uses))
        assert list(check.consumers) == sorted({use.consumer for use in check.uses})


@wishes
def test_there_is_one_probe_for_a_target_and_path(wanted: Requirements, proxies: Proxies, via: Via) -> None:
    paths = {
        (target, None if name is None or bypasses(proxies[name].no_proxy, target.host) else name)
        for need in wanted
        for name in [via.get(need.use.consumer.role)]
        for target in need.targets
    }
    checks = plan(wanted, proxies, via).checks
    assert {(check.key.target, check.key.proxy) for check in checks} == paths
    assert len(checks) == len(paths)


@wishes
def test_a_proxy_carries_exactly_the_uses_of_its_roles(wanted: Requirements, proxies: Proxies, via: Via) -> None:
    for check in plan(wanted, proxies, via).checks:
        excepted = {name for name, proxy in proxies.items() if bypasses(proxy.no_proxy, check.key.target.host)}
        for use in check.uses:
            told = via.get(use.consumer.role)
            assert check.key.proxy == (None if told in excepted else told)


@wishes
def test_checks_stand_in_one_order(wanted: Requirements, proxies: Proxies, via: Via) -> None:
    places = [order(check.key) for check in plan(wanted, proxies, via).checks]
    assert places == sorted(set(places))


def test_a_shared_host_of_the_catalogue_is_probed_once_for_all() -> None:
    known = shipped.load()
    work = plan(requirements(known, known.groups, everything(known, Site())), {}, {})
    (check,) = (check for check in work.checks if check.key.target.url == "https://go.microsoft.com/")
    assert {consumer.feature for consumer in check.consumers} >= {
        "co-management",
        "updates-and-servicing",
        "url-forwarding",
    }


def test_nothing_to_do_is_a_plan_too() -> None:
    assert plan((), {}, {}) == Plan()


# ---------------------------------------------------------------- no_proxy


@pytest.mark.parametrize(
    ("entry", "host", "direct"),
    [
        ("sup1.corp.example", "sup1.corp.example", True),
        ("sup1.corp.example", "sup2.corp.example", False),
        ("corp.example", "sup1.corp.example", False),  # a name is that name only
        ("Corp.Example", "CORP.example", True),
        (".corp.example", "sup1.corp.example", True),
        (".corp.example", "a.b.corp.example", True),
        (".corp.example", "corp.example", True),
        (".corp.example", "notcorp.example", False),
        (".corp.example", "sup1.corp.example.", True),
        ("sup1.corp.example.", "sup1.corp.example", True),
        (".Corp.Example", "SUP1.corp.example", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.1.2.3/8", "10.255.0.1", True),
        ("10.0.0.0/8", "ten.example", False),  # a name is never resolved for it
        ("10.0.0.0/8", "2001:db8::1", False),
        ("2001:db8::1", "2001:0db8:0:0::1", True),
        ("2001:db8::/32", "2001:db8:1::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("2001:db8::/32", "10.0.0.1", False),
        (".3", "10.1.2.3", False),  # an address has no suffix
        ("*", "anything.example", True),
        ("*", "10.1.2.3", True),
        ("*", "2001:db8::1", True),
    ],
)
def test_an_exception_of_a_proxy_covers_what_it_says(entry: str, host: str, direct: bool) -> None:
    assert bypasses([entry], host) == direct


names = st.text("ab.", min_size=1, max_size=7).filter(lambda name: all(name.split(".")))


@given(names, names)
def test_a_suffix_covers_itself_and_what_ends_in_it_after_a_dot(suffix: str, host: str) -> None:
    assert bypasses([f".{suffix}"], host) == f".{host}".endswith(f".{suffix}")


@given(st.ip_addresses(), st.ip_addresses())
def test_an_address_covers_itself_only(entry: object, host: object) -> None:
    assert bypasses([str(entry)], str(host)) == (entry == host)
    assert bypasses([str(host)], str(host))


@given(st.lists(names, max_size=3), names)
def test_one_exception_that_covers_is_enough(entries: list[str], host: str) -> None:
    assert bypasses(entries, host) == any(bypasses([entry], host) for entry in entries)
    assert not bypasses([], host)


@pytest.mark.parametrize(("role", "proxy"), [("client", "corporate"), ("console", None)])
def test_a_role_that_is_not_named_goes_direct(role: str, proxy: str | None) -> None:
    known = shipped.load()
    proxies = {"corporate": Proxy("corporate", "http://proxy.example:3128", no_proxy=("go.microsoft.com",))}
    wanted = requirements(known, known.groups, Site(features=("url-forwarding",), roles=(role,)))
    checks = plan(wanted, proxies, {"client": "corporate"}).checks
    assert {check.key.target.host: check.key.proxy for check in checks} == {"aka.ms": proxy, "go.microsoft.com": None}
    assert {check.uses[0].consumer for check in checks} == {Consumer("url-forwarding", role, "azure-public")}


def test_a_target_leads_wherever_any_line_that_names_it_may_lead() -> None:
    lines = [
        Requirement(
            Use(Consumer("own", role, "azure-public"), "a"),
            Endpoint("a"),
            None,
            (Target("http://a.example/", own=True, leads_to=frozenset(named)),),
        )
        for role, named in (("client", ["b.example"]), ("console", ["c.example"]))
    ]
    for listed in (lines, lines[::-1]):
        (check,) = plan(listed, {}, {}).checks
        assert check.key.target.leads_to == {"b.example", "c.example"}
        assert check.key.target.own
