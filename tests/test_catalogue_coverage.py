"""The shipped catalogue against the document it grew from, line by line.

`data/seed-lines.tsv` holds every line of "Internet access requirements" (ms.date 08/11/2020) that names an endpoint,
with the path of headings it stands under.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from exporter.config.catalogue import load
from exporter.model.patterns import host_of, is_wildcard, matches_wildcard, parameters_of
from exporter.model.vocabulary import Catalogue, Endpoint, Site, Status, Support, Trust, WhyUnprobed
from exporter.plan.requirements import everything, requirements

CATALOGUE: Final[Catalogue] = load()
SITE: Final = everything(CATALOGUE, Site())
PARAMETERS: Final = {
    "cloud_service_name": "granitefalls",
    "azure_region": "westus",
    "child_site_sup_fqdn": "sup1.corp.example",
    "parent_site_sup_fqdn": "sup0.corp.example",
    "logic_app_host": "prod1.westus2.logic.azure.com",
}


class Entry(NamedTuple):
    """One documented endpoint as the catalogue lists it. No role or no cloud: every one of the site."""

    feature: str
    role: str | None
    cloud: str | None
    pattern: str


ENDPOINTS: Final[tuple[tuple[Entry, Endpoint], ...]] = tuple(
    (Entry(group.feature, role, cloud, endpoint.pattern), endpoint)
    for group in CATALOGUE.groups
    for endpoint in group.endpoints
    for role in group.roles or (None,)
    for cloud in group.clouds or (None,)
)
ENTRIES: Final = frozenset(entry for entry, _ in ENDPOINTS)

# ---------------------------------------------------------------- the lines of the document


class Line(NamedTuple):
    number: int
    kind: str
    section: str
    text: str  # the endpoint, as far as the line names one
    raw: str


def _lines() -> tuple[Line, ...]:
    path = Path(__file__).parent / "data" / "seed-lines.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(Line(int(number), kind, section, text, raw) for number, kind, section, text, raw in rows[1:])


LINES: Final = _lines()
ENDPOINT_LINES: Final = tuple(line for line in LINES if line.kind == "endpoint")

PUBLIC, GOVERNMENT = "azure-public", "azure-us-government"
SCP, CMG_CP, SUP, DP = (
    "service-connection-point",
    "cmg-connection-point",
    "software-update-point",
    "distribution-point",
)

# Headings repeat ("Service connection point" stands there twice), so the whole path is the key.
CONSUMERS_OF: Final[dict[str, tuple[str, tuple[str | None, ...]]]] = {
    "": ("url-forwarding", (None,)),
    "Service connection point > Updates and servicing": ("updates-and-servicing", (SCP,)),
    "Service connection point > Windows 10 servicing": ("windows-servicing", (SCP,)),
    "Service connection point > Azure services": ("azure-services", (SCP,)),
    "Delivery optimization": ("delivery-optimization", ("client", DP)),
    "Cloud services > Service connection point": ("cloud-services", (SCP,)),
    "Cloud services > CMG connection point": ("cloud-services", (CMG_CP,)),
    "Cloud services > Configuration Manager client": ("cloud-services", ("client",)),
    "Cloud services > Configuration Manager console": ("cloud-services", ("console",)),
    "Software updates": ("software-updates", (SUP,)),
    "Software updates > Intranet firewall > Software update point on the child site": (
        "software-updates-intranet",
        (SUP,),
    ),
    "Manage Microsoft 365 Apps": ("m365-apps", ()),  # each line is for another role: ROLE_OF_LINE
    "Configuration Manager console > In-console feedback": ("console-feedback", ("console",)),
    "Configuration Manager console > Community workspace > Documentation node": (
        "console-documentation",
        ("console",),
    ),
    "Configuration Manager console > Community workspace > Community hub": ("console-community-hub", ("console",)),
    "Configuration Manager console > Monitoring workspace, Site Hierarchy node": (
        "console-geographical-view",
        ("console",),
    ),
    "Asset intelligence": ("asset-intelligence", ("asset-intelligence-synchronization-point",)),
}
ROLE_OF_LINE: Final = {229: SUP, 231: "console", 233: "site-server"}
# The console's lines stand under a bullet with the cloud's name; elsewhere the line itself says it in brackets.
CLOUD_OF_LINE: Final = {170: PUBLIC, 171: PUBLIC, 172: PUBLIC, 175: GOVERNMENT}
CLOUD_IN_BRACKETS: Final = {"(Azure public cloud)": PUBLIC, "(Azure US Government cloud)": GOVERNMENT}

# Lines that are no list item, yet ask for these endpoints.
BETWEEN_THE_LINES: Final[dict[tuple[int, str], tuple[Entry, ...]]] = {
    (39, "manage.microsoft.com"): (Entry("service-connection-point", SCP, None, "manage.microsoft.com"),),
    (126, "#azure-services"): (
        Entry("cloud-services", SCP, PUBLIC, "management.azure.com"),
        Entry("cloud-services", SCP, GOVERNMENT, "management.usgovcloudapi.net"),
    ),
    (147, "<name>.table.core.windows.net"): (Entry("cloud-services", CMG_CP, PUBLIC, "<name>.table.core.windows.net"),),
}
ASK_FOR_NOTHING_MORE: Final = {
    (39, "go.microsoft.com"): "a row of its own under updates and servicing",
    (87, "https://docs.microsoft.com/intune/intune-endpoints"): "Intune's list, which co-management follows",
    (
        91,
        "https://docs.microsoft.com/microsoft-store/prerequisites-microsoft-store-for-business#proxy-configuration",
    ): "the store's list, which store-for-business follows",
    (
        101,
        "https://docs.microsoft.com/windows/deployment/update/waas-delivery-optimization#frequently-asked-questions",
    ): "the list that delivery-optimization follows",
    (118, "GraniteFalls.CloudApp.Net"): "an example of <name>.cloudapp.net",
    (118, "GraniteFalls.blob.core.windows.net"): "an example of <name>.blob.core.windows.net",
    (124, "AzureEnvironments"): "a table of the site database",
    (297, "https://www.microsoft.com/download/details.aspx?id=53602"): "a download of address ranges",
}

# ---------------------------------------------------------------- the files it includes, revisions of the same date

INCLUDES: Final[dict[str, tuple[str, int]]] = {
    "includes/internet-endpoints-desktop-analytics.md": ("desktop-analytics", 22),
    "includes/internet-endpoints-tenant-attach.md": ("tenant-attach", 3),
    "includes/internet-endpoints-endpoint-analytics.md": ("endpoint-analytics", 3),
}
INCLUDED: Final = (
    Entry("desktop-analytics", SCP, None, "https://aka.ms"),
    Entry("desktop-analytics", SCP, None, "https://graph.windows.net"),
    Entry("desktop-analytics", SCP, None, "https://*.manage.microsoft.com"),
    Entry("desktop-analytics", SCP, None, "https://dc.services.visualstudio.com"),
    Entry("desktop-analytics", "client", None, "https://v10c.events.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://v10.events.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://v10.vortex-win.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://vortex-win.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://settings-win.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "http://adl.windows.com"),
    Entry("desktop-analytics", "client", None, "https://watson.telemetry.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://umwatsonc.events.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://ceuswatcab01.blob.core.windows.net"),
    Entry("desktop-analytics", "client", None, "https://ceuswatcab02.blob.core.windows.net"),
    Entry("desktop-analytics", "client", None, "https://eaus2watcab01.blob.core.windows.net"),
    Entry("desktop-analytics", "client", None, "https://eaus2watcab02.blob.core.windows.net"),
    Entry("desktop-analytics", "client", None, "https://weus2watcab01.blob.core.windows.net"),
    Entry("desktop-analytics", "client", None, "https://weus2watcab02.blob.core.windows.net"),
    Entry("desktop-analytics", "client", None, "https://kmwatsonc.events.data.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://oca.telemetry.microsoft.com"),
    Entry("desktop-analytics", "client", None, "https://login.live.com"),
    Entry("desktop-analytics", "client", None, "https://v20.events.data.microsoft.com"),
    Entry("tenant-attach", SCP, None, "https://aka.ms/configmgrgateway"),
    Entry("tenant-attach", SCP, PUBLIC, "https://*.manage.microsoft.com"),
    Entry("tenant-attach", SCP, None, "https://dc.services.visualstudio.com"),
    Entry("endpoint-analytics", SCP, None, "https://graph.windows.net"),
    Entry("endpoint-analytics", SCP, None, "https://*.manage.microsoft.com"),
    Entry("endpoint-analytics", "client", None, "https://*.events.data.microsoft.com"),
)


def _entries_of(line: Line) -> tuple[Entry, ...]:
    """The entries that one endpoint line asks for."""
    feature, roles = CONSUMERS_OF[line.section.removeprefix("Internet access requirements").removeprefix(" > ")]
    said = [cloud for words, cloud in CLOUD_IN_BRACKETS.items() if words in line.raw]
    cloud = said[0] if said else CLOUD_OF_LINE.get(line.number)
    return tuple(Entry(feature, role, cloud, line.text) for role in roles or (ROLE_OF_LINE[line.number],))


# ---------------------------------------------------------------- nothing of the document is lost


@pytest.mark.parametrize("line", ENDPOINT_LINES, ids=lambda line: f"{line.number}-{line.text}")
def test_every_endpoint_line_is_in_the_catalogue_for_its_feature_role_and_cloud(line: Line) -> None:
    assert set(_entries_of(line)) <= ENTRIES


@pytest.mark.parametrize(("line", "entries"), BETWEEN_THE_LINES.items(), ids=str)
def test_what_stands_between_the_lines_is_in_the_catalogue(line: tuple[int, str], entries: tuple[Entry, ...]) -> None:
    assert line in {(known.number, known.text) for known in LINES}
    assert set(entries) <= ENTRIES


@pytest.mark.parametrize("entry", INCLUDED, ids=lambda entry: f"{entry.feature}-{entry.pattern}")
def test_every_included_row_is_in_the_catalogue(entry: Entry) -> None:
    assert entry in ENTRIES


def test_no_line_of_the_document_is_passed_over() -> None:
    others = {(line.number, line.text) for line in LINES if line.kind not in {"endpoint", "include"}}
    includes = {line.text for line in LINES if line.kind == "include"}
    assert others == BETWEEN_THE_LINES.keys() | ASK_FOR_NOTHING_MORE.keys()
    assert includes == INCLUDES.keys()
    assert Counter(entry.feature for entry in INCLUDED) == dict(INCLUDES.values())


def test_59_lines_and_one_link_ask_for_62_entries() -> None:
    listed = [entry for line in ENDPOINT_LINES for entry in _entries_of(line)]
    linked = BETWEEN_THE_LINES[126, "#azure-services"]
    assert len(ENDPOINT_LINES) == 59
    assert len({*listed, *linked}) == len(listed) + len(linked) == 62


# ---------------------------------------------------------------- nothing is in it twice, or without a reason


def test_no_consumer_has_one_pattern_twice() -> None:
    twice = [entry for entry, times in Counter(entry for entry, _ in ENDPOINTS).items() if times > 1]
    assert not twice


def test_nothing_of_the_documents_followed_line_by_line_is_lost() -> None:
    """The number of rows by the document whose row each is; what joins from other documents is counted elsewhere."""
    documents = {
        "seed": {"SEED"},
        "its includes": {"INC-DA", "INC-TA", "INC-EA"},
        "later revisions": {"IE2026", "INC-CS", "INC-FB", "INC-TA2", "INC-EDGE"},
        "Store for Business": {"MSFB"},
    }
    origin_of = {source: origin for origin, sources in documents.items() for source in sources}
    origins = Counter(origin_of.get(endpoint.source[0]) for _, endpoint in ENDPOINTS)
    del origins[None]
    assert origins == {
        "seed": 62 + 1,  # the lines, and the host that it names in a tip
        "its includes": len(INCLUDED),
        "later revisions": 51,
        "Store for Business": 20,
    }


def test_what_is_no_longer_active_says_since_when_and_why() -> None:
    silent = [
        entry
        for entry, endpoint in ENDPOINTS
        if endpoint.status is not Status.ACTIVE and not (endpoint.since and endpoint.why)
    ]
    assert not silent


def test_every_source_is_cited() -> None:
    named = {source for _, endpoint in ENDPOINTS for source in endpoint.source}
    named |= {ports.source for _, endpoint in ENDPOINTS for ports in endpoint.extra_ports if ports.source}
    named |= {
        source
        for wildcard in CATALOGUE.wildcards.values()
        for representative in wildcard.representatives
        for source in representative.source
    }
    assert named <= CATALOGUE.sources.keys()


def test_every_feature_has_one_title_and_one_document() -> None:
    told = {(group.feature, group.title, group.docs) for group in CATALOGUE.groups}
    assert all(title and docs for _, title, docs in told)
    assert len(told) == len({feature for feature, _, _ in told})


# ---------------------------------------------------------------- what is probed


def test_every_representative_lies_below_its_wildcard() -> None:
    outside = [
        (pattern, representative.host)
        for pattern, wildcard in CATALOGUE.wildcards.items()
        for representative in wildcard.representatives
        if not matches_wildcard(pattern, representative.host)
    ]
    assert not outside


def test_every_stand_in_lies_outside_its_wildcard() -> None:
    below = [
        (pattern, host)
        for pattern, wildcard in CATALOGUE.wildcards.items()
        for host in wildcard.stand_ins
        if matches_wildcard(pattern, host)
    ]
    assert not below


def test_every_wildcard_has_hosts_or_says_why_it_has_none() -> None:
    wanted = {
        host_of(endpoint.pattern) for _, endpoint in ENDPOINTS if is_wildcard(endpoint.pattern) and not endpoint.probe
    }
    silent = [
        pattern
        for pattern, wildcard in CATALOGUE.wildcards.items()
        if not (wildcard.representatives or wildcard.none_found)
    ]
    assert CATALOGUE.wildcards.keys() == wanted
    assert not silent


def test_no_akamai_host_is_ever_a_target() -> None:
    akamai = ("*.akamaiedge.net", "*.akamaitechnologies.com", "*.akamai.net", "*.edgekey.net", "*.edgesuite.net")
    targets = {target for needed in requirements(CATALOGUE, CATALOGUE.groups, SITE) for target in needed.targets}
    there = {target.url for target in targets if any(matches_wildcard(zone, target.host) for zone in akamai)}
    assert targets
    assert there == {
        "http://officecdn.microsoft.com.edgesuite.net/"
    }  # which a document names, and no certificate covers


def test_what_has_no_target_is_known() -> None:
    site = everything(CATALOGUE, Site(parameters=PARAMETERS))
    unprobed = {
        (needed.use.pattern, needed.why_unprobed)
        for needed in requirements(CATALOGUE, CATALOGUE.groups, site)
        if not needed.targets
    }
    no_host = WhyUnprobed.NO_REPRESENTATIVE
    assert unprobed == {
        ("*-umwatsonc.events.data.microsoft.com", no_host),
        ("*.akamaiedge.net", no_host),
        ("*.akamaitechnologies.com", no_host),
        ("*.au.b1.download.windowsupdate.com", no_host),
        ("*.au.download.windowsupdate.com", no_host),
        ("*.ctldl.windowsupdate.com", no_host),
        ("*.emdl.ws.microsoft.com", no_host),
        ("*.officecdn.microsoft.com", no_host),
        ("*.officecdn.microsoft.com.edgesuite.net", no_host),
        ("*.officeconfig.msocdn.com", no_host),
        ("*.tlu.dl.delivery.mp.microsoft.com", no_host),
        ("http://*.windowsupdate.microsoft.com", no_host),
        ("https://*.windowsupdate.microsoft.com", no_host),
        ("*.dm.microsoft.us", no_host),
        ("*.ecs.gov.teams.microsoft.us", no_host),
        ("*.msocdn.com", no_host),
        ("*.onmicrosoft.com", no_host),
        ("*.res.cdn.office.net", no_host),
        ("*.statics.teams.cdn.office.net", no_host),
        ("<exchange-online>", no_host),
        ("<internet>", no_host),
        ("(none)", WhyUnprobed.NOT_SUPPORTED),
        ("<peer>", WhyUnprobed.NOT_HTTP),
        ("time.windows.com", WhyUnprobed.NOT_HTTP),
        ("win1910.ipv6.microsoft.com", WhyUnprobed.NOT_HTTP),
    }


def test_templates_wait_for_their_parameters() -> None:
    templates = {endpoint.pattern for _, endpoint in ENDPOINTS if "<" in endpoint.pattern}
    templates -= {"<peer>"}  # which no HTTP reaches
    templates -= {"<exchange-online>", "<internet>"}  # for which the documents name no host
    waiting = {
        needed.use.pattern
        for needed in requirements(CATALOGUE, CATALOGUE.groups, SITE)
        if needed.why_unprobed is WhyUnprobed.MISSING_PARAMETER
    }
    assert waiting == templates


def test_every_parameter_is_defined_and_used() -> None:
    templates = [template for _, endpoint in ENDPOINTS for template in endpoint.probe]
    templates += [parameter.default for parameter in CATALOGUE.parameters.values() if parameter.default]
    used = {name for template in templates for name in parameters_of(template)}
    used |= {name for _, endpoint in ENDPOINTS for name in endpoint.only_for}
    assert used == CATALOGUE.parameters.keys()


def test_lines_for_some_regions_name_regions_that_there_are() -> None:
    unknown = [
        (entry, name, value)
        for entry, endpoint in ENDPOINTS
        for name, values in endpoint.only_for.items()
        for value in values
        if value not in CATALOGUE.parameters[name].values
    ]
    assert not unknown


# ---------------------------------------------------------------- what else the documents say


def test_versions_are_years_and_months() -> None:
    versions = {
        version
        for _, endpoint in ENDPOINTS
        for version in (endpoint.versions.first, endpoint.versions.last)
        if version is not None
    }
    assert versions == {"1810", "1902", "2010", "2107", "2603"}
    assert all(re.fullmatch(r"\d\d(0[1-9]|1[0-2])", version) for version in versions)


@pytest.mark.parametrize(
    "zone",
    [
        "manage.microsoft.com",
        "*.manage.microsoft.com",
        "*.manage.microsoft.us",
        "*.dm.microsoft.com",
        "*.events.data.microsoft.com",
        "*.vortex-win.data.microsoft.com",
        "vortex-win.data.microsoft.com",
        "settings-win.data.microsoft.com",
    ],
)
def test_hosts_that_bear_no_inspection_say_so_wherever_they_stand(zone: str) -> None:
    there = [
        (entry, endpoint.tls_inspection)
        for entry, endpoint in ENDPOINTS
        if host_of(entry.pattern) == zone or ("*" in zone and matches_wildcard(zone, host_of(entry.pattern)))
    ]
    assert there
    assert not [entry for entry, inspection in there if inspection is not Support.UNSUPPORTED]


def test_trust_beyond_public_roots_is_asked_for_by_few() -> None:
    trusts = {
        trust: {endpoint.pattern for _, endpoint in ENDPOINTS if endpoint.trust is trust}
        for trust in (Trust.MICROSOFT_PRODUCT, Trust.CUSTOMER)
    }
    assert trusts == {
        Trust.MICROSOFT_PRODUCT: {
            "https://*.update.microsoft.com",
            "https://sws.update.microsoft.com",
            "https://fe2.update.microsoft.com",
            "https://sws1.update.microsoft.com",
            "https://*.delivery.mp.microsoft.com",
        },
        Trust.CUSTOMER: {
            "https://<FQDN for software update point on child site>",
            "https://<FQDN for software update point on parent site>",
            "<name>.cloudapp.net",
            "<name>.usgovcloudapp.net",
            "<prefix>.<region>.cloudapp.azure.com",
        },
    }
