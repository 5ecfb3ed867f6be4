"""What the command line names of a site is what remains of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import catalogue as shipped
from exporter.model.vocabulary import Catalogue, Site
from exporter.plan.requirements import requirements
from exporter.plan.selection import Selection, SelectionError
from exporter.service.load import Source, documented
from tests.strategies import CLOUDS, FEATURES, ROLES, catalogues, sites, some

narrowings = st.builds(Selection, some(FEATURES), some(ROLES), some(CLOUDS))


def within(asked: Selection, site: Site, catalogue: Catalogue) -> Selection:
    """What of it the site has."""
    features = site.features or {group.feature for group in catalogue.groups}
    return Selection(
        tuple(feature for feature in asked.features if feature in features),
        tuple(role for role in asked.roles if role in (site.roles or ROLES)),
        tuple(cloud for cloud in asked.clouds if cloud in site.clouds),
    )


@given(catalogues(), sites, narrowings)
def test_a_narrowed_site_needs_exactly_what_is_named_of_it(catalogue: Catalogue, site: Site, asked: Selection) -> None:
    named = within(asked, site, catalogue)
    narrower = named.applied(site, catalogue, catalogue.groups)
    assert requirements(catalogue, catalogue.groups, narrower) == tuple(
        requirement
        for requirement in requirements(catalogue, catalogue.groups, site)
        for consumer in [requirement.use.consumer]
        if not named.features or consumer.feature in named.features
        if not named.roles or consumer.role in named.roles
        if not named.clouds or consumer.cloud in named.clouds
    )


@given(catalogues(), sites, narrowings)
def test_a_name_that_the_site_does_not_have_is_refused(catalogue: Catalogue, site: Site, asked: Selection) -> None:
    if asked == within(asked, site, catalogue):
        asked = replace(asked, roles=(*asked.roles, "stranger"))
    with pytest.raises(SelectionError, match=r"^--(feature|role|cloud) "):
        asked.applied(site, catalogue, catalogue.groups)


@given(catalogues(), sites)
def test_naming_nothing_leaves_the_site_as_it_is(catalogue: Catalogue, site: Site) -> None:
    assert Selection().applied(site, catalogue, catalogue.groups) == site


@given(catalogues(), sites, narrowings)
def test_narrowing_twice_is_narrowing_once(catalogue: Catalogue, site: Site, asked: Selection) -> None:
    named = within(asked, site, catalogue)
    once = named.applied(site, catalogue, catalogue.groups)
    assert named.applied(once, catalogue, catalogue.groups) == once


def test_a_name_given_twice_counts_once() -> None:
    known = shipped.load()
    narrower = Selection(roles=("client", "client")).applied(Site(), known, known.groups)
    assert narrower.roles == ("client",)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Selection(features=("tenant-atach",)),
            "--feature tenant-atach: unknown feature of this site, did you mean tenant-attach?",
        ),
        (Selection(roles=("cliend",)), "--role cliend: unknown role of this site, did you mean client?"),
        (Selection(clouds=("azure-us-government",)), "--cloud azure-us-government: unknown cloud of this site"),
    ],
)
def test_a_refusal_names_the_option_the_value_and_what_may_be_meant(asked: Selection, message: str) -> None:
    known = shipped.load()
    with pytest.raises(SelectionError) as caught:
        asked.applied(Site(), known, known.groups)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("kind", "name", "slug"),
    [
        ("roles", "SCP", "service-connection-point"),
        ("roles", "mp", "management-point"),
        ("roles", "SUP", "software-update-point"),
        ("roles", "DP", "distribution-point"),
        ("roles", "CMG", "cmg-connection-point"),
        ("roles", "Service connection point", "service-connection-point"),
        ("features", "CMG", "cloud-services"),
        ("clouds", "GCC", "azure-public"),
        ("clouds", "GCC High", "azure-us-government"),
        ("clouds", "DoD", "azure-us-government"),
        ("clouds", "21Vianet", "azure-china"),
    ],
)
def test_names_are_understood_as_people_write_them(kind: str, name: str, slug: str) -> None:
    catalogue = shipped.load()
    site = Site(clouds=tuple(catalogue.clouds))
    narrowed = Selection(**{kind: (name,)}).applied(site, catalogue, catalogue.groups)
    assert getattr(narrowed, kind) == (slug,)


def test_a_misspelt_name_is_answered_with_the_one_that_is_meant() -> None:
    catalogue = shipped.load()
    with pytest.raises(SelectionError, match="did you mean azure-us-government"):
        Selection(clouds=("GCC Hihg",)).applied(Site(clouds=tuple(catalogue.clouds)), catalogue, catalogue.groups)


@pytest.mark.parametrize("cloud", ["azure-us-government", "azure-china"])
def test_without_a_configuration_every_cloud_that_is_shipped_can_be_named(cloud: str) -> None:
    needed = documented(Source(selection=Selection(clouds=(cloud,))), whole=False).requirements
    assert {need.use.consumer.cloud for need in needed} == {cloud}


def test_a_configuration_narrows_to_its_own_clouds(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text("site: {clouds: [azure-public]}")
    with pytest.raises(SelectionError, match="unknown cloud of this site"):
        documented(Source(config, Selection(clouds=("azure-us-government",))), whole=False)
