"""Which articles the catalogue follows, and what of them it leaves out: a YAML file -> articles, or all mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from exporter.config.catalogue import load, shipped
from exporter.config.documents import raise_errors, read, read_all
from exporter.config.fields import (
    NOT_EMPTY,
    CloudName,
    Link,
    Named,
    RoleName,
    Section,
    Slug,
    Text,
    distinct,
    expected,
    found,
    named_in_context,
    written,
)
from exporter.config.groups import Names, Port
from exporter.model.articles import Earlier, Exempt, Followed, FollowedSection, Row
from exporter.model.vocabulary import Catalogue

FILE: Final = "vocabulary/articles.yaml"
ARROW: Final = " > "  # between headings


def load_articles(directory: Path | None = None) -> tuple[tuple[Followed, ...], tuple[Row, ...]]:
    """The articles that a catalogue follows, the shipped one or that of a folder, and its rows.

    Raises DocumentError with all mistakes.
    """
    directory = directory or shipped()
    catalogue = load(directory)
    document = read(directory / FILE)
    features = {group.feature for group in catalogue.groups}
    names = Names(catalogue.roles, catalogue.clouds, catalogue.sources, features=features)
    sections = document.validate(dict[Slug, ArticleSection], context=names) or {}
    for name, section in sections.items():
        for source in section.revisions:
            if source not in catalogue.sources:
                document.add_error((name, "revisions", source), f"{found(source)}: no key of sources.yaml")
    raise_errors([document])
    return tuple(section.followed(name) for name, section in sections.items()), tuple(_rows(directory, catalogue))


def _rows(directory: Path, catalogue: Catalogue) -> Iterator[Row]:
    documents, unread = read_all(sorted(directory.glob("*.yaml")))
    raise_errors(documents, unread)
    places = [(document, i) for document in documents for i, _ in enumerate(document.validate(list[object]) or ())]
    for group, (document, i) in zip(catalogue.groups, places, strict=True):
        for j, endpoint in enumerate(group.endpoints):
            line = document.line((i, "endpoints", j, "pattern"))
            yield Row(endpoint, group.feature, group.roles, group.clouds, _shown(document.file), line)


def _shown(file: str) -> str:
    """The path of a file as a person in the project's folder writes it."""
    path = Path(file)
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


# ---------------------------------------------------------------- the schema


def _way(headings: str) -> str:
    if not all(part.strip() for part in headings.split(ARROW)):
        raise ValueError(expected("headings with `>` between them", headings))
    return headings


Heading = Annotated[Text, AfterValidator(_way)]
Day = Annotated[str, written(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", 'a day as "2026-06-08"')]
Placeholder = Annotated[str, written(r"<[^<>]+>", 'a placeholder as "<name>"')]
FeatureName = Annotated[str, named_in_context(Named.FEATURE)]


class EarlierSection(Section):
    """What a section asked for in earlier revisions."""

    ports: Annotated[list[Port], NOT_EMPTY, distinct()] = Field(description="The ports that it asked for.")
    until: Day = Field(description="The day of the first revision without them.")
    why: Text = Field(description="What stands behind that, and where it was read.")


class SectionSection(Section):
    """A section of an article, under all the headings that it has or had."""

    headings: Annotated[list[Heading], NOT_EMPTY, distinct()] = Field(
        description="Its heading; `A > B` for a B below A, where the last alone would mean several."
    )
    features: Annotated[list[FeatureName], distinct()] = Field(default=[], description="Whose rows stand for it.")
    roles: Annotated[list[RoleName], distinct()] = Field(default=[], description="For whom it is; empty: for any.")
    ports: Annotated[list[Port], distinct()] = Field(
        default=[], description="Of what it lists without a scheme or a port; empty: not known."
    )
    earlier: EarlierSection | None = Field(default=None, description="The ports of earlier revisions.")
    repeats: bool = Field(default=False, description="Whether it repeats what other sections list.")
    left_out: Text | None = Field(default=None, description="Why nothing of it is in the catalogue.")

    def section(self) -> FollowedSection:
        """The same as a value."""
        earlier = self.earlier
        return FollowedSection(
            tuple(tuple(part.strip().lower() for part in way.split(ARROW)) for way in self.headings),
            tuple(self.features),
            tuple(self.roles),
            frozenset(self.ports),
            Earlier(frozenset(earlier.ports), earlier.until, earlier.why) if earlier else None,
            self.repeats,
            self.left_out,
        )


class ExemptSection(Section):
    """What an article and the catalogue do not have alike."""

    hosts: Annotated[list[Text], NOT_EMPTY, distinct()] = Field(
        description="As they are printed, or wildcards for several of them."
    )
    why: Text = Field(description="Why.")

    def exempt(self) -> Exempt:
        """The same as a value."""
        return Exempt(tuple(map(str.lower, self.hosts)), self.why)


class ArticleSection(Section):
    """An article that the catalogue follows."""

    titles: Annotated[list[Text], NOT_EMPTY, distinct()] = Field(
        description="By which it is recognised: today's, and those that it had."
    )
    page: Link = Field(description="Where a person reads it.")
    markdown: Annotated[str, written(r"[^/\s]+/[^/\s]+/\S+", "OWNER/REPOSITORY/PATH")] = Field(
        description="Where its Markdown is, in a repository of the documentation."
    )
    cloud: CloudName | None = Field(default=None, description="For which all of it is.")
    revisions: Annotated[dict[str, Day], NOT_EMPTY] = Field(
        description="Keys of sources.yaml that are revisions of it, or files that it includes, and their days."
    )
    renamed: dict[Placeholder, Placeholder] = Field(
        default={}, description="Placeholders of earlier revisions, and what stands for them today."
    )
    sections: Annotated[list[SectionSection], NOT_EMPTY] = Field(description="Its sections.")
    left_out: list[ExemptSection] = Field(default=[], description="What of it the catalogue leaves out.")
    on_purpose: list[ExemptSection] = Field(
        default=[], description="What the catalogue has with other ports, or though no line of the article prints it."
    )

    def followed(self, name: str) -> Followed:
        """The same as a value."""
        return Followed(
            name,
            tuple(self.titles),
            self.page,
            self.markdown,
            dict(self.revisions),
            tuple(section.section() for section in self.sections),
            tuple(exempt.exempt() for exempt in self.left_out),
            tuple(exempt.exempt() for exempt in self.on_purpose),
            {earlier.lower(): today.lower() for earlier, today in self.renamed.items()},
            self.cloud,
        )
