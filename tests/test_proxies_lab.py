"""PAC files in the laboratory: real names, real proxies, a real web server that hands the file out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lab import PROXY_HOST, Lab
from tests.running import COMMAND, ROOT, Exporter, command, eventually, running

pytestmark = pytest.mark.lab

PACS: Final = Path(__file__).parent / "data" / "pac"
OUTSIDE: Final = ("go.microsoft.com", "aka.ms")
INSIDE: Final = "portal.corp.example"
KEEPER: Final = "sup0.corp.example"  # hands out the PAC file
DEAD: Final = f"{INSIDE}:3128"  # refuses connections there
ANSWERS: Final = """
import json, sys
from exporter.model.vocabulary import Proxy, Target
from exporter.proxies.finding import finder

urls = sys.argv[2:]
ways = finder(Proxy("p", "", pac=sys.argv[1]), lambda: None).ways([Target(url) for url in urls])
json.dump({url: one.urls for url, one in zip(urls, ways, strict=True)}, sys.stdout)
"""


def pac(*ways: str) -> str:
    """A PAC file that keeps what is inside direct."""
    return (
        'function FindProxyForURL(url, host) { return dnsDomainIs(host, ".corp.example") ? "DIRECT" : '
        f"{json.dumps('; '.join(ways))}; }}"
    )


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration whose three targets go as a PAC file says."""

    def write(place: str, *more: str) -> Path:
        path = tmp_path / "exporter.yaml"
        hosts = "".join(f"      - {{pattern: 'https://{host}/'}}\n" for host in (*OUTSIDE, INSIDE))
        lines = "".join(f"    {line}\n" for line in (f"pac: {place}", *more))
        path.write_text(
            "site: {roles: [client], features: [mine]}\nprobe: {interval: 1s, timeout: 1s, attempts: 1}\n"
            f"proxies:\n  corporate:\n{lines}via: {{client: corporate}}\n"
            f"groups:\n  - feature: mine\n    endpoints:\n{hosts}"
        )
        return path

    return write


