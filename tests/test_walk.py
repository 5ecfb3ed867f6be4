"""Every command that a page shows is run: step by step with what it shows, or as it stands; or it is said why not."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.lab import Lab
from tests.lab.__main__ import Orders
from tests.running import ROOT, among_public_roots, running
from tests.walk import PAGES, Step, follow

FOLLOWED: Final = ("docs/tutorial.md", "docs/verdicts.md", "config/roles/README.md")
EXPORTER: Final = "configmgr-endpoint-exporter"
BLOCKS: Final = {
    (name, text): language
    for name, page in PAGES.items()
    if name != "docs/reference.md"  # whose examples are those of --help, which test_command_line parses
    for language, text in re.findall(r"^```(sh|console|powershell)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
}
BUNDLE: Final = "configmgr-endpoint-exporter-0.1.0"
# By their first lines.
NOT_RUN: Final = {
    "make run": "installs from a package index, and then serves until it is stopped",
    "make lab": "installs from a package index; what it then does is what the pages are followed in",
    '$ make demo ARGS="--table docs/outages.md --beside 5"': "takes an hour; test_outages tries what it is made of",
    "python3 -m venv .venv": "installs from a package index",
    "docker build -t configmgr-endpoint-exporter .": "needs a container engine",
    "python3 -m venv /opt/configmgr-endpoint-exporter": "installs a service, which `make unit` runs, or wheels",
    "python3 -m pip wheel -c constraints.txt -w wheels .": "asks a package index",
    "install -m 644 config/systemd/configmgr-endpoint-check.service -t /etc/systemd/system": "the same",
    f".\\{EXPORTER} service install": "on Windows; tests/windows/test_service.py types it there",
    f".\\{EXPORTER} service remove": "the same",
    f'$zip = "{BUNDLE}-windows-amd64.zip"': "PowerShell, on Windows",
    f"Expand-Archive {BUNDLE}-windows-amd64.zip $env:ProgramFiles": "the same; test_bundle_runs does what it says",
    f"cd $env:ProgramFiles\\{BUNDLE}": "the same; tests/windows/test_service.py upgrades",
    'New-NetFirewallRule -DisplayName "configmgr-endpoint-exporter" -Direction Inbound -Action Allow -Protocol TCP '
    "-LocalPort 10965 -RemoteAddress 192.0.2.10": "PowerShell, on Windows",
    'netsh winhttp set proxy proxy.corp.example:3128 "<local>;*.corp.example"': "on Windows",
    r'Get-Content "$env:ProgramData\ConfigMgrEndpointExporter\log\exporter.log" -Tail 20 -Encoding UTF8': "the same",
    r'icacls "D:\secrets\proxy.txt" /grant "NT SERVICE\ConfigMgrEndpointExporter:(R)"': "on Windows",
    f'$check = "$env:ProgramFiles\\{BUNDLE}\\configmgr-endpoint-exporter.exe"': (
        "PowerShell, on Windows; test_packages tries the arguments"
    ),
    f"Expand-Archive {BUNDLE}-windows-amd64.zip .": ("PowerShell; windows/test_bundle_runs does what it says"),
    "py -m pip install -c constraints.txt .": "the same",
    "py -m venv .venv": "PowerShell, on Windows",
    f"{EXPORTER} check": "on the page of the package: the second line serves until it is stopped",
    "kubectl apply -k dashboards/kubernetes": "needs a cluster; test_stack validates what it applies",
    '$names = "Microsoft Root Certificate Authority 2011", "Microsoft ECC Product Root Certificate Authority 2018"': (
        "PowerShell, on Windows"
    ),
    "make articles": "fetches the articles from GitHub",
    f"$ {EXPORTER} check --feature tenant-attach --feature windows-servicing": "test_docs does, with the host broken",
}
RUN: Final = [
    pytest.param(text, id=f"{name}: {text.splitlines()[0]}")
    for (name, text), language in BLOCKS.items()
    if language == "sh" and text.splitlines()[0] not in NOT_RUN
]


@pytest.fixture(scope="module")
def clone(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a clone, with an exporter that runs, and with what the pages take for granted."""
    directory = tmp_path_factory.mktemp("clone")
    for name in ("config", "dashboards"):
        shutil.copytree(ROOT / name, directory / name)
    published = ROOT / "tests/data/imports"
    shutil.copy(published / "azure-environments.csv", directory / "AzureEnvironments.csv")
    shutil.copy(published / "public-ip-space.csv", directory / "MSFT_PublicIPs.csv")
    (directory / "firewall.txt").write_text("*\n")
    (directory / "endpoints").mkdir()
    shutil.copy(published / "microsoft-365.json", directory / "endpoints/worldwide")
    with (
        lab.serve("endpoints.office.com", f"location / {{ root {directory}; }}"),
        running(lab, directory, "--role", "management-point"),
    ):
        yield directory


@pytest.fixture(scope="module")
def followed(clone: Path) -> Iterator[Mapping[str, Future[float]]]:  # noqa: ARG001 - its exporter starts first
    """The pages, followed in the background, as most of the tutorial is waiting: the seconds that each takes."""
    with ThreadPoolExecutor(max_workers=2) as readers:
        yield {page: readers.submit(follow, ROOT / page) for page in FOLLOWED}


def test_every_block_is_followed_or_run_or_says_why_not() -> None:
    left = {
        text.splitlines()[0]
        for (name, text), language in BLOCKS.items()
        if language != "sh" and not (language == "console" and name in FOLLOWED)
    }
    shown = {text.splitlines()[0] for _, text in BLOCKS}
    assert left <= set(NOT_RUN) <= shown


@pytest.mark.lab
@pytest.mark.usefixtures("followed")
@pytest.mark.parametrize("text", RUN)
def test_a_block_of_commands_runs_as_it_stands(text: str, lab: Lab, clone: Path) -> None:
    for line in text.replace("\\\n", "").splitlines():
        # The program is alone with its mounts: what it writes into /etc is gone with it.
        alone = f"mount -t tmpfs tmpfs /etc/prometheus && {line}"
        done = lab.run(among_public_roots(lab, ["sh", "-c", alone]), cwd=clone, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_make_lab_opens_what_the_pages_are_followed_in() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^lab: .*\n\t@\$\(BIN\)/python -m tests\.lab \$\(ARGS\)$", makefile, re.MULTILINE)


@pytest.mark.lab
def test_an_order_that_cannot_be_carried_out_is_answered_in_words(lab: Lab, tmp_path: Path) -> None:
    broken = ["break", "connection-reset", "aka.ms"]
    with Orders(tmp_path / "orders", lab) as orders, orders.faults:
        assert "no such fault" in orders.obey(["break", "nonsense", "aka.ms"])
        assert "no such host" in orders.obey(["break", "connection-reset", "nobody.example"])
        assert [orders.obey(order) for order in (broken, ["fix"], broken)] == ["", "", ""]
        assert "broken already" in orders.obey(broken)


def test_what_differs_each_time_is_left_open_and_nothing_else() -> None:
    step = Step("date", "Thu …\n…\nend")
    assert step.told_by("Thu 26\nsome\nlines\nend\n")
    assert step.told_by("Thu 26  \nend")
    assert not step.told_by("Fri 27\nend")
    assert not step.told_by("Thu 26\nend\nmore")
    assert not Step("true", "").told_by("an error")


@pytest.mark.lab
@pytest.mark.parametrize("page", FOLLOWED)
def test_whoever_follows_a_page_sees_what_it_shows(
    page: str, followed: Mapping[str, Future[float]], figure: Callable[[str], None]
) -> None:
    figure(f"{page}: followed in {followed[page].result():.0f} s")
