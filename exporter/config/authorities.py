"""Read which authorities are known by name or by key: a YAML file -> Authorities, or every mistake in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from exporter.config.documents import Document, raise_errors, read
from exporter.config.expressions import Expression
from exporter.config.fields import NOT_EMPTY, CheckedAs, Section, SourcesOnly, Text, written
from exporter.config.groups import Sources
from exporter.model.authorities import Authorities, RequiredRoot

S = TypeVar("S", bound=Section)


def load_authorities(path: Path) -> Authorities:
    """The authorities in a file. Raises DocumentError with all mistakes."""
    document = read(path)
    found = document.validate(AuthoritiesSection) or AuthoritiesSection()
    known = SourcesOnly(found.sources)
    required = _entries(document, "required_roots", found.required_roots, RequiredRootSection, known)
    product = _entries(document, "product_issuers", found.product_issuers, ProductIssuerSection, known)
    public = _entries(document, "public_issuers", found.public_issuers, PublicIssuerSection, known)
    raise_errors([document])
    return Authorities(
        required_roots=tuple(RequiredRoot(root.name, root.sha1) for root in required),
        product_issuers=frozenset(issuer.name for issuer in product),
        product_keys=frozenset(issuer.key for issuer in product if issuer.key is not None),
        public_issuers=tuple(re.compile(issuer.name) for issuer in public),
    )


def _entries(document: Document, key: str, entries: list[Any], section: type[S], known: SourcesOnly) -> list[S]:
    checked = (document.validate(section, (key, i), context=known) for i, _ in enumerate(entries))
    return [entry for entry in checked if entry is not None]


# ---------------------------------------------------------------- the schema

Sha1 = Annotated[str, written(r"[0-9a-f]{40}", "a SHA-1 of 40 lower-case hexadecimal digits")]
Sha256 = Annotated[str, written(r"[0-9a-f]{64}", "a SHA-256 of 64 lower-case hexadecimal digits")]
Cited = Annotated[Sources, NOT_EMPTY]
_SOURCE = "Keys of `sources`: where it was read."


class RequiredRootSection(Section):
    """A root that the documents ask for by name."""

    name: Text = Field(description="Its name, as the documents give it.")
    sha1: Sha1 = Field(description="The SHA-1 of its certificate.")
    source: Cited = Field(description=_SOURCE)


class ProductIssuerSection(Section):
    """One of Microsoft's own authorities for Windows Update."""

    name: Text = Field(description="Its common name.")
    key: Sha256 | None = Field(default=None, description="The SHA-256 of a root's SubjectPublicKeyInfo.")
    source: Cited = Field(description=_SOURCE)


class PublicIssuerSection(Section):
    """Authorities below public roots."""

    name: Expression = Field(description="A regular expression that their whole common name must match.")
    source: Cited = Field(description=_SOURCE)


class AuthoritiesSection(Section):
    """Authorities that are known by name or by key."""

    sources: dict[str, Text] = Field(default={}, description="Key to citation.")
    # Checked one by one, so that a mistake in one hides none in others.
    required_roots: Annotated[list[Any], CheckedAs(list[RequiredRootSection])] = Field(
        default=[], description="Roots that must be trusted."
    )
    product_issuers: Annotated[list[Any], CheckedAs(list[ProductIssuerSection])] = Field(
        default=[], description="Microsoft's own authorities for Windows Update, on no public list."
    )
    public_issuers: Annotated[list[Any], CheckedAs(list[PublicIssuerSection])] = Field(
        default=[], description="Authorities below public roots, whose certificate a server may forget to send."
    )
