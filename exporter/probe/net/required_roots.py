"""The roots that the documents ask for by name, and whether they are trusted here. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from exporter.model.authorities import RequiredRoot


def required_roots_present(required: Iterable[RequiredRoot], trusted: Iterable[bytes]) -> dict[str, bool]:
    """Whether each root that is required is among the certificates (DER) that are trusted."""
    present = {hashlib.sha1(der, usedforsecurity=False).hexdigest() for der in trusted}
    return {root.name: root.sha1 in present for root in required}
