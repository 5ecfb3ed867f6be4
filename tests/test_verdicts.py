"""What a check comes to as a whole: its exit status, what selects nothing, and numbers that agree everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest
import structlog
from structlog.testing import capture_logs
from typer.testing import CliRunner

from exporter.cli import app
from exporter.cli.options import BAD_INPUT
from exporter.config import catalogue
from exporter.model.vocabulary import NO_PATTERN, Catalogue, Endpoint, Group, Result, Site, Snapshot, Status, Verdict
from exporter.plan.checks import plan
from exporter.plan.emptiness import why_nothing
from exporter.plan.requirements import requirements
from exporter.plan.selection import SelectionError
from exporter.report import check_json, check_markdown, nothing_to_check
from exporter.report.findings import headline
from exporter.results.store import ResultStore
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.web.pages import status, status_page
from exporter.web.routes import create_app
from tests.junit_schema import violations
from tests.servers import serving
from tests.servers import status as answering

NOTHING: Final = "tenant-attach is needed by service-connection-point, not by distribution-point"
EMPTY: Final = "site: {roles: [distribution-point], features: [tenant-attach]}\n"
FORMS: Final = ("table", "json", "junit", "markdown", "prometheus")


def run(*call: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(call))
    refused = (BAD_INPUT, str(done.exception)) if isinstance(done.exception, SelectionError) else None
    code, said = refused or (done.exit_code, done.stderr)
    return code, " ".join(done.stdout.split()), " ".join(said.split())


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(answering(200)) as server:
        yield server.port


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return catalogue.load()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "exporter.yaml"


def own(port: int, *endpoints: str, feature: str = "portal") -> str:
    """A site of one feature, up where its endpoint is on the port."""
    listed = ", ".join((f"{{pattern: 'http://127.0.0.1:{port}/'}}", *endpoints))
    return (
        f"site: {{features: [{feature}], roles: [client]}}\n"
        "probe: {attempts: 1, timeout: 2s}\n"
        f"groups: [{{feature: {feature}, roles: [client], endpoints: [{listed}]}}]\n"
    )


TEMPLATE: Final = "{pattern: '<name>.blob.core.windows.net', probe: ['https://{cloud_service_name}.blob.example/']}"
DOWN: Final = "{pattern: 'http://127.0.0.1:1/'}"
NO_HOST: Final = "{pattern: '*.portal.example'}"


# ---------------------------------------------------------------- exit statuses


@pytest.mark.parametrize(
    ("endpoints", "verdict", "exits", "strictly"),
    [
        ((), Verdict.READY, 0, 0),
        ((NO_HOST,), Verdict.READY, 0, 0),
        ((TEMPLATE,), Verdict.INCOMPLETE, 0, 1),
        ((TEMPLATE, DOWN), Verdict.NOT_READY, 1, 1),
    ],
)
def test_each_verdict_has_its_exit_status(
    endpoints: tuple[str, ...], verdict: Verdict, exits: int, strictly: int, port: int, config: Path
) -> None:
    config.write_text(own(port, *endpoints))
    code, said, _ = run("check", "--config.file", str(config), "--format", "json")
    assert (json.loads(said)["verdict"], json.loads(said)["ready"], code) == (verdict, verdict.ready, exits)
    code, said, _ = run("check", "--config.file", str(config), "--strict")
    assert (f" {verdict.words.upper()}: " in said, code) == (True, strictly)


def test_what_is_incomplete_says_how_much_and_which_keys_to_set(port: int, config: Path) -> None:
    config.write_text(own(port, TEMPLATE, NO_HOST))
    _, said, _ = run("check", "--config.file", str(config))
    assert said.endswith(
        "INCOMPLETE: 0 of 1 feature by role ready, 1 incomplete; 0 of 1 target down; 2 of 3 endpoints not probed; "
        "set site.parameters.cloud_service_name to check 1 more endpoint"
    )


def test_a_cloud_that_lacks_features_makes_nothing_incomplete(shipped: Catalogue) -> None:
    needed = requirements(
        shipped,
        shipped.groups,
        Site(("azure-china",), ("console", "service-connection-point"), ("azure-services", "console-feedback")),
    )
    work = plan([need for need in needed if need.targets or need.use.pattern == NO_PATTERN], {}, {})
    store = ResultStore(work)
    for check in work.checks:
        store.record(Result(check.key, 0.0))
    assert {need.use.consumer.feature for need in work.unprobed} == {"azure-services"}
    assert headline(store.snapshot()).startswith("READY: 1 of 2 features by role ready, 1 not supported;")


def test_a_feature_without_any_target_makes_the_whole_incomplete(port: int, config: Path) -> None:
    text = own(port).replace("features: [portal]", "features: [portal, other]")
    config.write_text(f"{text[:-2]}, {{feature: other, roles: [client], endpoints: [{NO_HOST}]}}]\n")
    code, said, _ = run("check", "--config.file", str(config))
    assert "1 of 2 features by role ready, 1 incomplete" in said
    assert said.endswith(
        "other: client (azure-public): no document names a host to probe; give `probe` URLs in a group of your own"
    )
    assert code == 0


# ---------------------------------------------------------------- nothing to check


@pytest.mark.parametrize("form", FORMS)
def test_a_check_of_nothing_is_no_success_in_any_form(form: str) -> None:
    code, said, _ = run("check", "--role", "distribution-point", "--feature", "tenant-attach", "--format", form)
    assert code == 2
    assert (NOTHING in said) is (form != "prometheus")
    assert ('verdict="nothing_to_check"' in said) is (form == "prometheus")


def test_a_check_of_nothing_is_no_empty_green_suite() -> None:
    call = ["check", "--role", "distribution-point", "--feature", "tenant-attach", "--format", "junit"]
    done = CliRunner().invoke(app, call)
    assert violations(done.stdout) == []
    assert 'tests="1" failures="0" errors="1"' in done.stdout


@pytest.mark.parametrize("call", ["endpoints", "endpoints --format json", "allowlist", "allowlist --format pac"])
def test_a_list_of_nothing_is_refused_and_says_why(call: str) -> None:
    selection = ("--role", "distribution-point", "--feature", "tenant-attach")
    assert run(*call.split(), *selection) == (2, "", f"nothing to check: {NOTHING}")


def test_no_allow_list_is_complete_for_nothing(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opened.write_text("go.microsoft.com\n")
    call = ("check", "--against", str(opened), "--role", "distribution-point", "--feature", "tenant-attach")
    assert run(*call) == (2, "", f"nothing to check: {NOTHING}")


def test_validate_warns_of_a_configuration_that_selects_nothing(config: Path) -> None:
    config.write_text(EMPTY)
    code, said, warned = run("validate", "--config.file", str(config))
    assert (code, said) == (0, f"{config}: ok, 0 features by role, 0 endpoints, 0 targets")
    assert warned.endswith(f"{config}: warning: nothing to check: {NOTHING}")


PORTAL: Final = Group(
    "portal", roles=("client",), clouds=("azure-public",), endpoints=(Endpoint("portal.example"),), own=True
)
DISTRIBUTION: Final = Site(roles=("distribution-point",))


@pytest.mark.parametrize(
    ("site", "why"),
    [
        (replace(DISTRIBUTION, features=("tenant-attach",)), NOTHING),
        (
            replace(DISTRIBUTION, features=("tenant-attach", "management-point-entra")),
            f"{NOTHING}; management-point-entra is needed by management-point, not by distribution-point",
        ),
        (
            Site(features=("tenant-attach",), statuses=(Status.RETIRED,)),
            "tenant-attach is active, which `site.statuses` does not name",
        ),
        (
            Site(features=("management-point-entra",), version="2509"),
            "management-point-entra is not for version 2509 of Configuration Manager",
        ),
        (
            Site(features=("portal",), clouds=("azure-china",)),
            "portal is for azure-public, not for azure-china",
        ),
        (
            replace(DISTRIBUTION, statuses=(Status.RETIRED,)),
            "everything that is documented for distribution-point is active, which `site.statuses` does not name",
        ),
        (
            Site(features=("portal",), roles=("console",), clouds=("azure-china",)),
            "portal is needed by nothing under these roles, clouds, statuses and version together",
        ),
        (
            Site(features=("cloud-services",), roles=("cmg-connection-point",)),
            "set site.parameters.azure_region, site.parameters.cloud_service_name to check 4 more endpoints",
        ),
        (Site(features=("tenant-attach",), clouds=("azure-china",)), "tenant-attach: not supported in azure-china"),
    ],
)
def test_a_selection_of_nothing_says_what_selects_nothing(site: Site, why: str, shipped: Catalogue) -> None:
    groups = (*shipped.groups, PORTAL)
    needed = requirements(shipped, groups, site)
    work = replace(plan(needed, {}, {}), why_nothing="" if needed else why_nothing(shipped, groups, site))
    assert nothing_to_check(work) == f"nothing to check: {why}"
    assert headline(ResultStore(work).snapshot()) == f"NOTHING TO CHECK: {why}"


def test_a_reload_that_leaves_nothing_is_said_in_the_log_and_on_the_page(config: Path) -> None:
    config.write_text("site: {roles: [console]}\n")
    deployment = deploy(Source(config))
    exporter = Exporter(Source(config), deployment, network_of(deployment))

    config.write_text(EMPTY)

    async def reloaded() -> str:
        async with anyio.create_task_group() as group:
            exporter.start(group)
            await exporter.reload()
            group.cancel_scope.cancel()
        transport = httpx.ASGITransport(create_app(exporter))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            return (await client.get("/")).text

    structlog.reset_defaults()
    with capture_logs() as lines:
        page = anyio.run(reloaded)
    assert {"event": f"nothing to check: {NOTHING}", "log_level": "warning"} in lines
    assert re.search(r"<title>\S+ Nothing to check", page)
    assert f">{NOTHING[0].upper()}{NOTHING[1:]}</p>" in page


# ---------------------------------------------------------------- numbers


def of_plan(snapshot: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check_json(snapshot))["counts"]
    return found


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="default"),
        pytest.param("site: {roles: [service-connection-point]}", id="one-role"),
        pytest.param("site: {clouds: [azure-public, azure-us-government]}", id="two-clouds"),
        pytest.param(own(1, TEMPLATE, NO_HOST), id="own-group"),
    ],
)
def test_every_place_counts_the_same(text: str, config: Path) -> None:
    config.write_text(text or "{}")
    snapshot = ResultStore(deploy(Source(config)).plan).snapshot()
    number = of_plan(snapshot)
    assert number["targets"] == len({(check.key.target, check.key.path) for check in snapshot.plan.checks})
    unit = "by role" if number["clouds"] == 1 else "by role and cloud"

    _, validated, _ = run("validate", "--config.file", str(config))
    _, listed, _ = run("endpoints", "--config.file", str(config))
    missing = f" ({number['unprobed']} not probed)" if number["unprobed"] else ""
    words = re.escape(f"{unit}, {number['endpoints']} endpoints{missing}, {number['targets']} target") + "s?"
    said = rf"{number['features']} features? {words}"
    assert re.fullmatch(rf"{re.escape(str(config))}: ok, {said}", validated)
    assert re.search(rf"{said}$", listed)

    page = re.sub(r"<[^>]*>", "", status_page(snapshot, {}, 0.0).text)
    for report in (headline(snapshot), check_markdown(snapshot), page):
        assert re.search(rf"PENDING: 0 of {number['features']} features? {unit} ready|^0 of|\n0 of", report)
        assert re.search(rf"0 of {number['targets']} targets? down", report)
        assert re.search(rf"{number['unprobed']} of {number['endpoints']} endpoints not probed", report)
    assert re.search(rf"All targets {number['targets']}\b", page)
    told = json.loads(json.dumps(status(snapshot, 0.0)))
    assert told["counts"] == number
    assert number["features"] == len(told["features"])
    patterns = {endpoint["pattern"] for feature in told["features"] for endpoint in feature["endpoints"]}
    assert number["endpoints"] == len(patterns - {"(none)"})
    assert number["unprobed"] == len({line["pattern"] for line in told["unprobed"]} - {"(none)"})
    assert number["targets"] == len(told["targets"])


def test_one_of_a_thing_is_no_plural(port: int, config: Path) -> None:
    config.write_text(own(port))
    for call in ("validate", "endpoints", "check"):
        _, said, _ = run(call, "--config.file", str(config))
        assert not re.search(r"\b1 (features|endpoints|targets)\b", said)
        assert "1 target" in said
