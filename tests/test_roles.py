"""The example configuration of each role: true to the catalogue, and understood by the commands that its page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config import catalogue
from exporter.config import settings as config
from exporter.model.patterns import parameters_of
from exporter.model.vocabulary import Catalogue, Status
from exporter.plan.requirements import requirements
from tests.running import ROOT
from tests.stack import with_examples

EXAMPLES: Final = {path.stem: path for path in sorted((ROOT / "config/roles").glob("*.yaml"))}


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return catalogue.load()


def taken_by(role: str, shipped: Catalogue) -> set[str]:
    """Every parameter that an endpoint of the role takes, directly or by the default of another."""
    endpoints = [endpoint for group in shipped.groups if role in group.roles for endpoint in group.endpoints]
    names = {name for endpoint in endpoints for probe in endpoint.probe for name in parameters_of(probe)}
    names |= {name for endpoint in endpoints for name in endpoint.only_for}
    defaults = (shipped.parameters[name].default or "" for name in names)
    return names.union(*map(parameters_of, defaults))


def selected(path: Path, shipped: Catalogue) -> set[str]:
    """The roles that a configuration selects something for."""
    settings = config.load(path, shipped)
    found = requirements(shipped, (*shipped.groups, *settings.groups), settings.site)
    return {needed.use.consumer.role for needed in found}


def test_there_is_an_example_for_each_role_and_its_page_lists_them(shipped: Catalogue) -> None:
    page = (ROOT / "config/roles/README.md").read_text(encoding="utf-8")
    assert set(EXAMPLES) == set(shipped.roles)
    assert re.findall(r"^\| \[`(.*?)\.yaml`\]\(\1\.yaml\)", page, re.MULTILINE) == list(shipped.roles)


@pytest.mark.parametrize("role", EXAMPLES)
def test_an_example_selects_its_role_alone_also_with_all_that_is_switched_off(
    role: str, shipped: Catalogue, tmp_path: Path
) -> None:
    switched_on = tmp_path / "exporter.yaml"
    (tmp_path / "password").write_text("secret\n")
    text = with_examples(EXAMPLES[role].read_text(encoding="utf-8")).replace("/run/secrets/proxy", "password")
    authority = ROOT / "tests/data/good_config/files/ca.pem"
    switched_on.write_text(text.replace("corp-root.pem", str(authority)), encoding="utf-8")
    assert text != EXAMPLES[role].read_text(encoding="utf-8")
    assert selected(EXAMPLES[role], shipped) == selected(switched_on, shipped) == {role}
    assert config.load(switched_on, shipped).via == {role: "corporate"}


@pytest.mark.parametrize("role", EXAMPLES)
def test_an_example_needs_no_status_that_it_does_not_name(role: str, shipped: Catalogue) -> None:
    active = {
        group.feature
        for group in shipped.groups
        if role in group.roles and any(endpoint.status is Status.ACTIVE for endpoint in group.endpoints)
    }
    assert bool(active) != (Status.DEPRECATED in config.load(EXAMPLES[role], shipped).site.statuses)


@pytest.mark.parametrize("role", EXAMPLES)
def test_an_example_names_every_parameter_that_its_role_takes_and_no_other(role: str, shipped: Catalogue) -> None:
    named = {
        name for name in re.findall(r"\w+", EXAMPLES[role].read_text(encoding="utf-8")) if name in shipped.parameters
    }
    assert named == taken_by(role, shipped)


@pytest.mark.parametrize("role", EXAMPLES)
@pytest.mark.parametrize("command", ["endpoints", "allowlist"])
def test_the_commands_of_the_page_take_an_example(command: str, role: str) -> None:
    done = CliRunner().invoke(app, [command, "--config.file", str(EXAMPLES[role])])
    assert done.exit_code == 0, done.output
    assert role in done.output
