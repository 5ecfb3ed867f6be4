"""Read what Microsoft publishes for machines, and write it as groups or as ranges that the configuration can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Final, TypeAlias

from exporter.published import environments, microsoft365, ranges
from exporter.published.comparison import Comparison, compared
from exporter.published.content import Content, Format, Unfit, content, recognised
from exporter.published.fetch import from_file, from_web
from exporter.published.taken import Choice, Endpoints, Ranges, Taken
from exporter.published.writing import Origin, written

__all__ = [
    "Choice",
    "Comparison",
    "Endpoints",
    "Format",
    "Origin",
    "Ranges",
    "Taken",
    "Unfit",
    "compared",
    "from_file",
    "from_web",
    "take",
    "written",
]

Reader: TypeAlias = Callable[[Content, Choice], Taken]

# Each format's reader, and the fields of a Choice that it heeds.
READERS: Final[Mapping[Format, tuple[Reader, frozenset[str]]]] = MappingProxyType(
    {
        Format.MICROSOFT_365: (microsoft365.read, frozenset({"service_areas", "ids", "roles", "clouds"})),
        Format.AZURE_ENVIRONMENTS: (environments.read, frozenset({"roles", "clouds"})),
        Format.PUBLIC_IP_SPACE: (ranges.read_public_ip_space, frozenset()),
        Format.SERVICE_TAGS: (ranges.read_service_tags, frozenset({"ids"})),
    }
)


def take(data: bytes, choice: Choice, form: Format = Format.AUTO) -> Taken:
    """What a source holds. Total: raises Unfit for whatever cannot be taken."""
    found = content(data)
    if form is Format.AUTO:
        form = recognised(found)
    read, heeded = READERS[form]
    for field in fields(choice):
        if getattr(choice, field.name) and field.name not in heeded:
            option = f"--{field.name.removesuffix('s').replace('_', '-')}"
            raise Unfit(f"{option} says nothing about {form}; leave it out")
    return read(found, choice)
