"""What the shipped catalogue asks for, in a network where everything is open: all of it is up, and nothing astray."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from exporter.config.catalogue import load
from exporter.model.patterns import host_of
from exporter.model.vocabulary import Catalogue, Site
from exporter.plan.requirements import requirements
from tests.lab import Lab
from tests.running import command

pytestmark = pytest.mark.lab

CATALOGUE: Final[Catalogue] = load()
CONFIGURATION: Final = """
site:
  clouds: [CLOUD]
  parameters:
    cloud_service_name: GraniteFalls
    azure_region: westus
    child_site_sup_fqdn: sup1.corp.example
    parent_site_sup_fqdn: sup0.corp.example
    logic_app_host: portal.corp.example
"""


def checked(lab: Lab, cloud: str) -> dict[str, Any]:
    """The report on a site in a cloud that has every role and gives every name."""
    config = lab.keep(f"{cloud}.yaml", CONFIGURATION.replace("CLOUD", cloud).encode())
    done = command(lab, "check", "--config.file", config, "--format", "json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    return report


@pytest.mark.parametrize("cloud", CATALOGUE.clouds)
def test_every_target_is_up_and_every_feature_ready(lab: Lab, cloud: str) -> None:
    report = checked(lab, cloud)
    endpoints = [endpoint for feature in report["features"] for endpoint in feature["endpoints"]]
    down = [
        (endpoint["pattern"], target)
        for endpoint in endpoints
        for target in endpoint["targets"]
        if target["up"] is not True
    ]
    not_ready = [
        (feature["feature"], feature["role"])
        for feature in report["features"]
        if feature["ready"] is not True and any(endpoint["targets"] for endpoint in feature["endpoints"])
    ]
    assert report["verdict"] == "incomplete"  # nobody documents a host of two roles
    assert not any("site.parameters" in sentence for sentence in report["why"])
    assert not down
    assert not not_ready
    assert len(endpoints) > 100


def hosts_of(cloud: str) -> set[str]:
    """Every host that is probed for a cloud."""
    needed = requirements(CATALOGUE, CATALOGUE.groups, Site(clouds=(cloud,)))
    return {target.host for need in needed for target in need.targets}


@pytest.mark.parametrize("cloud", [cloud for cloud in CATALOGUE.clouds if cloud != "azure-public"])
def test_a_site_of_another_cloud_asks_for_no_host_of_the_public_cloud(lab: Lab, cloud: str) -> None:
    public_only = {
        host_of(endpoint.pattern)
        for group in CATALOGUE.groups
        if group.clouds == ("azure-public",)
        for endpoint in group.endpoints
    }
    elsewhere = {
        host_of(endpoint.pattern)
        for group in CATALOGUE.groups
        if group.clouds != ("azure-public",)
        for endpoint in group.endpoints
    }
    lab.clear_requests()
    checked(lab, cloud)
    asked = {request.host for request in lab.requests()}
    assert asked >= hosts_of(cloud)
    assert not asked & (public_only - elsewhere)
