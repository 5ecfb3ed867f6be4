"""The catalogue: a folder of YAML files, one for each feature and a vocabulary -> Catalogue, or every mistake in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Final, cast

from pydantic import AfterValidator, Field, ValidationInfo

from exporter.config.documents import Document, raise_errors, read_all
from exporter.config.fields import (
    NOT_EMPTY,
    CloudName,
    ParameterName,
    Section,
    Slug,
    Text,
    distinct,
    expected,
    found,
    is_host,
    one_of,
    unknown,
)
from exporter.config.groups import (
    LeadsTo,
    Located,
    Names,
    Scheme,
    Sources,
    SupportWord,
    add_contradictions,
    read_groups,
)
from exporter.config.version import shipped as shipped  # noqa: PLC0414 - who loads a catalogue asks here where it is
from exporter.model.patterns import has_stray_braces, host_of, is_wildcard, matches_wildcard, parameters_of
from exporter.model.vocabulary import (
    Catalogue,
    Cloud,
    Forwarder,
    Group,
    Parameter,
    Representative,
    Role,
    Support,
    Wildcard,
)

VOCABULARY: Final = ("clouds", "roles", "parameters", "wildcards", "sources", "forwarders")


def load(directory: Path | None = None) -> Catalogue:
    """The catalogue in a folder, or the shipped one, which is read once. Raises DocumentError with all mistakes.

    What a feature's first group says of the feature (title, docs, logs, ...) holds for all its groups.
    """
    return _read_shipped(shipped()) if directory is None else _read(directory)


@cache
def _read_shipped(directory: Path) -> Catalogue:
    return _read(directory)  # it belongs to the program, and changes only with that


def _read(directory: Path) -> Catalogue:
    vocabulary, unread = read_all(directory / "vocabulary" / f"{name}.yaml" for name in VOCABULARY)
    raise_errors(vocabulary, unread)
    clouds, roles, parameters, wildcards, sources, forwarders = vocabulary
    names = Names(_keys(roles), _keys(clouds), _keys(sources), _keys(parameters))
    known_parameters = _parameters(parameters, names)
    names = replace(names, values={p.name: p.values for p in known_parameters.values() if p.values})
    features, unread = read_all(sorted(directory.glob("*.yaml")))
    located = [here for document in features for here in read_groups(document, (), names)]
    add_contradictions(located)
    _blame_headings(located)
    catalogue = Catalogue(
        groups=_with_their_feature(here.group for here in located),
        roles=_roles(roles, names),
        clouds=_clouds(clouds),
        parameters=known_parameters,
        wildcards=_wildcards(wildcards, names),
        sources=sources.validate(dict[str, Text]) or {},
        forwarders=_forwarders(forwarders, names),
    )
    raise_errors((*vocabulary, *features), unread)
    return catalogue


def _keys(document: Document) -> list[str]:
    return list(document.value) if isinstance(document.value, dict) else []


# ---------------------------------------------------------------- features


def _with_their_feature(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Groups, with what the first group of each feature says of the feature filled in."""
    first: dict[str, Group] = {}
    return tuple(_filled(group, first.setdefault(group.feature, group)) for group in groups)


def _filled(group: Group, first: Group) -> Group:
    return replace(
        group,
        title=group.title or first.title,
        docs=group.docs or first.docs,
        logs=group.logs or first.logs,
        messages=group.messages or first.messages,
        troubleshooting=group.troubleshooting or first.troubleshooting,
        importance=group.importance or first.importance,
    )


def _blame_headings(located: Iterable[Located]) -> None:
    """Blame groups in another feature's file, and features without a title."""
    for here in located:
        feature = Path(here.document.file).stem
        if here.group.feature != feature:
            message = f"{found(here.group.feature)} stands in the file of {feature}; name the file after the feature"
            here.document.add_error((*here.place, "feature"), message)
        if here.place == (0,) and not here.group.title:
            here.document.add_error(here.place, "the first group of a feature has no `title`; give one")