def checked(lab: Lab, config: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """What came of each target, and what stands on stderr."""
    done = command(lab, "check", "--format", "json", "--config.file", config)
    assert done.returncode in {0, 1}, done.stderr
    (feature,) = json.loads(done.stdout)["features"]
    found = [target for endpoint in feature["endpoints"] for target in endpoint["targets"]]
    return {target["target"]: target for target in found}, done.stderr


def up(lab: Lab, config: Path) -> set[str]:
    return {target for target, told in checked(lab, config)[0].items() if told["up"]}


ALL: Final = {f"https://{host}/" for host in (*OUTSIDE, INSIDE)}


def test_a_file_of_the_wild_looks_up_real_names(lab: Lab) -> None:
    west, east = "http://west.corp.example:3128", "http://east.corp.example:3128"
    answers: dict[str, list[str | None]] = {
        "https://go.microsoft.com/": [west, east, None],
        "http://x.manage.microsoft.com/": [west, east, None],
        "http://aka.ms/": [west, east],
        "https://aka.ms/": ["https://secure.corp.example:8443", west, east],
        "https://a.b.c.d.unknown.example/": [east, west],
        "http://a.ads.example/": ["http://127.0.0.1:9"],
        "https://portal.corp.example/": [None],
    }
    done = lab.run([sys.executable, "-c", ANSWERS, PACS / "corporate.pac", *answers], cwd=ROOT, check=True)
    assert json.loads(done.stdout) == answers


def test_names_are_in_a_net_by_their_ipv4_address(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "net.pac").write_text(
        'function FindProxyForURL(url, host) { return isInNet(host, "198.18.0.0", "255.254.0.0") ? "PROXY four" : '
        'isInNetEx(host, "fd00:1ab::/32") ? "PROXY six" : isResolvable(host) ? "PROXY other" : "PROXY unknown"; }'
    )
    hosts = {
        "portal.corp.example": "four",
        "dual.corp.example": "four",
        "six.corp.example": "six",
        "none.corp.example": "unknown",
    }
    urls = [f"https://{host}/" for host in hosts]
    done = lab.run([sys.executable, "-c", ANSWERS, tmp_path / "net.pac", *urls], cwd=ROOT, check=True)
    assert json.loads(done.stdout) == {f"https://{host}/": [f"http://{name}:80"] for host, name in hosts.items()}


def test_check_goes_where_the_file_says(lab: Lab, configured: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "proxy.pac").write_text(pac(f"PROXY {PROXY_HOST}:3128"))
    before = len(lab.proxy_log())
    found, said = checked(lab, configured("proxy.pac"))
    assert all(told["up"] for told in found.values())
    assert found[f"https://{INSIDE}/"]["way"] == {"number": 1, "of": 1, "direct": True}
    assert found["https://aka.ms/"]["way"] == {"number": 1, "of": 1, "direct": False}
    assert "proxy" in found["https://go.microsoft.com/"]["phases"]
    assert "proxy" not in found[f"https://{INSIDE}/"]["phases"]
    assert f"proxies.corporate.pac: 2 of 3 targets: {PROXY_HOST}:3128\n" in said
    assert "proxies.corporate.pac: 1 of 3 targets: direct\n" in said
    tunnels = eventually("two tunnels", lambda: lab.proxy_log()[before:][1:] and lab.proxy_log()[before:])
    assert {request.uri for request in tunnels} == {f"{host}:443" for host in OUTSIDE}


def explained(lab: Lab, config: Path) -> str | None:
    """What `explain` says where the second way was gone."""
    said = " ".join(command(lab, "explain", "https://go.microsoft.com/", "--config.file", config).stdout.split())
    return said if "way 2 of 2 named for the target, through the proxy corporate" in said else None


@pytest.mark.parametrize("fault", ["refused", "silent", "unknown"])
def test_a_dead_proxy_is_passed_over(lab: Lab, configured: Callable[..., Path], tmp_path: Path, fault: str) -> None:
    first = {"refused": DEAD, "silent": f"{KEEPER}:3128", "unknown": "nobody.corp.example:3128"}[fault]
    (tmp_path / "proxy.pac").write_text(pac(f"PROXY {first}", f"PROXY {PROXY_HOST}:3128"))
    config = configured("proxy.pac")
    with ExitStack() as faults:
        if fault == "silent":
            faults.enter_context(lab.drop(KEEPER, 3128))
        eventually("all are up", lambda: up(lab, config) == ALL)
        told = eventually("it is told", lambda: explained(lab, config))
    assert first not in told


def taken(exporter: Exporter) -> dict[str, int]:
    """The number of the way to each target, as the status says; nothing while one of them is pending."""
    status = json.loads(exporter.get("/api/v1/status").body)
    way_to = {target["target"]: target["way"] for target in status["targets"]}
    return {target: way["number"] for target, way in way_to.items()} if all(way_to.values()) else {}


def test_a_proxy_that_dies_is_replaced_by_the_one_that_wants_a_password_and_back(
    lab: Lab, configured: Callable[..., Path], tmp_path: Path
) -> None:
    user, password = lab.proxy_credentials
    (tmp_path / "password").write_text(password)
    (tmp_path / "proxy.pac").write_text(pac(f"PROXY {PROXY_HOST}:3128", f"PROXY {PROXY_HOST}:3129"))
    config = configured("proxy.pac", f"username: {user}", "password_file: password")
    with running(lab, tmp_path, "--config.file", config) as exporter:

        def by_port(port: int, since: int) -> bool:
            told = [request for request in lab.proxy_log()[since:] if request.status == 200]
            return {request.port for request in told[-4:]} == {port} and all(
                value == 1 for value in exporter.values("configmgr_endpoint_up").values()
            )

        eventually("the first proxy is used", lambda: by_port(3128, 0))
        with lab.reset(PROXY_HOST, 3128):
            since = len(lab.proxy_log())
            eventually("the second proxy is used", lambda: by_port(3129, since))
            # A target that was last asked before the first proxy died is up by it still.
            ways = {f"https://{host}/": 2 for host in OUTSIDE} | {f"https://{INSIDE}/": 1}
            eventually("the ways", lambda: taken(exporter) == ways)
            assert exporter.values("configmgr_path_up", path="proxy:corporate") == {
                frozenset({("path", "proxy:corporate")}): 1.0
            }
        since = len(lab.proxy_log())
        eventually("the first proxy is used again", lambda: by_port(3128, since))
        with lab.reset(PROXY_HOST, 3128), lab.reset(PROXY_HOST, 3129):
            eventually(
                "the path is down",
                lambda: (
                    exporter.values("configmgr_path_up", path="proxy:corporate")
                    == {frozenset({("path", "proxy:corporate")}): 0.0}
                ),
            )
            failures = exporter.values("configmgr_endpoint_failure")
        assert {dict(labels)["reason"] for labels in failures} == {"proxy_unreachable"}
        assert {dict(labels)["target"] for labels in failures} == {f"https://{host}/" for host in OUTSIDE}
        everything = exporter.get("/metrics").body + exporter.get("/").body + exporter.get("/api/v1/status").body
    assert PROXY_HOST not in everything
    assert PROXY_HOST not in exporter.log.read_text()


def test_a_file_that_breaks_leaves_the_old_plan_running(
    lab: Lab, configured: Callable[..., Path], tmp_path: Path
) -> None:
    def serving(script: str) -> Any:
        return lab.serve(KEEPER, f"location = /proxy.pac {{ default_type text/plain; return 200 '{script}'; }}")

    config = configured(f"http://{KEEPER}/proxy.pac")
    good = f'function FindProxyForURL(url, host) {{ return "PROXY {PROXY_HOST}:3128"; }}'
    reloaded = "configmgr_exporter_config_last_reload_successful"
    with ExitStack() as keeping:
        keeping.enter_context(serving(good))
        exporter = keeping.enter_context(running(lab, tmp_path, "--config.file", config))
        eventually("all are up", lambda: exporter.ready() and set(exporter.values("configmgr_endpoint_up").values()))
        for broken, said in (
            ("function FindProxyForURL(url, host) { return nobody; }", "nobody is not defined"),
            ("<html></html>", "is a web page or XML"),
        ):
            with serving(broken):
                answer = exporter.get("/-/reload", "--request", "POST")
                assert answer.status >= 400
                assert f"{config}:5: proxies.corporate.pac: the PAC file http://{KEEPER}/proxy.pac" in answer.body
                assert said in answer.body
                assert set(exporter.values(reloaded).values()) == {0.0}
        with lab.reset(KEEPER, 80):
            answer = exporter.get("/-/reload", "--request", "POST")
            assert "cannot be fetched: connect_refused" in answer.body
            since = len(lab.proxy_log())
            eventually("probes go on through the proxy", lambda: len(lab.proxy_log()) > since + 3)
            eventually("all are up", lambda: set(exporter.values("configmgr_endpoint_up").values()) == {1.0})
        assert exporter.get("/-/reload", "--request", "POST").status == 200
        assert set(exporter.values(reloaded).values()) == {1.0}
    assert "configuration not reloaded" in exporter.log.read_text()


def test_nothing_starts_with_a_file_that_nobody_hands_out(lab: Lab, configured: Callable[..., Path]) -> None:
    config = configured(f"https://{INSIDE}:444/proxy.pac")
    for arguments in (["serve"], ["check"], ["validate"]):
        done = lab.run([*COMMAND, *arguments, "--config.file", config], cwd=ROOT)
        assert done.returncode == 2
        assert done.stderr.startswith(
            f"{config}:5: proxies.corporate.pac: the PAC file https://{INSIDE}:444/proxy.pac cannot be fetched: "
            "connect_refused: "
        )
        assert done.stdout == ""
