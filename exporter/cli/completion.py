"""What a shell completes: the words that an option takes, each with what it means, for shells that show it."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import typer

from exporter.config import catalogue as shipped
from exporter.model.patterns import host_of
from exporter.model.vocabulary import Catalogue, Group, Site
from exporter.plan.requirements import everything
from exporter.plan.selection import UNUSABLE
from exporter.service.load import Source, planned, selected

Words = list[tuple[str, str]]


def features(context: typer.Context, incomplete: str) -> Words:
    """The features of the site."""
    _, groups, site = _selected(context)
    titles = {group.feature: group.title or "" for group in groups}
    return _beginning(incomplete, ((slug, titles[slug]) for slug in site.features or titles))


def roles(context: typer.Context, incomplete: str) -> Words:
    """The roles of the site."""
    catalogue, _, site = _selected(context)
    return _beginning(incomplete, ((slug, catalogue.roles[slug].title) for slug in site.roles or catalogue.roles))


def clouds(context: typer.Context, incomplete: str) -> Words:
    """The clouds of the site."""
    catalogue, _, site = _selected(context)
    return _beginning(incomplete, ((slug, catalogue.clouds[slug].title) for slug in site.clouds))


def known_roles(incomplete: str) -> Words:
    """The roles of any site."""
    return _beginning(incomplete, ((role.slug, role.title) for role in shipped.load().roles.values()))


def known_clouds(incomplete: str) -> Words:
    """The clouds of any site."""
    return _beginning(incomplete, ((cloud.slug, cloud.title) for cloud in shipped.load().clouds.values()))


def explainable(context: typer.Context, incomplete: str) -> Words:
    """What `explain` takes: hosts and wildcards; URLs once a colon is typed, since bash ends a word there."""
    try:
        work = planned(Source(context.params.get("config_file")))
    except UNUSABLE:
        work = planned(Source())
    urls = {check.key.target.url for check in work.checks}
    hosts = {urlsplit(url).hostname or "" for url in urls} | {host_of(use.pattern) for use in work.requirement_of}
    return _beginning(incomplete, ((word, "") for word in sorted(urls if ":" in incomplete else hosts)))


def _selected(context: typer.Context) -> tuple[Catalogue, tuple[Group, ...], Site]:
    """What the configuration on the line selects; while that has mistakes, what holds without it."""
    try:
        catalogue, _, groups, site = selected(Source(context.params.get("config_file")))
    except UNUSABLE:
        catalogue, _, groups, site = selected(Source())
    return catalogue, groups, everything(catalogue, site) if context.params.get("whole") else site


def _beginning(incomplete: str, words: Iterable[tuple[str, str]]) -> Words:
    return [(word, means) for word, means in words if word.startswith(incomplete)]
