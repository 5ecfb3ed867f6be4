"""The roots that the documents ask for by name, and whether they are trusted here. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

# Roots that Configuration Manager's documents ask for by name, by the SHA-1 that they give. Baltimore's ended on
# 2025-05-12: old documents name it, and where it is missing nothing suffers any more. Source: KB 3187516 and
# "Connectivity issues when DigiCert Global Root G2 isn't installed".
ANCHORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DigiCert Global Root G2": "df3c24f9bfd666761b268073fe06d1cc8d4f82a4",
        "Baltimore CyberTrust Root": "d4de20d05e66fc53fe1a50882c78db2852cae474",
    }
)


def required_roots_present(roots: Iterable[bytes]) -> dict[str, bool]:
    """Whether each of ANCHORS is among these trusted certificates (DER)."""
    present = {hashlib.sha1(der, usedforsecurity=False).hexdigest() for der in roots}
    return {name: sha1 in present for name, sha1 in ANCHORS.items()}
