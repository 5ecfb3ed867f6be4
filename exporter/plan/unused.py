"""What a configuration says in vain: (catalogue, settings) -> each such thing, where it stands and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from exporter.model.patterns import parameters_of
from exporter.model.vocabulary import Catalogue, Endpoint, Group, Place, Requirement, Settings, Site
from exporter.plan.emptiness import listed, wider
from exporter.plan.requirements import requirements


@dataclass(frozen=True, slots=True)
class Unused:
    """Something that changes nothing, though whoever wrote it meant it to."""

    place: Place
    message: str


def unused(catalogue: Catalogue, settings: Settings) -> tuple[Unused, ...]:
    """Everything of a configuration that changes nothing; nothing, where there is no configuration."""
    if not settings.written.file:
        return ()
    if settings.written.empty:
        return (Unused((), "the file says nothing, so everything that is documented is probed, and direct"),)
    selected = requirements(catalogue, (*catalogue.groups, *settings.groups), settings.site)
    return tuple(
        chain(
            _proxies(settings),
            _roles_of_proxies(settings, selected),
            _words_of_site(catalogue, settings, selected),
            _parameters(catalogue, settings, selected),
            _groups(catalogue, settings),
        )
    )


def _proxies(settings: Settings) -> Iterator[Unused]:
    for name in settings.proxies:
        if name not in settings.via.values():
            role = (settings.site.roles or ("client",))[0]
            yield Unused(
                ("proxies", name),
                f"no role goes through this proxy, so everything goes direct by it; name its roles below `via`, "
                f"as `{role}: {name}`",
            )


def _roles_of_proxies(settings: Settings, selected: Iterable[Requirement]) -> Iterator[Unused]:
    needing = {requirement.use.consumer.role for requirement in selected}
    for role, proxy in settings.via.items():
        if settings.site.roles and role not in settings.site.roles:
            remedy = "add it to `site.roles`, or remove this line"
            yield Unused(("via", role), f"the site has no such role, so nothing goes through {proxy} by it; {remedy}")
        elif role not in needing and not settings.site.roles:
            yield Unused(("via", role), f"nothing that the site selects is for this role, so {proxy} is not used by it")


# ---------------------------------------------------------------- roles, features, clouds


def _words_of_site(catalogue: Catalogue, settings: Settings, selected: Iterable[Requirement]) -> Iterator[Unused]:
    consumers = [requirement.use.consumer for requirement in selected]
    site, groups = settings.site, (*catalogue.groups, *settings.groups)
    kinds: Mapping[str, tuple[tuple[str, ...], set[str], Callable[[str], Site]]] = {
        "roles": (site.roles, {one.role for one in consumers}, lambda word: replace(site, roles=(word,))),
        "features": (site.features, {one.feature for one in consumers}, lambda word: replace(site, features=(word,))),
        "clouds": (site.clouds, {one.cloud for one in consumers}, lambda word: replace(site, clouds=(word,))),
    }
    for kind, (words, needed, narrowed) in kinds.items():
        for number, word in enumerate(words):
            if word not in needed and ("site", kind, number) in settings.written.lines:
                why = _why_nothing(catalogue, groups, narrowed(word), without=kind)
                yield Unused(("site", kind, number), f"nothing is probed for {word}: {why}")


def _why_nothing(catalogue: Catalogue, groups: Iterable[Group], site: Site, *, without: str = "") -> str:
    """Why a site that selects nothing does so: the first wish without which it would select something."""
    every = tuple(groups)
    for kind, wide in wider(catalogue, site).items():
        found = requirements(catalogue, every, wide) if kind != without else ()
        if found:
            return _reason(kind, found)
    return "nothing that is documented is for it under these roles, features, clouds, statuses and version together"


def _reason(kind: str, found: Iterable[Requirement]) -> str:
    """What the site would have to say to select what is found."""
    match kind:
        case "roles":
            words = listed(requirement.use.consumer.role for requirement in found)
            return f"it is for {words}, which `site.roles` does not name"
        case "features":
            words = listed(requirement.use.consumer.feature for requirement in found)
            return f"`site.features` does not name {words}"
        case "statuses":
            words = listed(str(requirement.endpoint.status) for requirement in found)
            return f"all of it is {words}; add that to `site.statuses` to have it probed"
        case "clouds":
            words = listed(requirement.use.consumer.cloud for requirement in found)
            return f"it is for {words}, which `site.clouds` does not name"
        case _:
            return "no endpoint is for the version of `site.version`"


# ---------------------------------------------------------------- parameters


def _parameters(catalogue: Catalogue, settings: Settings, selected: Iterable[Requirement]) -> Iterator[Unused]:
    endpoints = {id(requirement.endpoint): requirement.endpoint for requirement in selected}.values()
    limiting = _limiting(catalogue, settings)
    named = _with_defaults(catalogue, {name for endpoint in endpoints for name in _names_in(endpoint)} | limiting)
    for name in settings.site.parameters:
        if name not in named:
            features = [
                group.feature
                for group in (*catalogue.groups, *settings.groups)
                if name in _with_defaults(catalogue, {one for each in group.endpoints for one in _names_in(each)})
            ]
            whose = (
                f"it is for {listed(features)}, of which the site selects nothing" if features else "nothing takes it"
            )
            yield Unused(("site", "parameters", name), f"nothing needs this value: {whose}")


def _limiting(catalogue: Catalogue, settings: Settings) -> set[str]:
    """Parameters whose value leaves out endpoints, which then need nothing any more."""
    groups = (*catalogue.groups, *settings.groups)
    anything = requirements(catalogue, groups, replace(settings.site, parameters={}))
    return {name for requirement in anything for name in requirement.endpoint.only_for}


def _names_in(endpoint: Endpoint) -> Iterator[str]:
    for template in (*endpoint.probe, endpoint.path):
        yield from parameters_of(template)
    yield from endpoint.only_for


def _with_defaults(catalogue: Catalogue, names: set[str]) -> set[str]:
    """The same and the names by which their defaults are filled."""
    pending, found = list(names), set(names)
    while pending:
        parameter = catalogue.parameters.get(pending.pop())
        more = set(parameters_of(parameter.default)) - found if parameter and parameter.default else set()
        found |= more
        pending += more
    return found


# ---------------------------------------------------------------- groups


def _groups(catalogue: Catalogue, settings: Settings) -> Iterator[Unused]:
    idle = [not requirements(catalogue, (group,), settings.site) for group in settings.groups]
    inline = [number for number, group in enumerate(settings.groups) if group.file == settings.written.file]
    for place, number in enumerate(inline):
        if idle[number]:
            group = settings.groups[number]
            why = _why_nothing(catalogue, (group,), settings.site)
            yield Unused(("groups", place), f"nothing of this group is probed: {why}")
    for file, where in settings.written.group_files.items():
        theirs = [number for number, group in enumerate(settings.groups) if group.file == file]
        if not theirs:
            yield Unused(where, "the file holds no group")
        elif all(idle[number] for number in theirs):
            why = _why_nothing(catalogue, (settings.groups[number] for number in theirs), settings.site)
            yield Unused(where, f"nothing of this file is probed: {why}")
