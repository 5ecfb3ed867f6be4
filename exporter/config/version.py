"""Where the shipped catalogue is, and of which day: its version."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path


def shipped() -> Path:
    """The folder of the shipped catalogue: within the package where it is installed, else beside it."""
    package = Path(str(resources.files("exporter")))
    installed = package / "data" / "catalogue"
    return installed if installed.is_dir() else package.parent / "config" / "catalogue"


@cache
def as_of() -> date:
    """The day of the newest document that the shipped catalogue was read from: its version."""
    sources = (shipped() / "vocabulary" / "sources.yaml").read_text(encoding="utf-8")
    return date.fromisoformat(max(re.findall(r"20\d\d-\d\d-\d\d", sources)))
