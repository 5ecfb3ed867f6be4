"""What a configuration says in vain is said: by `validate` and `check`, in the log, and by the API."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anyio
import httpx
import pytest
import structlog
from structlog.testing import capture_logs
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config.documents import DocumentError
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.web.routes import create_app

PROXY: Final = "proxies: {corporate: {url: 'http://proxy.corp.example:3128'}}\n"
OWN: Final = "[{feature: extra, title: Extra, roles: [console], endpoints: [{pattern: a.example}]}]"
SAID: Final = {
    # what is right, or at its default
    "": ["1: warning: the file says nothing, so everything that is documented is probed, and direct"],
    "{}": [],
    "site: {roles: [client]}": [],
    f"{PROXY}via: {{client: corporate}}": [],
    "site: {parameters: {cloud_service_name: granitefalls, azure_region: westus}}": [],
    f"groups: {OWN}": [],
    "site: {roles: [software-update-point], features: [software-updates-intranet]}": [],
    # proxies
    PROXY: [
        (
            "1: warning: proxies.corporate: no role goes through this proxy, so everything goes direct by it; name its "
            "roles below `via`, as `client: corporate`"
        )
    ],
    f"site: {{roles: [console]}}\n{PROXY}": [
        (
            "2: warning: proxies.corporate: no role goes through this proxy, so everything goes direct by it; name its "
            "roles below `via`, as `console: corporate`"
        )
    ],
    f"site: {{roles: [client]}}\n{PROXY}via: {{console: corporate}}": [
        (
            "3: warning: via.console: the site has no such role, so nothing goes through corporate by it; add it to "
            "`site.roles`, or remove this line"
        )
    ],
    f"site: {{features: [tenant-attach]}}\n{PROXY}via: {{client: corporate}}": [
        "3: warning: via.client: nothing that the site selects is for this role, so corporate is not used by it"
    ],
    # roles, features, clouds
    "site: {roles: [distribution-point], features: [tenant-attach]}": [
        (
            "1: warning: site.roles[0]: nothing is probed for distribution-point: `site.features` does not name "
            "delivery-optimization and url-forwarding"
        ),
        (
            "1: warning: site.features[0]: nothing is probed for tenant-attach: it is for service-connection-point, "
            "which `site.roles` does not name"
        ),
    ],
    "site:\n  features:\n  - co-management\n  - asset-intelligence": [
        (
            "4: warning: site.features[1]: nothing is probed for asset-intelligence: all of it is deprecated; add that "
            "to `site.statuses` to have it probed"
        )
    ],
    # parameters
    "site:\n  roles: [client]\n  features: [co-management]\n  parameters:\n    azure_region: westus": [
        (
            "5: warning: site.parameters.azure_region: nothing needs this value: it is for cloud-services, of which "
            "the site selects nothing"
        )
    ],
    # groups
    f"site: {{roles: [client]}}\ngroups: {OWN}": [
        "2: warning: groups[0]: nothing of this group is probed: it is for console, which `site.roles` does not name"
    ],
    f"site: {{features: [co-management]}}\ngroups: {OWN}": [
        "2: warning: groups[0]: nothing of this group is probed: `site.features` does not name extra"
    ],
    "site: {roles: [client]}\ngroup_files: [own.yaml, none.yaml]": [
        (
            "2: warning: group_files[0]: nothing of this file is probed: it is for console, which `site.roles` does "
            "not name"
        ),
        "2: warning: group_files[1]: the file holds no group",
    ],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "none.yaml").write_text("[]")
    return tmp_path / "exporter.yaml"


@pytest.mark.parametrize("text", SAID)
def test_what_changes_nothing_is_said_with_its_line_and_why(text: str, config: Path) -> None:
    config.write_text(text)
    done = CliRunner().invoke(app, ["validate", "--config.file", str(config)])
    of_all = f"{config}: warning: nothing to check: "
    assert done.exit_code == 0
    assert [line for line in done.stderr.splitlines() if not line.startswith(of_all)] == [
        f"{config}:{line}" for line in SAID[text]
    ]


def test_the_line_is_where_it_stands(config: Path) -> None:
    config.write_text("site:\n  parameters:\n    cloud_service_name: granitefalls\n  features:\n  - co-management\n")
    done = CliRunner().invoke(app, ["validate", "--config.file", str(config)])
    assert done.stderr.startswith(f"{config}:3: warning: site.parameters.cloud_service_name: nothing needs this value")


def test_what_the_command_line_leaves_out_is_not_said_in_vain(config: Path) -> None:
    config.write_text(f"{PROXY}via: {{client: corporate}}")
    assert deploy(Source(config)).unused == ()


def test_a_check_says_it_too(config: Path) -> None:
    config.write_text(f"site: {{features: [extra]}}\n{PROXY}groups: {OWN.replace('a.example', 'http://127.0.0.1:1/')}")
    done = CliRunner().invoke(app, ["check", "--config.file", str(config), "--format", "json"])
    assert done.stderr.startswith(f"{config}:2: warning: proxies.corporate: no role goes through this proxy")


def test_the_log_says_it_at_the_start_and_after_a_reload_and_the_service_knows_it(config: Path) -> None:
    config.write_text(f"site: {{features: [extra]}}\n{PROXY}groups: {OWN}")
    deployment = deploy(Source(config))
    exporter = Exporter(Source(config), deployment, network_of(deployment))

    async def started_and_reloaded() -> None:
        async with anyio.create_task_group() as group:
            exporter.start(group)
            await exporter.reload()
            group.cancel_scope.cancel()

    structlog.reset_defaults()
    with capture_logs() as lines:
        anyio.run(started_and_reloaded)
    said = [line["detail"] for line in lines if line["event"] == "the configuration says something in vain"]
    assert said == list(exporter.warnings) * 2
    assert said[0].startswith(f"{config}:2: proxies.corporate: no role goes through this proxy")


@pytest.mark.parametrize("text", ["", "\n\n", "# half a fi", "---\n", "null\n"])
def test_a_file_that_has_become_empty_changes_nothing_at_a_reload(config: Path, text: str) -> None:
    config.write_text("site: {roles: [console]}\n")
    deployment = deploy(Source(config))
    exporter = Exporter(Source(config), deployment, network_of(deployment))
    config.write_text(text)
    with pytest.raises(DocumentError) as raised:
        anyio.run(exporter.reload)
    assert str(raised.value).startswith(f"{config}:1: the file says nothing any more, perhaps because it is only half")
    assert exporter.store.snapshot().plan == deployment.plan


@pytest.mark.parametrize("text", ["{}", "site: {}\n"])
def test_the_defaults_can_be_asked_for_at_a_reload(config: Path, text: str) -> None:
    config.write_text("site: {roles: [console]}\n")
    deployment = deploy(Source(config))
    exporter = Exporter(Source(config), deployment, network_of(deployment))
    config.write_text(text)
    anyio.run(exporter.reload)
    assert len(exporter.store.snapshot().plan.checks) > len(deployment.plan.checks)


def test_a_file_that_was_empty_may_stay_so(config: Path) -> None:
    config.write_text("")
    deployment = deploy(Source(config))
    exporter = Exporter(Source(config), deployment, network_of(deployment))
    anyio.run(exporter.reload)
    assert exporter.store.snapshot().plan == deployment.plan


def test_the_status_as_data_has_the_warnings(config: Path) -> None:
    config.write_text(PROXY)
    deployment = deploy(Source(config))
    exporter = Exporter(Source(config), deployment, network_of(deployment))

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(exporter))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            return await client.get("/api/v1/status")

    (said,) = anyio.run(asked).json()["warnings"]
    assert said.startswith(f"{config}:1: proxies.corporate: no role goes through this proxy")
