"""What holds for rows of the catalogue: clouds, ports, hosts that stand for a wildcard, and what decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from exporter import __version__
from exporter.allowlist.rules import rules
from exporter.cli import app
from exporter.config.catalogue import load
from exporter.config.version import as_of
from exporter.model.patterns import host_of
from exporter.model.vocabulary import (
    Catalogue,
    Endpoint,
    Group,
    Importance,
    Settings,
    Site,
    Status,
    Support,
    WhyReference,
    WhyUnprobed,
)
from exporter.plan.requirements import requirements
from exporter.plan.selection import Selection
from exporter.service.load import Source, documented

CATALOGUE: Final[Catalogue] = load()
PUBLIC, GOVERNMENT, CHINA = "azure-public", "azure-us-government", "azure-china"


def rows(feature: str, role: str | None = None, cloud: str | None = None) -> Iterator[tuple[Group, Endpoint]]:
    """The rows of a feature that hold for a role and in a cloud."""
    for group in CATALOGUE.groups:
        here = group.feature == feature and (role is None or role in group.roles)
        if here and (cloud is None or cloud in (group.clouds or CATALOGUE.clouds)):
            yield from ((group, endpoint) for endpoint in group.endpoints)


def asked(feature: str, role: str | None = None, cloud: str | None = None) -> dict[str, tuple[str, ...]]:
    """Active patterns and their schemes."""
    found = rows(feature, role, cloud)
    return {row.pattern: row.schemes for _, row in found if row.status is Status.ACTIVE}


# ---------------------------------------------------------------- clouds

INTUNE_GOVERNMENT: Final = {
    "*.manage.microsoft.us",
    "manage.microsoft.us",
    "enterpriseregistration.microsoftonline.us",
    "https://portal.manage.microsoft.us/",
    "https://intune.microsoft.us/",
    "imeswdsc-afd-pri.manage.microsoft.com",
    "imeswdsc-afd-sec.manage.microsoft.com",
    "imeswdsc-afd-hotfix.manage.microsoft.com",
    "*.events.data.microsoft.com",
    "*.dm.microsoft.us",
    "has.spserv.microsoft.com",
    "https://syncservice.gov.us.microsoftonline.com/DirectoryService.svc",
    "login.microsoftonline.us",
    "https://directoryproxy.microsoftazure.us/DirectoryProxy.svc",
    "https://directory.microsoftazure.us",
    "https://graph.microsoftazure.us",
    "graph.microsoft.us",
    "*.ecs.gov.teams.microsoft.us",
    "*.wns.windows.com",
}


def test_co_management_asks_a_government_site_for_its_own_list_alone() -> None:
    assert asked("co-management", cloud=GOVERNMENT).keys() == INTUNE_GOVERNMENT


def test_what_a_cloud_does_not_have_is_listed_as_that_and_asked_for_by_nobody() -> None:
    site = Site(clouds=(CHINA,))
    needed = requirements(CATALOGUE, CATALOGUE.groups, site)
    without = {"cloud-services", "tenant-attach", "azure-services", "endpoint-analytics"}
    of_those = [need for need in needed if need.use.consumer.feature in without]
    assert {need.why_unprobed for need in of_those} == {WhyUnprobed.NOT_SUPPORTED}
    assert {need.use.consumer.feature for need in of_those} == without
    features = {group.feature for group in CATALOGUE.groups}
    assert all(cloud.unsupported.keys() <= features for cloud in CATALOGUE.clouds.values())
    assert all(need.detail for need in of_those)
    assert "co-management" in {need.use.consumer.feature for need in needed if need.targets}
    for rule in rules(CATALOGUE, CATALOGUE.groups, site, Settings()):
        assert not without & {need.feature for need in rule.needed_for}


def test_a_row_of_the_list_for_one_cloud_names_its_cloud() -> None:
    cloud_of = {"INTUNE": PUBLIC, "INTUNEGOV": GOVERNMENT, "INTUNECHINA": CHINA}
    astray = [
        (group.feature, endpoint.pattern)
        for group in CATALOGUE.groups
        for endpoint in group.endpoints
        if (cloud := cloud_of.get(endpoint.source[0])) and group.clouds != (cloud,)
    ]
    assert not astray


@pytest.mark.parametrize(("region", "number"), [("north-america", 6), ("europe", 6), ("asia-pacific", 4)])
def test_a_tenant_needs_the_attestation_of_its_region(region: str, number: int) -> None:
    site = Site(features=("co-management",), roles=("client",), parameters={"intune_region": region})
    found = [need for need in requirements(CATALOGUE, CATALOGUE.groups, site) if "attest.azure" in need.use.pattern]
    assert len(found) == number
    assert {need.endpoint.tls_inspection for need in found} == {Support.UNSUPPORTED}


# ---------------------------------------------------------------- schemes and ports


@pytest.mark.parametrize("feature", ["updates-and-servicing", "windows-servicing"])
def test_the_service_connection_point_needs_443_alone(feature: str) -> None:
    plain = {
        row.pattern for _, row in rows(feature) if row.status is Status.ACTIVE and row.decides and "http" in row.schemes
    }
    assert not plain


def test_a_software_update_point_needs_the_list_of_wsus() -> None:
    documented = {
        "http://windowsupdate.microsoft.com",
        "http://*.windowsupdate.microsoft.com",
        "https://*.windowsupdate.microsoft.com",
        "http://*.update.microsoft.com",
        "https://*.update.microsoft.com",
        "http://*.windowsupdate.com",
        "http://download.windowsupdate.com",
        "https://download.microsoft.com",
        "http://*.download.windowsupdate.com",
        "http://ntservicepack.microsoft.com",
        "http://go.microsoft.com",
        "http://dl.delivery.mp.microsoft.com",
        "https://dl.delivery.mp.microsoft.com",
        "http://*.delivery.mp.microsoft.com",
        "https://*.delivery.mp.microsoft.com",
    }
    others = {"http://download.microsoft.com", "https://sws.update.microsoft.com"}
    assert asked("software-updates", "software-update-point").keys() == documented | others


def test_hosts_that_wsus_synchronized_with_before_are_not_asked_for() -> None:
    statuses = {row.pattern: row.status for _, row in rows("software-updates")}
    assert statuses["https://fe2.update.microsoft.com"] is Status.RETIRED
    assert statuses["https://sws1.update.microsoft.com"] is Status.DEPRECATED
    by_https = {
        target.url
        for need in requirements(CATALOGUE, CATALOGUE.groups, Site())
        for target in need.targets
        if target.host == "fe2.update.microsoft.com" and target.scheme == "https"
    }
    assert not by_https


@pytest.mark.parametrize("role", ["software-update-point", "site-server"])
def test_the_top_level_site_needs_the_list_of_microsoft_365_apps(role: str) -> None:
    documented = {"*.microsoft.com", "*.msocdn.com", "*.office.com", "*.office.net", "*.onmicrosoft.com"}
    documented |= {"officecdn.microsoft.com", "officecdn.microsoft.com.edgesuite.net"}
    assert documented <= asked("m365-apps", role).keys()


@pytest.mark.parametrize("role", ["site-server", "console"])
def test_who_downloads_content_needs_its_hosts(role: str) -> None:
    needed = asked("software-updates", role)
    assert {host_of(pattern) for pattern in needed} == {
        "download.windowsupdate.com",
        "download.microsoft.com",
        "*.delivery.mp.microsoft.com",
        "officecdn.microsoft.com",
    }


def test_revocation_lists_and_issuers_are_fetched_by_http() -> None:
    by_https = {
        row.pattern
        for feature in ("certificate-revocation", "tenant-attach")
        for _, row in rows(feature)
        if {"AZCA", "INC-TA2"} & set(row.source) and row.decides and row.schemes != ("http",)
    }
    assert by_https <= {"https://*.manage.microsoft.com", "https://*.manage.microsoft.us"}


def test_ports_that_no_http_reaches_are_listed_and_allowed() -> None:
    site = Site(roles=("client",))
    unprobed = {
        (need.use.pattern, *need.endpoint.schemes, *need.endpoint.ports)
        for need in requirements(CATALOGUE, CATALOGUE.groups, site)
        if need.why_unprobed is WhyUnprobed.NOT_HTTP
    }
    assert unprobed == {
        ("<peer>", "tcp", 7680),
        ("win1910.ipv6.microsoft.com", "udp", 3544),
        ("time.windows.com", "udp", 123),
    }
    allowed = {(rule.host, rule.protocol, rule.ports) for rule in rules(CATALOGUE, CATALOGUE.groups, site, Settings())}
    assert {(host, protocol, str(port)) for host, protocol, port in unprobed} <= allowed


# ---------------------------------------------------------------- what stands for a wildcard, and what decides


def test_every_host_that_stands_for_a_wildcard_is_one_that_somebody_documents() -> None:
    inferred = [
        (pattern, one.host)
        for pattern, wildcard in CATALOGUE.wildcards.items()
        for one in wildcard.representatives
        if not set(one.source) - {"INFER"}
    ]
    assert not inferred


def test_what_decides_nothing_is_known_and_says_why() -> None:
    found = {
        (group.feature, endpoint.pattern): endpoint.reference
        for group in CATALOGUE.groups
        for endpoint in group.endpoints
        if endpoint.reference
    }
    swdsw = ("swdsw01", "swdsw01-mscdn", "swdsw02", "swdsw02-mscdn")
    assert found == {
        ("updates-and-servicing", "download.windowsupdate.com"): WhyReference.CERTIFICATE_NAME,
        ("windows-servicing", "dl.delivery.mp.microsoft.com"): WhyReference.CERTIFICATE_NAME,
        ("software-updates", "https://dl.delivery.mp.microsoft.com"): WhyReference.CERTIFICATE_NAME,
        ("software-updates", "http://ntservicepack.microsoft.com"): WhyReference.SOURCES_DISAGREE,
        ("certificate-revocation", "https://mscrl.microsoft.com"): WhyReference.SOURCES_DISAGREE,
        ("co-management", "sinwns1011421.wns.windows.com"): WhyReference.KNOWN_DEAD,
        ("co-management", "manage.microsoft.com"): WhyReference.SOURCES_DISAGREE,  # in China
        ("co-management", "https://graph.chinacloudapi.us"): WhyReference.SOURCES_DISAGREE,
        ("delivery-optimization", "statics.teams.cdn.office.net"): WhyReference.SOURCES_DISAGREE,
        **{("delivery-optimization", f"{host}.manage.microsoft.com"): WhyReference.SOURCES_DISAGREE for host in swdsw},
    }
    assert not [row.pattern for group in CATALOGUE.groups for row in group.endpoints if row.reference and not row.note]


def test_a_host_of_one_cloud_stands_for_a_wildcard_there_alone() -> None:
    def asked_in(cloud: str) -> set[str]:
        site = Site(clouds=(cloud,), features=("updates-and-servicing",))
        needed = requirements(CATALOGUE, CATALOGUE.groups, site)
        return {
            target.host for need in needed if need.use.pattern == "*.manage.microsoft.com" for target in need.targets
        }

    assert "us.gateway.configmgr.manage.microsoft.com" in asked_in(PUBLIC)
    assert asked_in(GOVERNMENT) == {"configmgrbits.cdn.manage.microsoft.com"}


def test_no_feature_waits_for_a_host_that_others_found_dead() -> None:
    dead = {host_of(row.pattern) for group in CATALOGUE.groups for row in group.endpoints if not row.decides}
    stand_for = {one.host for wildcard in CATALOGUE.wildcards.values() for one in wildcard.representatives}
    assert stand_for & dead == {"download.windowsupdate.com", "dl.delivery.mp.microsoft.com"}  # there, by http alone


def test_every_feature_says_how_important_it_is() -> None:
    importance = {group.feature: group.importance for group in CATALOGUE.groups}
    assert None not in importance.values()
    assert importance["console-feedback"] is Importance.LOW
    assert importance["updates-and-servicing"] is Importance.CRITICAL


def test_the_name_of_a_gateway_may_be_written_as_the_document_does() -> None:
    site = Site(features=("cloud-services",), roles=("client",), parameters={"cloud_service_name": "GraniteFalls"})
    targets = {target.url for need in requirements(CATALOGUE, CATALOGUE.groups, site) for target in need.targets}
    assert "https://granitefalls.blob.core.windows.net/" in targets


def test_the_version_of_the_catalogue_is_shown() -> None:
    done = CliRunner().invoke(app, ["--version", "--verbose"])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:2] == [__version__, f"catalogue: as of {as_of()}, from Microsoft's documents"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"{__version__}\n"


@pytest.mark.parametrize("name", ["granitefalls", "GraniteFalls", "GraniteFalls.WestUS.CloudApp.Azure.Com"])
@pytest.mark.parametrize("region", ["westus", "WestUS", "West US"])
def test_a_gateway_is_understood_as_people_write_it(name: str, region: str, tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text(f"site: {{parameters: {{cloud_service_name: {name}, azure_region: {region}}}}}")
    needed = documented(Source(config, Selection(("CMG",), ("client",))), whole=False).requirements
    hosts = {target.host for need in needed for target in need.targets}
    assert {"granitefalls.westus.cloudapp.azure.com", "granitefalls.blob.core.windows.net"} <= hosts
