"""Microsoft's lists of its own addresses, Public IP Space and Service Tags: content -> ranges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, FailFast, Field

from exporter.config.fields import Text, found
from exporter.config.prefixes import prefix_of
from exporter.model.addresses import collapsed
from exporter.model.vocabulary import Prefix
from exporter.published.content import PUBLIC_IP_COLUMNS, Content, Json, Table, Unusable, shaped
from exporter.published.imported import Choice, Option, Ranges, among, printable

_MOST_REASONS: Final = 20


def read_public_ip_space(content: Content, _: Choice) -> Ranges:
    """All prefixes of the list. Raises Unusable."""
    if not isinstance(content, Table) or tuple(map(str.lower, content.columns)) != PUBLIC_IP_COLUMNS:
        raise Unusable("expected CSV with the columns Prefix and Type")
    return _united(((f"line {number}", cells[0]) for number, cells in content.rows), f"lines: {len(content.rows)}")


class Properties(BaseModel):
    """What a tag stands for."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    prefixes: Annotated[list[str], FailFast()] = Field(alias="addressPrefixes")


class Tag(BaseModel):
    """The addresses of a service, or of its part in a region."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    name: Text = Field(alias="id")
    properties: Properties


class ServiceTags(BaseModel):
    """The whole file."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    change: int = Field(alias="changeNumber")
    cloud: Text
    tags: Annotated[list[Tag], FailFast()] = Field(alias="values")


def read_service_tags(content: Content, choice: Choice) -> Ranges:
    """The prefixes of all tags, or of those whose ids are chosen. Raises Unusable."""
    if not isinstance(content, Json):
        raise Unusable("expected JSON, as the download of Service Tags is")
    file = shaped(ServiceTags, content.value)
    chosen = among({tag.name for tag in file.tags}, Option.ID, choice.ids)
    tags = [tag for tag in file.tags if not chosen or tag.name in chosen]
    places = {prefix: tag.name for tag in tags for prefix in tag.properties.prefixes}
    summary = f"cloud {printable(file.cloud)}, change number {file.change}, tags: {len(tags)}"
    return _united(((f"the tag {found(tag)}", prefix) for prefix, tag in places.items()), summary)


def _united(texts: Iterable[tuple[str, str]], summary: str) -> Ranges:
    """The prefixes that texts name, each with its place."""
    prefixes: list[Prefix] = []
    reasons: list[str] = []
    for place, text in texts:
        try:
            prefixes.append(prefix_of(text))
        except ValueError as error:
            reasons.append(f"{place}: {error}")
            if len(reasons) == _MOST_REASONS:
                break
    if reasons or not prefixes:
        raise Unusable(*reasons or ["it lists no prefix; download it anew"])
    return Ranges(collapsed(prefixes), summary)
