"""Authorities that are known by name or by key."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequiredRoot:
    """A root that the documents ask for by name."""

    name: str
    sha1: str  # of the certificate, in lower-case hexadecimal


@dataclass(frozen=True, slots=True)
class Authorities:
    """What is known of authorities beside the public roots; hashable, as facts are remembered by it."""

    required_roots: tuple[RequiredRoot, ...] = ()
    product_issuers: frozenset[str] = frozenset()  # Microsoft's own for Windows Update, by their common names
    product_keys: frozenset[str] = frozenset()  # of roots among them: SHA-256 of SubjectPublicKeyInfo
    public_issuers: tuple[re.Pattern[str], ...] = ()  # below public roots; each matches a whole common name

    def is_public(self, name: str) -> bool:
        """Whether an issuer of this common name stands below a public root."""
        return any(issuer.fullmatch(name) for issuer in self.public_issuers)
