"""In the laboratory: what hangs behind a real proxy with an account calls nothing down, and no account is locked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from exporter.model.vocabulary import Auth, Reason
from tests.kerberos import Domain
from tests.lab import Lab
from tests.lab.scripts import HOLD, READ_HEAD
from tests.running import command, eventually, in_a_quiet_moment, running

pytestmark = pytest.mark.lab

ROOT: Final = Path(__file__).parents[1]
HANGING: Final = ("aka.ms", "go.microsoft.com", "login.microsoftonline.com", "management.azure.com")
HEALTHY: Final = ("portal.corp.example", "sup0.corp.example", "sup1.corp.example", "dc.services.visualstudio.com")

# Probes all URLs at once through the proxy, and prints which are up, and why the others are not.
PROBES = """
import json, ssl, sys, anyio
from exporter.probe.net.authentication import Account
from exporter.model.vocabulary import Auth, CheckKey, Probing, Proxy, Target
from exporter.probe.net import SignIn
from exporter.probe.runner import Network, run_check

urls, timeout, auth, url, username, password = json.loads(sys.argv[1])
proxy = Proxy("p", url, username, password, auth=Auth(auth))
network = Network(ssl.create_default_context(), {"p": proxy}, {"p": SignIn(Account(proxy))})
seen = {}

async def probe(url):
    result = await run_check(CheckKey(Target(url), "p"), network, Probing(timeout=timeout, attempts=1))
    seen[url] = result.failure and result.failure.reason

async def main():
    async with anyio.create_task_group() as group:
        for url in urls:
            group.start_soon(probe, url)

anyio.run(main)
print(json.dumps(seen))
"""


@contextmanager
def all_hang(lab: Lab, hosts: Iterable[str] = HANGING) -> Iterator[None]:
    """These take connections and answer nothing over HTTP, and take none over HTTPS."""
    with ExitStack() as faults:
        for host in hosts:
            faults.enter_context(lab.script(host, 80, (READ_HEAD, HOLD)))
            faults.enter_context(lab.drop(host, 443))
        yield


def urls_of(hosts: Iterable[str]) -> list[str]:
    return [f"{scheme}://{host}/" for scheme in ("http", "https") for host in hosts]


def probed(domain: Domain, auth: Auth, password: str, urls: list[str]) -> dict[str, str | None]:
    wanted = json.dumps([urls, 6.0, auth, domain.proxy_url(auth), domain.account.username, password])
    found: dict[str, str | None] = json.loads(domain.run(sys.executable, "-c", PROBES, wanted, cwd=ROOT))
    return found


@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.NTLM, Auth.NEGOTIATE, Auth.AUTO])
def test_what_hangs_behind_the_proxy_calls_nothing_else_down(lab: Lab, domain: Domain, auth: Auth) -> None:
    with all_hang(lab):
        found = probed(domain, auth, domain.account.password, urls_of([*HANGING, *HEALTHY]))
    assert {url for url, reason in found.items() if reason is None} == set(urls_of(HEALTHY))
    assert Reason.PROXY_AUTH_REQUIRED not in found.values()


@pytest.mark.parametrize(("auth", "answers"), [(Auth.BASIC, 1), (Auth.NTLM, 2)])
def test_a_wrong_password_is_tried_once_whatever_hangs(lab: Lab, domain: Domain, auth: Auth, answers: int) -> None:
    def refusals() -> int:
        return sum(line.startswith("407 ") for line in domain.requests())

    def moment() -> int:
        """How many refusals the proxy wrote down meanwhile."""
        before = refusals()
        with all_hang(lab):
            found = probed(domain, auth, "wrong", urls_of([*HANGING, *HEALTHY]))
        assert set(found.values()) == {Reason.PROXY_AUTH_REQUIRED}
        eventually("the proxy has written it down", lambda: refusals() - before >= answers)
        return refusals() - before

    assert in_a_quiet_moment(moment, lambda seen: seen == answers) == answers


@pytest.mark.parametrize("auth", ["basic", "auto"])
def test_check_finds_what_is_healthy_among_what_hangs(lab: Lab, tmp_path: Path, auth: str) -> None:
    write(tmp_path, lab, lab.proxy_credentials.password, auth)
    with all_hang(lab):
        done = command(lab, "check", "--format", "json", "--config.file", tmp_path / "exporter.yaml")
    (feature,) = json.loads(done.stdout)["features"]
    up = {target["target"] for endpoint in feature["endpoints"] for target in endpoint["targets"] if target["up"]}
    assert up >= set(urls_of(HEALTHY))
    assert not up & {f"http://{host}/" for host in HANGING}


def test_no_reload_tries_a_refused_password_anew(lab: Lab, tmp_path: Path) -> None:
    write(tmp_path, lab, "outdated-password", "basic")

    def tries() -> int:
        """How often the proxy looked at an account and did not let it in."""
        return sum(entry.status == 407 and entry.user != "-" for entry in lab.proxy_log())

    before = tries()
    with running(lab, tmp_path, "--config.file", tmp_path / "exporter.yaml") as exporter:
        eventually("every target has a result", exporter.ready)
        tried = tries()
        assert tried - before == 1
        for _ in range(5):
            assert exporter.get("/-/reload", "--request", "POST").status == 200
            assert exporter.get(f"/probe?target=http://{HEALTHY[0]}/").status == 200
        assert tries() == tried

        write(tmp_path, lab, lab.proxy_credentials.password, "basic")
        assert exporter.get("/-/reload", "--request", "POST").status == 200
        probe = exporter.get(f"/probe?target=http://{HEALTHY[0]}/")
        assert "configmgr_endpoint_failure" not in [line.split("{")[0] for line in probe.body.splitlines()]
    assert tries() == tried


def write(directory: Path, lab: Lab, password: str, auth: str) -> None:
    (directory / "password").write_text(password)
    patterns = [f"{{pattern: '{url}'}}" for url in urls_of([*HANGING, *HEALTHY])]
    (directory / "exporter.yaml").write_text(
        "site: {roles: [client], features: [mine]}\n"
        "probe: {interval: 30s, timeout: 6s}\n"
        f"proxies: {{corp: {{url: '{lab.auth_proxy_url}', username: {lab.proxy_credentials.username}, "
        f"password_file: password, auth: {auth}}}}}\n"
        "via: {client: corp}\n"
        f"groups: [{{feature: mine, endpoints: [{', '.join(patterns)}]}}]\n"
    )
