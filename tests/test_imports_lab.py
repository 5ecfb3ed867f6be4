"""Importing and address ranges as users meet them, in the laboratory internet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.running import Exporter, command, eventually, running

pytestmark = pytest.mark.lab

DATA = Path(__file__).parent / "data" / "imports"
SERVICE = "endpoints.office.com"
ELSEWHERE = "download.microsoft.com"


@pytest.fixture
def published(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """The URL of Microsoft 365's web service, which answers whoever gives a GUID."""
    shutil.copy(DATA / "microsoft-365.json", tmp_path / "worldwide")
    guid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    asked = f'if ($arg_ClientRequestId !~ "^{guid}$") {{ return 400; }}'
    with lab.serve(SERVICE, f"location /endpoints/ {{ {asked} alias {tmp_path}/; }}"):
        yield f"https://{SERVICE}/endpoints/worldwide"


def test_the_web_services_list_is_imported_by_its_url(lab: Lab, published: str) -> None:
    lab.clear_requests()
    done = command(lab, "catalogue", "import", published)
    (asked,) = lab.requests(SERVICE)
    heading, _, groups = done.stdout.partition("\n")
    assert done.returncode == 0, done.stderr
    assert heading == f"# Read from {published}"
    assert groups.splitlines()[2:] == (DATA / "microsoft-365.yaml").read_text().splitlines()[3:]
    assert not asked.via_proxy


def test_it_is_imported_through_the_configurations_proxy_that_wants_a_password(
    lab: Lab, published: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(lab.proxy_credentials.password)
    config = tmp_path / "exporter.yaml"
    config.write_text(
        f"proxies: {{corporate: {{url: '{lab.auth_proxy_url}', "
        f"username: '{lab.proxy_credentials.username}', password_file: password}}}}\n"
    )
    lab.clear_requests()
    done = command(lab, "catalogue", "import", published, "--config.file", config, "--proxy", "corporate", "--diff")
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith("16 new, 0 gone, 2 covered\n")
    assert [request.via_proxy for request in lab.requests(SERVICE)] == [True]


def test_a_redirect_to_another_host_is_followed(lab: Lab, published: str) -> None:
    with lab.serve(ELSEWHERE, f"return 302 {published};"):
        done = command(lab, "catalogue", "import", f"https://{ELSEWHERE}/list", "--proxy", lab.proxy_url)
    assert done.returncode == 0, done.stderr
    assert "feature: microsoft-365-skype" in done.stdout


def test_a_source_that_is_too_large_or_too_slow_or_no_list_ends_with_2_and_words(lab: Lab, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(33 << 20)
    pages = f"location /large {{ alias {tmp_path}/large; }} location / {{ return 200 '<html>Sign in</html>'; }}"
    with lab.serve(ELSEWHERE, pages):
        done = command(lab, "catalogue", "import", f"https://{ELSEWHERE}/large")
        page = command(lab, "catalogue", "import", f"https://{ELSEWHERE}/?sig=secret")
    with lab.drop(ELSEWHERE):
        silent = command(lab, "catalogue", "import", f"https://{ELSEWHERE}/", "--timeout", "500ms")
    where = f"https://{ELSEWHERE}/"
    assert (done.returncode, page.returncode, silent.returncode) == (2, 2, 2)
    assert done.stderr == f"{where}large: cannot be fetched: it holds more than 33554432 bytes\n"
    assert page.stderr.startswith(f"{where}: it is an HTML or XML page, no list")
    assert silent.stderr.startswith(f"{where}: cannot be fetched: connect_timeout: ")


# ---------------------------------------------------------------- address ranges

INSIDE, OUTSIDE = "aka.ms", "go.microsoft.com"
GAUGE = "configmgr_endpoint_address_in_range"


@pytest.fixture
def watching(lab: Lab, tmp_path: Path) -> Iterator[Exporter]:
    """The exporter of one feature: the console goes direct, the client through the proxy; the ranges hold one host."""
    (tmp_path / "ranges.txt").write_text(f"{lab.address_of[INSIDE]}/32\n")
    config = tmp_path / "exporter.yaml"
    config.write_text(
        "address_ranges: [ranges.txt]\n"
        "site: {features: [url-forwarding], roles: [console, client]}\n"
        f"proxies: {{corporate: {{url: '{lab.proxy_url}'}}}}\n"
        "via: {client: corporate}\n"
    )
    with running(lab, tmp_path, "--config.file", config) as exporter:
        yield exporter


def test_the_gauge_tells_whose_addresses_lie_in_the_ranges_where_the_name_is_resolved_here(
    watching: Exporter,
) -> None:
    eventually("first results", watching.ready)
    found = {(dict(labels)["target"], dict(labels)["path"]): value for labels, value in watching.values(GAUGE).items()}
    once = watching.get(f"/probe?target=https://{OUTSIDE}/").body
    assert found == {(f"https://{INSIDE}/", "direct"): 1.0, (f"https://{OUTSIDE}/", "direct"): 0.0}
    assert f"\n{GAUGE}{{" in once


def test_a_reload_without_ranges_takes_the_series_along(watching: Exporter, tmp_path: Path) -> None:
    eventually("first results", lambda: watching.values(GAUGE))
    config = tmp_path / "exporter.yaml"
    config.write_text(
        config.read_text().replace("address_ranges: [ranges.txt]\n", "probe: {interval: 1s, timeout: 400ms}\n")
    )
    reloaded = watching.get("/-/reload", "--request", "POST")
    eventually("probed anew", lambda: not watching.values(GAUGE))
    assert reloaded.status == 200
