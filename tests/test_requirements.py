"""What a site needs: the rule of selection, and what is probed for each documented line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import catalogue as shipped
from exporter.model.patterns import host_of, is_wildcard, matches_wildcard
from exporter.model.vocabulary import (
    Catalogue,
    Consumer,
    Endpoint,
    Forwarder,
    Group,
    Parameter,
    Representative,
    Requirement,
    Role,
    Site,
    Status,
    Target,
    Use,
    WhyUnprobed,
    Wildcard,
)
from exporter.plan.requirements import canonical, everything, requirements
from tests.strategies import CLOUDS, REGION, ROLES, catalogues, groups, sites


def needed(catalogue: Catalogue, site: Site) -> dict[Use, Requirement]:
    return {requirement.use: requirement for requirement in requirements(catalogue, catalogue.groups, site)}


def urls(requirement: Requirement) -> set[str]:
    return {target.url for target in requirement.targets}


# ---------------------------------------------------------------- which lines are selected


@given(catalogues(), sites)
def test_exactly_what_the_documented_rule_asks_for_is_selected(catalogue: Catalogue, site: Site) -> None:
    """A role or a cloud that a group does not name is meant, and so is all that a site leaves out."""
    region = site.parameters.get(REGION)
    expected = {
        Use(Consumer(group.feature, role, cloud), endpoint.pattern)
        for group in catalogue.groups
        if group.feature in (site.features or {group.feature})
        for role in ROLES
        if role in (group.roles or ROLES) and role in (site.roles or ROLES)
        for cloud in CLOUDS
        if cloud in (group.clouds or CLOUDS) and cloud in site.clouds
        for endpoint in group.endpoints
        if endpoint.status in site.statuses
        if site.version is None or (endpoint.versions.first or "0000") <= site.version
        if site.version is None or site.version <= (endpoint.versions.last or "9999")
        if region is None or region in endpoint.only_for.get(REGION, {region})
    }
    assert {requirement.use for requirement in requirements(catalogue, catalogue.groups, site)} == expected


@given(catalogues(), sites)
def test_each_need_stands_once_in_order_with_targets_or_with_a_reason(catalogue: Catalogue, site: Site) -> None:
    found = requirements(catalogue, catalogue.groups, site)
    uses = [requirement.use for requirement in found]
    assert uses == sorted(set(uses))
    for requirement in found:
        assert bool(requirement.targets) == (requirement.why_unprobed is None) == (requirement.detail is None)


@given(catalogues(), sites, st.data())
def test_the_order_of_the_groups_changes_no_need(catalogue: Catalogue, site: Site, data: st.DataObject) -> None:
    shuffled = replace(catalogue, groups=tuple(data.draw(st.permutations(catalogue.groups))))
    found, again = needed(catalogue, site), needed(shuffled, site)
    assert {use: urls(found[use]) for use in found} == {use: urls(again[use]) for use in again}


@given(catalogues(), sites, sites)
def test_widening_a_site_never_loses_a_need(catalogue: Catalogue, site: Site, other: Site) -> None:
    wider = replace(
        site,
        clouds=tuple({*site.clouds, *other.clouds}),
        roles=tuple({*site.roles, *other.roles}) if site.roles and other.roles else (),
        features=tuple({*site.features, *other.features}) if site.features and other.features else (),
        statuses=tuple({*site.statuses, *other.statuses}),
        version=None if other.version != site.version else site.version,
    )
    before, after = needed(catalogue, site), needed(catalogue, wider)
    assert before.keys() <= after.keys()
    assert all(urls(before[use]) <= urls(after[use]) for use in before)


@given(catalogues(), sites)
def test_everything_holds_what_any_site_needs(catalogue: Catalogue, site: Site) -> None:
    narrow = Site(
        clouds=CLOUDS[:1], roles=ROLES[:1], features=site.features, version="1810", parameters=site.parameters
    )
    whole = needed(catalogue, everything(catalogue, narrow))
    assert needed(catalogue, site).keys() <= whole.keys()


@given(catalogues(), sites, st.lists(groups, max_size=2))
def test_the_operators_groups_add_and_never_take_away(catalogue: Catalogue, site: Site, own: list[Group]) -> None:
    before = needed(catalogue, site)
    after = needed(replace(catalogue, groups=(*catalogue.groups, *own)), site)
    assert all(urls(before[use]) <= urls(after[use]) for use in before)


@given(catalogues(), sites, st.sampled_from(["name", "area"]))
def test_one_more_parameter_takes_no_target_away(catalogue: Catalogue, site: Site, name: str) -> None:
    given_more = replace(site, parameters={name: "more", **site.parameters})
    before, after = needed(catalogue, site), needed(catalogue, given_more)
    assert before.keys() == after.keys()
    assert all(urls(before[use]) <= urls(after[use]) for use in before)


# ---------------------------------------------------------------- what is probed for a line

EMPTY = Catalogue(
    groups=(), roles={"client": Role("client", "Client")}, clouds={}, parameters={}, wildcards={}, sources={}
)


def probed(endpoint: Endpoint, catalogue: Catalogue = EMPTY, **parameters: str) -> Requirement:
    """The one requirement of a catalogue of one line."""
    group = Group("f", endpoints=(endpoint,))
    (requirement,) = requirements(catalogue, [group], Site(parameters=parameters))
    return requirement


@given(catalogues(), sites)
def test_every_target_is_written_in_its_one_spelling_and_once(catalogue: Catalogue, site: Site) -> None:
    for requirement in requirements(catalogue, catalogue.groups, site):
        written = [target.url for target in requirement.targets]
        assert written == [canonical(url) for url in dict.fromkeys(written)]
        assert all(target.scheme in {"http", "https"} for target in requirement.targets)
        assert all(target.host and target.port for target in requirement.targets)


@given(catalogues(), sites)
def test_a_wildcard_is_probed_by_its_representatives_only(catalogue: Catalogue, site: Site) -> None:
    own = {endpoint.pattern for group in catalogue.groups for endpoint in group.endpoints if endpoint.probe}
    for use, requirement in needed(catalogue, site).items():
        if is_wildcard(use.pattern) and use.pattern not in own:
            known = catalogue.wildcards.get(host_of(use.pattern), Wildcard())
            hosts = {target.host for target in requirement.targets}
            assert hosts <= {representative.host for representative in known.representatives}
            assert all(matches_wildcard(host_of(use.pattern), host) for host in hosts)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (Endpoint("Host.Example"), ["https://host.example/"]),
        (Endpoint("host.example", ("https", "http")), ["https://host.example/", "http://host.example/"]),
        (Endpoint("host.example", path="/a?b"), ["https://host.example/a?b"]),
        (Endpoint("host.example", ports=(443, 8443)), ["https://host.example/", "https://host.example:8443/"]),
        (
            Endpoint("host.example", ("http", "https"), ports=(8530, 8531)),
            ["http://host.example:8530/", "https://host.example:8531/"],
        ),
        (Endpoint("host.example/health"), ["https://host.example/health"]),
        (Endpoint("https://aka.ms"), ["https://aka.ms/"]),
        (Endpoint("https://host.example/fwlink/?LinkID=1"), ["https://host.example/fwlink/?LinkID=1"]),
        (Endpoint("http://host.example:8530/a"), ["http://host.example:8530/a"]),
        (Endpoint("host.example", probe=("https://host.example/light",)), ["https://host.example/light"]),
        (Endpoint("host.example", ("https", "udp")), ["https://host.example/"]),
        (Endpoint("host.example", ("udp", "https"), ports=(3544, 8443)), ["https://host.example:8443/"]),
    ],
)
def test_a_line_becomes_urls(endpoint: Endpoint, expected: list[str]) -> None:
    assert [target.url for target in probed(endpoint).targets] == expected


def test_a_target_is_asked_as_its_line_says() -> None:
    endpoint = Endpoint("host.example", method="HEAD", accept=frozenset({200}))
    assert probed(endpoint).targets == (Target("https://host.example/", "HEAD", frozenset({200})),)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (
            Endpoint("*.w.example", ("https", "http")),
            ["https://a.w.example/", "https://b.w.example/", "http://b.w.example/"],
        ),
        (Endpoint("*.W.example", ("http",)), ["http://b.w.example/"]),
        (Endpoint("https://*.w.example"), ["https://a.w.example/", "https://b.w.example/"]),
        (Endpoint("http://*.w.example", ("http",)), ["http://b.w.example/"]),
        (Endpoint("https://*.w.example:8443/a?b"), ["https://a.w.example:8443/a?b", "https://b.w.example:8443/a?b"]),
        (Endpoint("*.w.example", path="/health"), ["https://a.w.example/health", "https://b.w.example/health"]),
        (Endpoint("*.w.example", probe=("https://c.w.example/",)), ["https://c.w.example/"]),
    ],
)
def test_a_wildcard_becomes_urls_of_its_representatives(endpoint: Endpoint, expected: list[str]) -> None:
    hosts = (Representative("a.w.example", ("https",)), Representative("b.w.example"))
    catalogue = replace(EMPTY, wildcards={"*.w.example": Wildcard(hosts)})
    assert [target.url for target in probed(endpoint, catalogue).targets] == expected


def test_a_wildcard_without_a_host_says_what_the_documents_say() -> None:
    catalogue = replace(EMPTY, wildcards={"*.w.example": Wildcard(stand_ins=("w.example",), none_found="none named")})
    known, unknown = probed(Endpoint("*.w.example"), catalogue), probed(Endpoint("*.other.example"), catalogue)
    assert known.why_unprobed == unknown.why_unprobed == WhyUnprobed.NO_REPRESENTATIVE
    assert known.detail == "none named"
    assert "give `probe` URLs" in str(unknown.detail)


def test_what_is_not_http_is_listed_and_not_probed() -> None:
    requirement = probed(Endpoint("host.example", ("udp",), ports=(3544,)))
    assert requirement.why_unprobed == WhyUnprobed.NOT_HTTP


# ---------------------------------------------------------------- templates

TEMPLATES = replace(
    EMPTY,
    parameters={
        "name": Parameter("name", ""),
        "region": Parameter("region", ""),
        "host": Parameter("host", "", default="{name}.{region}.example"),
        "gateway": Parameter("gateway", "", default="gw.{host}"),
        "port": Parameter("port", "", default="8530"),
    },
)
GATEWAY = Endpoint("<gateway>", probe=("https://{gateway}:{port}/",))


@pytest.mark.parametrize(
    ("parameters", "url"),
    [
        ({"name": "granite", "region": "west"}, "https://gw.granite.west.example:8530/"),
        ({"host": "own.example"}, "https://gw.own.example:8530/"),
        ({"gateway": "own.example", "port": "443"}, "https://own.example/"),
    ],
)
def test_a_template_is_filled_from_what_is_given_then_from_defaults_of_defaults(
    parameters: dict[str, str], url: str
) -> None:
    assert urls(probed(GATEWAY, TEMPLATES, **parameters)) == {url}


def test_a_missing_parameter_is_named() -> None:
    line = Endpoint("<host>", probe=("https://{host}/",))
    requirement = probed(line, TEMPLATES, name="granite")
    assert requirement.why_unprobed == WhyUnprobed.MISSING_PARAMETER
    assert requirement.detail == "set site.parameters.region"


def test_what_a_template_lacks_is_a_remedy_that_works() -> None:
    before = probed(GATEWAY, TEMPLATES)
    names = str(before.detail).removeprefix("set ").replace("site.parameters.", "").split(", ")
    assert before.why_unprobed == WhyUnprobed.MISSING_PARAMETER
    assert probed(GATEWAY, TEMPLATES, **dict.fromkeys(names, "x.example")).targets


def test_defaults_that_need_each_other_are_missing() -> None:
    parameters = {"a": Parameter("a", "", default="{b}"), "b": Parameter("b", "", default="{a}")}
    requirement = probed(Endpoint("<a>", probe=("https://{a}/",)), replace(EMPTY, parameters=parameters))
    assert requirement.why_unprobed == WhyUnprobed.MISSING_PARAMETER


def test_the_templates_that_can_be_filled_are_probed() -> None:
    line = Endpoint("<host>", probe=("https://{region}.example/", "https://{name}.example/"))
    assert urls(probed(line, TEMPLATES, name="granite")) == {"https://granite.example/"}


# ---------------------------------------------------------------- lines that meet


def test_two_lines_of_one_text_are_one_need_with_the_targets_of_both() -> None:
    listed = Group("f", endpoints=(Endpoint("*.w.example", probe=("https://a.w.example/",)),))
    own = Group("f", endpoints=(Endpoint("*.w.example", probe=("https://b.w.example/",)),))
    (requirement,) = requirements(EMPTY, [listed, own], Site())
    assert urls(requirement) == {"https://a.w.example/", "https://b.w.example/"}


def test_the_operators_line_brings_a_target_to_one_that_has_none() -> None:
    listed = Group("f", endpoints=(Endpoint("*.w.example"),))
    own = Group("f", endpoints=(Endpoint("*.w.example", probe=("https://b.w.example/",)),))
    for both in ([listed, own], [own, listed]):
        (requirement,) = requirements(EMPTY, both, Site())
        assert urls(requirement) == {"https://b.w.example/"}
        assert requirement.why_unprobed is None


def test_the_line_that_stands_later_says_how_a_url_is_asked() -> None:
    listed = Group("f", endpoints=(Endpoint("host.example"),))
    own = Group("f", endpoints=(Endpoint("host.example", method="HEAD"),))
    (requirement,) = requirements(EMPTY, [listed, own], Site())
    assert requirement.targets == (Target("https://host.example/", "HEAD"),)


def test_a_target_leads_where_its_lines_and_its_forwarder_say() -> None:
    catalogue = replace(EMPTY, forwarders={"host.example": Forwarder(("second.example",))})
    listed = Group("f", endpoints=(Endpoint("host.example"), Endpoint("other.example")))
    own = Group("f", endpoints=(Endpoint("host.example", leads_to=("*.sso.example",)),), own=True)
    for both in ([listed, own], [own, listed]):
        host, other = requirements(catalogue, both, Site())
        assert [target.leads_to for target in host.targets] == [{"second.example", "*.sso.example"}]
        assert [target.own for target in host.targets] == [False]
        assert [target.leads_to for target in other.targets] == [frozenset()]


@pytest.mark.parametrize(
    ("line", "group", "expected"),
    [("line", "group", "line"), (None, "group", "group"), (None, None, "first")],
)
def test_documents_are_the_lines_own_else_the_groups_else_the_features_first(
    line: str | None, group: str | None, expected: str
) -> None:
    before = Group("f", docs="first", endpoints=(Endpoint("other.example"),))
    after = Group("f", docs="last", endpoints=(Endpoint("other.example"),))
    asked = Group("f", docs=group, endpoints=(Endpoint("host.example", docs=line),))
    found = requirements(EMPTY, [before, asked, after], Site())
    assert [requirement.docs for requirement in found if requirement.use.pattern == "host.example"] == [expected]


# ---------------------------------------------------------------- the one spelling of a URL

parts = st.tuples(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["host.example", "a-b.host.example", "192.0.2.1", "[2001:db8::1]"]),
    st.sampled_from(["", ":80", ":443", ":8530"]),
    st.sampled_from(["", "/", "/Path", "/Path/", "//x", "/a%20b"]),
    st.sampled_from(["", "?LinkID=619849", "?a=/&b=?"]),
)


@given(parts)
def test_the_one_spelling_is_its_own(url: tuple[str, ...]) -> None:
    once = canonical("".join(url))
    assert canonical(once) == once


@given(parts)
def test_case_of_scheme_and_host_default_port_and_fragment_do_not_count(url: tuple[str, ...]) -> None:
    scheme, host, port, path, query = url
    usual = {"http": ":80", "https": ":443"}[scheme]
    otherwise = "".join((scheme.upper(), "://", host.upper(), port or usual, path or "/", query, "#top"))
    assert canonical(otherwise) == canonical(f"{scheme}://{host}{port}{path}{query}")


@given(parts)
def test_path_and_query_count_as_they_are_written(url: tuple[str, ...]) -> None:
    scheme, host, port, path, query = url
    assert canonical(f"{scheme}://{host}{port}{path}{query}").endswith((path or "/") + query)


# ---------------------------------------------------------------- the shipped catalogue


@pytest.fixture(scope="module")
def known() -> Catalogue:
    return shipped.load()


FILLED = {
    "cloud_service_name": "granitefalls",
    "azure_region": "westus",
    "child_site_sup_fqdn": "sup1.corp.example",
    "parent_site_sup_fqdn": "sup0.corp.example",
    "logic_app_host": "prod1.westus2.logic.azure.com",
}


@pytest.mark.parametrize("parameters", [{}, FILLED], ids=["no parameters", "all parameters"])
def test_no_target_of_the_catalogue_is_a_pattern(known: Catalogue, parameters: dict[str, str]) -> None:
    site = everything(known, Site(parameters=parameters))
    hosts = {target.host for requirement in needed(known, site).values() for target in requirement.targets}
    assert hosts
    assert not {host for host in hosts if set(host) & set("*<>{}[] ") or "." not in host}


def test_with_all_parameters_no_template_is_missing(known: Catalogue) -> None:
    found = needed(known, everything(known, Site(parameters=FILLED))).values()
    assert not [r.detail for r in found if r.why_unprobed == WhyUnprobed.MISSING_PARAMETER]


def test_no_akamai_name_is_ever_probed(known: Catalogue) -> None:
    found = needed(known, everything(known, Site(parameters=FILLED)))
    akamai = [requirement for use, requirement in found.items() if "akamai" in use.pattern]
    assert akamai
    assert {requirement.why_unprobed for requirement in akamai} == {WhyUnprobed.NO_REPRESENTATIVE}
    assert not {url for requirement in found.values() for url in urls(requirement) if "akamai" in url}


def test_each_cloud_has_its_own_lines(known: Catalogue) -> None:
    public, government = (
        {(use.consumer.feature, use.pattern) for use in needed(known, Site(clouds=(cloud,)))}
        for cloud in ("azure-public", "azure-us-government")
    )
    assert {
        ("azure-services", "management.azure.com"),
        ("cloud-services", "<name>.blob.core.windows.net"),
        ("management-point-entra", "https://login.microsoftonline.com"),
        ("tenant-attach", "https://*.manage.microsoft.com"),
    } <= public - government
    assert {
        ("azure-services", "management.usgovcloudapi.net"),
        ("cloud-services", "<name>.blob.core.usgovcloudapi.net"),
        ("management-point-entra", "https://login.microsoftonline.us"),
        ("tenant-attach", "https://*.manage.microsoft.us"),
    } <= government - public
    assert not {
        line for line in public if host_of(line[1]).endswith((".us", ".usgovcloudapi.net", ".usgovcloudapp.net"))
    }


def test_deprecated_and_retired_lines_come_by_their_status_alone(known: Catalogue) -> None:
    active = needed(known, Site())
    listed = needed(known, Site(statuses=(Status.ACTIVE, Status.DEPRECATED, Status.RETIRED)))
    assert {requirement.endpoint.status for requirement in active.values()} == {Status.ACTIVE}
    assert {listed[use].endpoint.status for use in listed.keys() - active.keys()} == {Status.DEPRECATED, Status.RETIRED}
    assert "asset-intelligence" not in {use.consumer.feature for use in active}
    assert "asset-intelligence" in {use.consumer.feature for use in listed}


@pytest.mark.parametrize(
    ("version", "graph"), [("1810", "https://graph.windows.net/"), ("1902", "https://graph.microsoft.com/")]
)
def test_the_version_decides_which_graph_the_cloud_services_need(known: Catalogue, version: str, graph: str) -> None:
    site = Site(version=version, features=("cloud-services",), statuses=tuple(Status))
    patterns = {use.pattern for use in needed(known, site)}
    assert {pattern for pattern in patterns if "://graph." in pattern} == {graph}


def test_what_every_role_needs_is_shown_for_each_role_of_the_site(known: Catalogue) -> None:
    site = Site(features=("url-forwarding",), roles=("client", "console"))
    assert {use.consumer.role for use in needed(known, site)} == {"client", "console"}
    assert {use.consumer.role for use in needed(known, replace(site, roles=()))} == set(known.roles)


def test_a_region_drops_the_lines_of_the_others(known: Catalogue) -> None:
    anywhere, europe = (
        {use.pattern for use in needed(known, Site(features=("co-management",), parameters=given))}
        for given in ({}, {"intune_region": "europe"})
    )
    trouter = "trouter.communications.svc.cloud.microsoft"
    assert {pattern for pattern in anywhere if trouter in pattern} == {
        f"go-{r}.{trouter}" for r in ("amer", "eu", "apac")
    }
    assert {pattern for pattern in europe if trouter in pattern} == {f"go-eu.{trouter}"}
    assert europe < anywhere
