"""What else people call roles, clouds and features: name -> slug."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Cloud, Role

FEATURE_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cmg": "cloud-services",
        "cloudmanagementgateway": "cloud-services",
        "do": "delivery-optimization",
        "intune": "co-management",
        "comanagement": "co-management",
        "wsus": "software-updates",
        "windowsupdate": "software-updates",
        "windowsupdates": "software-updates",
        "office": "m365-apps",
        "microsoft365apps": "m365-apps",
    }
)


def aliases(known: Mapping[str, Role] | Mapping[str, Cloud]) -> Mapping[str, str]:
    """What people call roles or clouds, as `plain` writes it, to their slugs."""
    return {plain(alias): one.slug for one in known.values() for alias in one.aliases}


def plain(name: str) -> str:
    """A name as it compares: in lower case, without blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name.lower())