# ---------------------------------------------------------------- vocabulary


def _regex(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return expression


def _form(form: str | None, info: ValidationInfo) -> str | None:
    if info.data.get("regex") and form is None:
        raise ValueError("`regex` without `form`; say there in words what it demands, for the messages")
    return form


def _default(default: str, info: ValidationInfo) -> str:
    """A value that the parameter may have, or a template of other parameters."""
    known = cast("Names", info.context).parameters or ()
    if has_stray_braces(default):
        raise ValueError("braces enclose the name of a parameter, as in {cloud_service_name}")
    for name in parameters_of(default):
        if name not in known:
            raise ValueError(f"{{{name}}}: {unknown('parameter', known, name)}")
    regex, form, values = (info.data.get(key) for key in ("regex", "form", "values"))
    if not parameters_of(default) and regex and form and not re.fullmatch(regex, default):
        raise ValueError(expected(form, default))
    if values and default not in values:
        raise ValueError(f"{found(default)}: {unknown('value', values, default)}")
    return default


def _host(host: str) -> str:
    if not is_host(host) or host != host.lower():
        raise ValueError(expected("a host name in lower case", host))
    return host


def _wildcard_host(pattern: str) -> str:
    if host_of(pattern) != pattern or not is_wildcard(pattern):
        raise ValueError(expected("the host of a wildcard in lower case, without a scheme or a port", pattern))
    return pattern


def _hosts_or_why(none_found: str | None, info: ValidationInfo) -> str | None:
    representatives = info.data.get("representatives")
    if representatives == [] and none_found is None:
        raise ValueError("give `representatives`, or say in `none_found` why there are none")
    if representatives and none_found:
        raise ValueError("there are `representatives`; remove this key")
    return none_found


ForwarderHost = Annotated[str, AfterValidator(_host)]
WildcardHost = Annotated[str, AfterValidator(_wildcard_host)]


class CloudSection(Section):
    """An Azure environment."""

    title: Text = Field(description="The environment in words.")
    aliases: Annotated[list[Text], distinct()] = Field(default=[], description="What else people call it.")
    unsupported: dict[Slug, Text] = Field(
        default={}, description="Feature that is not to be had there to the document that says so, and how."
    )


class RoleSection(Section):
    """A site system role, or another place that speaks to the internet."""

    title: Text = Field(description="The role in words.")
    aliases: Annotated[list[Text], distinct()] = Field(default=[], description="What else people call it.")
    authenticated_proxy: SupportWord = Field(
        default=Support.UNSPECIFIED, description="Whether the documents support a proxy that wants a login."
    )
    proxy_note: Text | None = Field(default=None, description="How the role gets its proxy.")
    source: Sources = Field(default=[], description="The documents that it was read in.")


class ParameterSection(Section):
    """A name that the operator gives."""

    meaning: Text = Field(description="What it stands for, for the reader.")
    regex: Annotated[Text, AfterValidator(_regex)] | None = Field(
        default=None, description="What its value must match as a whole."
    )
    # Checked against the field above it.
    form: Annotated[Text | None, AfterValidator(_form)] = Field(
        default=None, validate_default=True, description="What the regular expression demands, in words, for messages."
    )
    values: Annotated[list[Text], distinct()] = Field(default=[], description="The closed set of its values, if any.")
    reads: Annotated[str, one_of("way to read it", ("first-label", "without-blanks"))] | None = Field(
        default=None, description="How it is read: the first label of a host name, or without blanks in lower case."
    )
    # Checked against the fields above it.
    default: Annotated[Text, AfterValidator(_default)] | None = Field(
        default=None, description="The value that it has when it is not given; may be a template of others."
    )
    source: Sources = Field(default=[], description="The documents that it was read in.")


class RepresentativeSection(Section):
    """A real host that stands for a wildcard."""

    host: Annotated[str, AfterValidator(_host)] = Field(description="Its name, in lower case.")
    schemes: Annotated[list[Scheme], distinct()] = Field(
        default=[], description="By which it is probed; empty: by those of the endpoint."
    )
    clouds: Annotated[list[CloudName], distinct()] = Field(
        default=[], description="Where it stands for the wildcard; empty: in every cloud."
    )
    source: Sources = Field(default=[], description="The documents that name it.")
    note: Text | None = Field(default=None, description="For the reader.")

    def representative(self) -> Representative:
        """The same as a value of the vocabulary."""
        return Representative(self.host, tuple(self.schemes), tuple(self.source), self.note, tuple(self.clouds))


class WildcardSection(Section):
    """Which hosts a wildcard has, or why none is named."""

    representatives: list[RepresentativeSection] = Field(default=[], description="Hosts below it.")
    stand_ins: list[Annotated[str, AfterValidator(_host)]] = Field(
        default=[], description="Hosts outside it that say something about it; not probed for it."
    )
    # Checked against the first field.
    none_found: Annotated[Text | None, AfterValidator(_hosts_or_why)] = Field(
        default=None, validate_default=True, description="Why no host is named."
    )

    def wildcard(self) -> Wildcard:
        """The same as a value of the vocabulary."""
        return Wildcard(
            tuple(one.representative() for one in self.representatives),
            tuple(self.stand_ins),
            self.none_found,
        )


class ForwarderSection(Section):
    """Where the redirects of a host lead to."""

    leads_to: Annotated[LeadsTo, NOT_EMPTY] = Field(description="Hosts, and *.domains, that no endpoint names.")
    source: Annotated[Sources, NOT_EMPTY] = Field(description="The documents that say so.")
    note: Text | None = Field(default=None, description="For the reader.")

    def forwarder(self) -> Forwarder:
        """The same as a value of the vocabulary."""
        return Forwarder(tuple(self.leads_to), tuple(self.source), self.note)


def _clouds(document: Document) -> dict[str, Cloud]:
    sections = document.validate(dict[Slug, CloudSection]) or {}
    return {slug: Cloud(slug, s.title, tuple(s.aliases), s.unsupported) for slug, s in sections.items()}


def _roles(document: Document, names: Names) -> dict[str, Role]:
    sections = document.validate(dict[Slug, RoleSection], context=names) or {}
    return {
        slug: Role(slug, s.title, s.authenticated_proxy, s.proxy_note, tuple(s.aliases)) for slug, s in sections.items()
    }


def _parameters(document: Document, names: Names) -> dict[str, Parameter]:
    sections = document.validate(dict[ParameterName, ParameterSection], context=names) or {}
    for name in sections:
        if name in _needed(name, sections):
            document.add_error((name, "default"), "the default leads back to itself; end the circle")
    return {
        name: Parameter(name, s.meaning, s.regex, s.default, tuple(s.values), s.form, s.reads)
        for name, s in sections.items()
    }


def _needed(name: str, sections: Mapping[str, ParameterSection]) -> set[str]:
    """The parameters that a default is made of, and theirs."""
    needed: set[str] = set()
    todo = [name]
    while todo:
        section = sections.get(todo.pop())
        new = set(parameters_of((section and section.default) or "")) - needed
        needed |= new
        todo += new
    return needed


def _wildcards(document: Document, names: Names) -> dict[str, Wildcard]:
    sections = document.validate(dict[WildcardHost, WildcardSection], context=names) or {}
    for pattern, section in sections.items():
        for i, representative in enumerate(section.representatives):
            if not matches_wildcard(pattern, representative.host):
                message = f"{representative.host} does not lie under {pattern}; list it under `stand_ins`"
                document.add_error((pattern, "representatives", i, "host"), message)
    return {pattern: section.wildcard() for pattern, section in sections.items()}


def _forwarders(document: Document, names: Names) -> dict[str, Forwarder]:
    sections = document.validate(dict[ForwarderHost, ForwarderSection], context=names) or {}
    return {host: section.forwarder() for host, section in sections.items()}
