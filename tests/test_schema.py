"""The JSON Schemas by which editors help: those of the models, and never stricter than the reader."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exporter.config import catalogue as catalogues
from exporter.config.documents import DocumentError
from exporter.config.json_schema import Kind, schema_of
from exporter.config.settings import load, parse
from exporter.config.yaml_tree import NotYaml, Tree
from exporter.model.vocabulary import Catalogue, Site
from tests.strategies import ROLES, proxy_maps, sites, vias
from tests.strategies import catalogues as drawn_catalogues

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "config" / "schema"
SHIPPED: Final = ROOT / "config" / "catalogue"
GOOD, BAD = ROOT / "tests/data/good_config", ROOT / "tests/data/bad_config"
MODELINE: Final = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


@cache
def committed(kind: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8")))


def refused(value: object, validator: Draft202012Validator) -> list[str]:
    return [error.message for error in validator.iter_errors(value)]


def value_of(file: Path) -> object:
    return Tree(file.read_text(encoding="utf-8")).value


def kind_of(file: Path) -> str:
    """What a file of a good configuration is."""
    if file.parent.name == "vocabulary":
        return file.stem
    return "groups" if file.parent.name in {"catalogue", "files"} else "exporter"


# ---------------------------------------------------------------- the files


@pytest.mark.parametrize("kind", Kind)
def test_the_committed_schemas_are_those_of_the_models(kind: Kind) -> None:
    made = schema_of(kind, catalogues.load())
    assert committed(kind).schema == made, "`make schema` writes them anew"
    Draft202012Validator.check_schema(made)


def test_there_is_a_schema_for_each_kind_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{kind}.schema.json" for kind in Kind}


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping within."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


@pytest.mark.parametrize("kind", Kind)
def test_every_key_is_described_and_no_other_key_is_allowed(kind: Kind) -> None:
    made = schema_of(kind, catalogues.load())
    sections = [found for found in objects(made) if found.get("title") and "properties" in found]
    keys = {(s["title"], key): told for s in sections for key, told in s["properties"].items()}
    assert not [key for key, told in keys.items() if "description" not in told and "$ref" not in json.dumps(told)]
    assert all(section["additionalProperties"] is False for section in sections)


def test_what_is_known_can_be_completed() -> None:
    catalogue = catalogues.load()
    words = schema_of(Kind.EXPORTER, catalogue)["$defs"]
    assert words["role"]["enum"] == list(catalogue.roles)
    assert words["cloud"]["enum"] == list(catalogue.clouds)
    assert words["feature"]["anyOf"][0]["enum"] == sorted({group.feature for group in catalogue.groups})
    assert list(words["parameters"]["properties"]) == list(catalogue.parameters)
    assert words["Status"]["enum"] == ["active", "deprecated", "retired"]


# ---------------------------------------------------------------- what is good


@pytest.mark.parametrize(
    "file",
    [ROOT / "config/exporter.yaml", *SHIPPED.rglob("*.yaml"), *GOOD.rglob("*.yaml")],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_a_good_file_is_accepted(file: Path) -> None:
    assert refused(value_of(file), committed(kind_of(file))) == []


@pytest.mark.parametrize("file", [ROOT / "config/exporter.yaml", *SHIPPED.rglob("*.yaml")], ids=lambda file: file.stem)
def test_a_shipped_file_names_its_schema_for_editors(file: Path) -> None:
    named = MODELINE.match(file.read_text(encoding="utf-8"))
    assert named
    assert (file.parent / named[1]).resolve() == FOLDER / f"{kind_of(file)}.schema.json"


def accepted(document: object, catalogue: Catalogue) -> bool:
    """Whether the reader takes it."""
    try:
        parse(yaml.safe_dump(document), GOOD / "exporter.yaml", catalogue)
    except DocumentError:
        return False
    return True


@given(drawn_catalogues(), sites, proxy_maps, vias)
def test_what_the_reader_accepts_of_a_site_its_schema_accepts(
    catalogue: Catalogue, site: Site, proxies: dict[str, Any], via: dict[str, str]
) -> None:
    document = {
        "site": {
            "clouds": list(site.clouds),
            "roles": list(site.roles),
            "features": [f for f in site.features if f in {group.feature for group in catalogue.groups}],
            "statuses": list(map(str, site.statuses)),
            "version": site.version,
            "name": site.name,
            "parameters": dict(site.parameters),
        },
        "proxies": {
            name: {"url": proxy.url, "no_proxy": [entry for entry in proxy.no_proxy if entry != "*"]}
            for name, proxy in proxies.items()
        },
        "via": via,
    }
    assert accepted(document, catalogue)
    assert refused(document, Draft202012Validator(schema_of(Kind.EXPORTER, catalogue))) == []


EVERYTHING: Final[Any] = value_of(GOOD / "everything.yaml")
SMALL: Final = catalogues.load(GOOD / "catalogue")
OF_SMALL: Final = Draft202012Validator(schema_of(Kind.EXPORTER, SMALL))
ANYTHING: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 700),
    st.floats(0, 9),
    st.text(max_size=4),
    st.sampled_from(
        ["500ms", "9w", "0s", "http", "HTTPS://a.example/", "a.example", "/x", "2309", "unsupported", *ROLES]
    ),
    st.sampled_from(["http://p:1", "HTTP://p:1", "http://[::1]:1", "a:b", "*.a.example", "<x>.a", "443-444", ".a"]),
    st.just([]),
    st.just({}),
)


def places(value: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything within."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*way, step)
        yield from places(inner, (*way, step))


PLACES: Final = tuple(places(EVERYTHING))


@settings(max_examples=120)
@given(st.sampled_from(PLACES), ANYTHING, st.sampled_from(["exchanged", "in a list", "left out"]))
def test_the_schema_refuses_nothing_that_the_reader_accepts(way: tuple[Any, ...], value: object, done: str) -> None:
    document = copy.deepcopy(EVERYTHING)
    around = document
    for step in way[:-1]:
        around = around[step]
    if done == "left out":
        del around[way[-1]]
    else:
        around[way[-1]] = [value] if done == "in a list" else value
    if accepted(document, SMALL):
        assert refused(Tree(yaml.safe_dump(document)).value, OF_SMALL) == []


# ---------------------------------------------------------------- what is bad

# What takes a second look: only the reader sees it.
ANOTHER_FILE: Final = "what another file holds, or that it is missing"
ANOTHER_KEY: Final = "what fits, but not together with another key or entry"
ANOTHER_NAME: Final = "a name that the operator gives elsewhere in the file, or does not"
MEANING: Final = "what a text means, or how it is written in YAML"
ONLY_THE_READER: Final = {
    "ca-file-backslashes": MEANING,
    "ca-file-folder": ANOTHER_FILE,
    "ca-file-missing": ANOTHER_FILE,
    "ca-file-not-pem": ANOTHER_FILE,
    "ca-file-without-certificate": ANOTHER_FILE,
    "control-character-escaped": MEANING,
    "duplicate-keys": MEANING,
    "features-unknown": ANOTHER_KEY,
    "group-contradiction": ANOTHER_KEY,
    "group-file-missing": ANOTHER_FILE,
    "group-file-with-mistakes": ANOTHER_FILE,
    "group-probe-outside-its-wildcard": ANOTHER_KEY,
    "group-probe-twice": MEANING,
    "key-not-text": MEANING,
    "probe-attempts-outlast-the-interval": ANOTHER_KEY,
    "probe-interval-shorter-than-the-default-attempts": ANOTHER_KEY,
    "probe-timeout-longer-than-the-default-interval": ANOTHER_KEY,
    "probe-too-long": MEANING,
    "proxy-host-beyond-ascii": MEANING,
    "proxy-password-file-alone": ANOTHER_KEY,
    "proxy-password-files": ANOTHER_FILE,
    "proxy-password-for-the-path": ANOTHER_FILE,
    "proxy-username-alone": ANOTHER_KEY,
    "site-name-two-lines": MEANING,
    "site-parameters-unknown": ANOTHER_NAME,
    "via-direct": ANOTHER_NAME,
    "via-without-proxies": ANOTHER_NAME,
    "yaml-merge-key": MEANING,
    "yaml-path": ANOTHER_FILE,
    "yaml-tag": MEANING,
}


def test_a_bad_file_is_refused_unless_it_takes_a_second_look() -> None:
    values: dict[str, object] = {}
    for file in BAD.glob("*.yaml"):
        try:
            values[file.stem] = value_of(file)
        except (NotYaml, UnicodeDecodeError):
            continue  # an editor does not get as far as the schema
    unseen = {name for name, value in values.items() if not refused(value, committed("exporter"))}
    assert unseen == ONLY_THE_READER.keys()
    assert len(values) - len(unseen) > len(unseen)


def test_what_only_the_reader_refuses_it_does_refuse() -> None:
    for name in ONLY_THE_READER:
        with pytest.raises(DocumentError):
            load(BAD / f"{name}.yaml", SMALL)
