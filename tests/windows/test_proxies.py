"""The proxy that Windows has: written where Windows keeps it, read by the bundle, and used in the laboratory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import Any, Final, TypeAlias

import pytest

from tests.lab import PROXY_HOST, Lab
from tests.lab.windows import Windows, windows_path
from tests.running import ACTING, ADDRESS, eventually, http

pytestmark = [pytest.mark.lab, pytest.mark.windows]

HOSTS: Final = ("go.microsoft.com", "aka.ms", "portal.corp.example")
KEEPER: Final = "sup0.corp.example"  # hands out the PAC file
SCRIPT: Final = Path(__file__).parents[1] / "lab" / "windows_proxy.py"
PAC: Final = (
    'function FindProxyForURL(url, host) { return dnsDomainIs(host, ".corp.example") ? "DIRECT" : '
    f'"PROXY {KEEPER}:3128; PROXY {PROXY_HOST}:3128"; }}'
)

ENDLESS: Final = """
from exporter.proxies import evaluation

evaluation.SECONDS = 3.0
try:
    evaluation.evaluate("function FindProxyForURL(url, host) { while (true) { } }", [("http://a/", "a")])
except evaluation.NotEvaluated as error:
    print(error)
"""

Held: TypeAlias = dict[str, Any]


def set_proxy(windows: Windows, *settings: dict[str, list[Any] | None]) -> list[dict[str, Held]]:
    """Set proxies, one after the other, and have the product read each; the last one stays."""
    file = windows.folder / "settings.json"
    file.write_text(json.dumps([{"machine": None, "account": None, **setting} for setting in settings]))
    done = windows.run_python(windows_path(SCRIPT), windows_path(file))
    assert done.returncode == 0, done.stderr.decode()
    found: list[dict[str, Held]] = json.loads(done.stdout)
    return found


def held(
    proxies: str | None = None, exceptions: str | None = None, pac: str | None = None, *, detects: bool = False
) -> Held:
    return {"proxies": proxies, "exceptions": exceptions, "pac": pac, "detects": detects}


@pytest.fixture(autouse=True, scope="module")
def _as_before(windows: Windows) -> Iterator[None]:
    """Leave a Windows without a proxy to those who come next."""
    yield
    set_proxy(windows, {})


def test_what_windows_holds_is_read_where_it_keeps_it(windows: Windows) -> None:
    cases: list[tuple[dict[str, list[Any] | None], Held, Held | None]] = [
        ({"machine": ["", ""]}, held(), None),
        ({"machine": ["proxy.corp.example:3128", ""]}, held("proxy.corp.example:3128"), None),
        (
            {"machine": ["http=a:80;https=b:443", "<local>;*.corp.example"]},
            held("http=a:80;https=b:443", "<local>;*.corp.example"),
            None,
        ),
        (
            {"account": ["proxy.corp.example:3128", "10.*;<local>", "", False]},
            held(),
            held("proxy.corp.example:3128", "10.*;<local>"),
        ),
        (
            {"account": ["", "", "http://pac.corp.example/proxy.pac", True]},
            held(),
            held(pac="http://pac.corp.example/proxy.pac", detects=True),
        ),
        ({"account": ["", "", "", False]}, held(), held()),
    ]
    found = set_proxy(windows, *(setting for setting, _, _ in cases), {})
    assert [one["winhttp"] for one in found] == [*(for_machine for _, for_machine, _ in cases), held()]
    for one, (_, _, for_account) in zip(found, cases, strict=False):
        if for_account is not None:
            assert one["wininet"] == for_account


def configured(windows: Windows, system: str, timeout: str = "5s") -> str:
    file = windows.folder / "proxy.yaml"
    hosts = "".join(f"      - {{pattern: 'https://{host}/'}}\n" for host in HOSTS)
    file.write_text(
        f"site: {{roles: [client], features: [mine]}}\nprobe: {{interval: 5s, timeout: {timeout}, attempts: 1}}\n"
        f"proxies:\n  corporate:\n    system: {system}\nvia: {{client: corporate}}\n"
        f"groups:\n  - feature: mine\n    endpoints:\n{hosts}"
    )
    return windows_path(file)


def test_check_goes_by_the_proxy_of_the_machine(lab: Lab, windows: Windows) -> None:
    set_proxy(windows, {"machine": [f"{PROXY_HOST}:3128", "<local>;*.corp.example"]})
    config, before = configured(windows, "winhttp"), len(lab.proxy_log())
    done = windows.exporter("check", "--format", "json", "--config.file", config)
    (feature,) = json.loads(done.stdout)["features"]
    phases = {
        target["target"]: "proxy" in target["phases"]
        for endpoint in feature["endpoints"]
        for target in endpoint["targets"]
    }
    assert phases == {
        "https://go.microsoft.com/": True,
        "https://aka.ms/": True,
        "https://portal.corp.example/": False,
    }
    assert all(target["up"] for endpoint in feature["endpoints"] for target in endpoint["targets"])
    assert done.stderr.decode().splitlines()[0] == (
        f"proxies.corporate.system: WinHTTP, for this machine: {PROXY_HOST}:3128; without it: <local>, *.corp.example"
    )
    eventually("two tunnels", lambda: len(lab.proxy_log()) >= before + 2)
    assert {request.uri for request in lab.proxy_log()[before:]} == {"go.microsoft.com:443", "aka.ms:443"}


def all_up(metrics: str) -> bool:
    values = re.findall(r"^configmgr_endpoint_up\{.*\} (\S+)$", metrics, re.MULTILINE)
    return values == ["1.0"] * len(HOSTS)


def test_a_service_goes_by_the_file_that_the_account_names_and_reads_it_again(lab: Lab, windows: Windows) -> None:
    """The first proxy that the file names refuses; the second is the laboratory's."""
    set_proxy(windows, {"account": ["", "", f"http://{KEEPER}/proxy.pac", False]})
    config = configured(windows, "wininet")

    def serving(script: str) -> Any:
        return lab.serve(KEEPER, f"location = /proxy.pac {{ default_type text/plain; return 200 '{script}'; }}")

    def metrics() -> str:
        return http(lab, f"http://{ADDRESS}/metrics").body

    def reload() -> tuple[int, str]:
        answer = http(lab, f"http://{ADDRESS}/-/reload", "--request", "POST")
        return answer.status, answer.body

    with ExitStack() as running:
        running.enter_context(serving(PAC))
        log = running.enter_context((windows.folder / "serve.log").open("wb"))
        # Python itself, since the command of the bundle would leave it behind when it is killed.
        arguments = ("-m", "exporter", "serve", "--web.listen-address", ADDRESS, *ACTING, "--config.file", config)
        service = running.enter_context(windows.popen(windows.python, *arguments, stdout=PIPE, stderr=STDOUT))
        running.enter_context(Popen(["cat"], stdin=service.stdout, stdout=log))  # Python has pipes there, or no streams
        running.callback(service.kill)
        before = len(lab.proxy_log())
        eventually("tunnels", lambda: len(lab.proxy_log()) >= before + 2, within=120)
        eventually("all are up", lambda: all_up(metrics()))
        with serving("function FindProxyForURL(url, host) { return nobody; }"):
            status, said = reload()
            assert status >= 400
            assert "proxies.corporate.system: WinINET, for this account: the PAC file" in said
            assert "nobody is not defined" in said
        set_proxy(windows, {"account": [f"{KEEPER}:3128", "", "", False]})
        assert reload()[0] == 200
        eventually("the dead proxy is told", lambda: 'reason="proxy_unreachable"' in metrics())
        set_proxy(windows, {"account": [f"{PROXY_HOST}:3128", "*.corp.example", "", False]})
        assert reload()[0] == 200
        eventually("all are up", lambda: all_up(metrics()))


def test_a_file_that_never_ends_is_ended(windows: Windows) -> None:
    done = windows.run_python("-c", ENDLESS)
    assert done.returncode == 0, done.stderr.decode()
    assert "no answer for all targets within 3 s" in done.stdout.decode()
