"""Test files of promtool, cut to what decides: it evaluates every rule of a file at every step of every case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

Rules = list[dict[str, Any]]


class _Loader(yaml.CSafeLoader):
    """Takes the values of a series, as `0x360`, for no number."""


_INT: Final = "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, shape) for tag, shape in found if tag != _INT]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?\d+$"), list("+-0123456789"))


def _read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one


def _write(path: Path, content: Any) -> Path:
    path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="utf-8")
    return path


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def _named(text: str, rules: Rules) -> set[str]:
    """The rules that a text names, and those that these name in turn."""
    found: set[str] = set()
    while new := {_name(rule) for rule in rules if _name(rule) in text} - found:
        found |= new
        text = "\n".join(str(rule) for rule in rules if _name(rule) in found)
    return found


def cut(path: Path, directory: Path) -> Iterator[Path]:
    """The same cases, those of each alert in a file of its own, with rules that say nothing about them left out."""
    tests = _read(path)
    groups = [group for name in tests["rule_files"] for group in _read(path.parent / name)["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    cases: dict[str, list[dict[str, Any]]] = {}
    for case in tests["tests"]:
        cases.setdefault(re.split(":", str(case.get("name")))[0], []).append(case)
    for number, some in enumerate(cases.values()):
        needed = _named(str(some), rules)
        kept = [{**group, "rules": [rule for rule in group["rules"] if _name(rule) in needed]} for group in groups]
        names = f"{path.stem}-{number}"
        _write(directory / f"{names}-rules.yaml", {"groups": [group for group in kept if group["rules"]]})
        yield _write(directory / f"{names}.yaml", {**tests, "rule_files": [f"{names}-rules.yaml"], "tests": some})
