"""JSON Schemas of the files that people write, from the models that read them: what an editor completes and checks.

A schema refuses nothing that the reader accepts. What it cannot refuse is what takes a second look: at another key, at
another file, at what a text means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from exporter.config.articles import ArticleSection
from exporter.config.authorities import AuthoritiesSection
from exporter.config.catalogue import (
    CloudSection,
    ForwarderHost,
    ForwarderSection,
    ParameterSection,
    RoleSection,
    WildcardHost,
    WildcardSection,
)
from exporter.config.fields import KNOWN, NOTHING, JsonSchema, ParameterName, Slug, Text
from exporter.config.fingerprints import FileSection
from exporter.config.groups import GroupSection
from exporter.config.settings import MainSection
from exporter.model.vocabulary import Catalogue, Parameter


class Kind(StrEnum):
    """What a file is: the configuration, a list of groups, or one of the catalogue's vocabulary."""

    EXPORTER = "exporter"
    GROUPS = "groups"
    CLOUDS = "clouds"
    ROLES = "roles"
    PARAMETERS = "parameters"
    WILDCARDS = "wildcards"
    FORWARDERS = "forwarders"
    SOURCES = "sources"
    FINGERPRINTS = "fingerprints"
    AUTHORITIES = "authorities"
    ARTICLES = "articles"


def schema_of(kind: Kind, catalogue: Catalogue) -> JsonSchema:
    """The JSON Schema of a kind of file, with the words that a catalogue knows."""
    made = TypeAdapter(_MODELS[kind]).json_schema(schema_generator=_Generator)
    named: dict[str, JsonSchema] = {}
    schema = cast("JsonSchema", _with_names(made, catalogue, named))
    definitions = schema.pop("$defs", {}) | named
    heading = {"$schema": GenerateJsonSchema.schema_dialect, "title": f"{kind}.yaml of configmgr-endpoint-exporter"}
    schema |= heading | {"type": [schema["type"], "null"]}  # an empty file says nothing
    return heading | schema | {"$defs": definitions}


_MODELS: Final[Mapping[Kind, Any]] = MappingProxyType(
    {
        Kind.EXPORTER: MainSection,
        Kind.GROUPS: list[GroupSection],
        Kind.CLOUDS: dict[Slug, CloudSection],
        Kind.ROLES: dict[Slug, RoleSection],
        Kind.PARAMETERS: dict[ParameterName, ParameterSection],
        Kind.WILDCARDS: dict[WildcardHost, WildcardSection],
        Kind.FORWARDERS: dict[ForwarderHost, ForwarderSection],
        Kind.SOURCES: dict[str, Text],
        Kind.FINGERPRINTS: FileSection,
        Kind.AUTHORITIES: AuthoritiesSection,
        Kind.ARTICLES: dict[Slug, ArticleSection],
    }
)


class _Generator(GenerateJsonSchema):
    """A key is its own title, and a mapping whose keys have a form has no others."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return made | {"additionalProperties": False} if "patternProperties" in made else made


# ---------------------------------------------------------------- what is known

_SLUG: Final[JsonSchema] = TypeAdapter(Slug).json_schema()
_TEXT: Final[JsonSchema] = TypeAdapter(Text).json_schema()
_VALUE: Final[JsonSchema] = {"type": "string", "pattern": "^[!-~]+$"}


def _with_names(value: object, catalogue: Catalogue, named: dict[str, JsonSchema]) -> object:
    """The same with a reference in the place of each `known`; what they refer to joins `named`."""
    if isinstance(value, list):
        return [_with_names(item, catalogue, named) for item in value]
    if not isinstance(value, dict):
        return value
    if KNOWN in value:
        name = value[KNOWN]
        named[name] = _NAMED[name](catalogue)
        return {"$ref": f"#/$defs/{name}"} | {key: value[key] for key in ("default", "description") if key in value}
    return {key: _with_names(item, catalogue, named) for key, item in value.items()}


def _features(catalogue: Catalogue) -> JsonSchema:
    shipped = sorted({group.feature for group in catalogue.groups})
    return {"anyOf": [{"enum": shipped}, _SLUG]}


def _parameters(catalogue: Catalogue) -> JsonSchema:
    known = {name: _parameter(parameter) for name, parameter in catalogue.parameters.items()}
    return {"type": "object", "properties": known, "additionalProperties": {"anyOf": [_VALUE, NOTHING]}}


def _parameter(parameter: Parameter) -> JsonSchema:
    value = dict(_VALUE)
    if parameter.regex:
        value["pattern"] = f"^(?:{parameter.regex})$"
    if parameter.values:
        value["enum"] = list(parameter.values)
    return {"anyOf": [value, NOTHING], "description": parameter.meaning}


_NAMED: Final[Mapping[str, Callable[[Catalogue], JsonSchema]]] = MappingProxyType(
    {
        "cloud": lambda catalogue: {"enum": list(catalogue.clouds)},
        "role": lambda catalogue: {"enum": list(catalogue.roles)},
        "feature": _features,
        "parameters": _parameters,
        "source": lambda _: _TEXT,  # any citation, as the operator's own groups may give
        "via": lambda catalogue: {
            "type": "object",
            "properties": dict.fromkeys(catalogue.roles, _SLUG),
            "additionalProperties": False,
        },
    }
)
