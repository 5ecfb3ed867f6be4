"""Read how proxies, filters and portals mark their pages: a YAML file -> Marks, or every mistake in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from exporter.config.documents import raise_errors, read
from exporter.config.expressions import Expression
from exporter.config.fields import (
    NOT_EMPTY,
    CheckedAs,
    Section,
    SourcesOnly,
    Text,
    distinct,
    member_of,
    within,
    written,
)
from exporter.config.groups import Sources
from exporter.model.fingerprints import Fingerprint, Kind, Marks


def load_marks(path: Path) -> Marks:
    """The marks in a file, in its order. Raises DocumentError with all mistakes."""
    document = read(path)
    found = document.validate(FileSection) or FileSection()
    known = SourcesOnly(found.sources)
    fingerprints: list[Fingerprint] = []
    for i, _ in enumerate(found.fingerprints):
        section = document.validate(FingerprintSection, ("fingerprints", i), context=known)
        if section and not section.has_evidence:
            document.add_error(
                ("fingerprints", i), "has no evidence; give `header`, `status`, `phrase`, `location` or `body`"
            )
        if section:
            fingerprints.append(section.fingerprint(found.sources))
    raise_errors([document])
    return Marks(tuple(fingerprints), frozenset(found.shared_suffixes))


def _compiled(text: str | None) -> re.Pattern[str] | None:
    return re.compile(text) if text else None


# ---------------------------------------------------------------- the schema

KindWord = Annotated[Kind, member_of("kind", Kind)]


class HeaderSection(Section):
    """A header, and what it holds."""

    name: Annotated[str, written(r"[A-Za-z0-9-]+", "the name of a header")] = Field(description="Its name.")
    value: Expression = Field(description="A regular expression that its value must match somewhere.")


class FingerprintSection(Section):
    """How a product marks its pages."""

    product: Text = Field(description="The product by name.")
    kind: KindWord = Field(description="What kind of page it is.")
    meaning: Text = Field(description="What the page says, in words.")
    header: HeaderSection | None = Field(default=None, description="A header that it sends.")
    status: Annotated[list[Annotated[int, within(100, 599)]], distinct()] = Field(
        default=[], description="The statuses that it answers with; empty: any."
    )
    phrase: Expression | None = Field(
        default=None, description="A regular expression that the words behind the status must match somewhere."
    )
    location: Expression | None = Field(
        default=None, description="A regular expression that the place it leads to must match somewhere."
    )
    body: Expression | None = Field(
        default=None, description="A regular expression that the page's begin must match somewhere."
    )
    source: Annotated[Sources, NOT_EMPTY] = Field(description="Keys of `sources`: where the mark was read.")

    @property
    def has_evidence(self) -> bool:
        """Whether there is anything to know a page by."""
        return any((self.header, self.status, self.phrase, self.location, self.body))

    def fingerprint(self, citations: dict[str, str]) -> Fingerprint:
        """The same as a value, with its sources spelled out."""
        return Fingerprint(
            product=self.product,
            kind=self.kind,
            meaning=self.meaning,
            header=(self.header.name.lower(), re.compile(self.header.value)) if self.header else None,
            statuses=frozenset(self.status),
            phrase=_compiled(self.phrase),
            location=_compiled(self.location),
            body=_compiled(self.body),
            source=tuple(citations[key] for key in self.source),
        )


SharedSuffix = Annotated[str, written(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,3}", "a suffix of two to four labels")]


class FileSection(Section):
    """How proxies, filters and portals mark their pages."""

    sources: dict[str, Text] = Field(default={}, description="Key to citation.")
    # Checked one by one, so that a mistake in one hides none in others.
    fingerprints: Annotated[list[Any], CheckedAs(list[FingerprintSection])] = Field(
        default=[], description="The first one that fits names the product."
    )
    shared_suffixes: Annotated[list[SharedSuffix], distinct()] = Field(
        default=[], description="Suffixes under which anybody may have a name."
    )
