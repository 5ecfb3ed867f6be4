"""The product as its users run it, in the laboratory internet: nothing here is a stand-in."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from exporter.model.vocabulary import Plan, Probing, Reason
from exporter.service.load import Source, deploy
from tests.lab import Lab
from tests.running import ADDRESS, Answer, Exporter, command, eventually, http, in_a_quiet_moment, running
from tests.stack import prometheus

pytestmark = pytest.mark.lab

HOST = "dc.services.visualstudio.com"  # a catalogue host that one feature needs, over HTTPS only
FEATURE = "tenant-attach"


@pytest.fixture(scope="module")
def plan() -> Plan:
    """What the embedded default probes."""
    return deploy(Source()).plan


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration file."""

    def write(text: str) -> Path:
        path = tmp_path / "exporter.yaml"
        path.write_text(text)
        return path

    return write


def checked(lab: Lab, *arguments: str | Path) -> dict[str, Any]:
    done = command(lab, "check", "--format", "json", *arguments)
    assert done.returncode in {0, 1}, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["ready"] is not False) == (done.returncode == 0)
    return report


def targets_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        target for feature in report["features"] for endpoint in feature["endpoints"] for target in endpoint["targets"]
    ]


def reasons_of(report: dict[str, Any]) -> Counter[str | None]:
    return Counter(target["reason"] for target in targets_of(report))


# ---------------------------------------------------------------- the open laboratory


def test_the_whole_default_catalogue_is_up_and_each_target_is_asked_once(lab: Lab, plan: Plan) -> None:
    lab.clear_requests()
    report = checked(lab)
    asked = Counter(f"{seen.scheme}://{seen.host}:{seen.port}{seen.uri}" for seen in lab.requests())
    expected = {
        f"{target.scheme}://{target.host}:{target.port}{target.url.split('/', 3)[3].join(['/', ''])}"
        for target in (check.key.target for check in plan.checks)
    }
    assert (report["verdict"], report["ready"]) == ("incomplete", None)  # only you know the name of your gateway
    assert all(target["up"] for target in targets_of(report))
    assert asked == dict.fromkeys(expected, 1)


def test_every_cloud_with_all_parameters_is_up(lab: Lab, configured: Callable[[str], Path]) -> None:
    config = configured(
        """
site:
  clouds: [azure-public, azure-us-government]
  parameters:
    cloud_service_name: granitefalls
    azure_region: westus
    child_site_sup_fqdn: sup1.corp.example
    parent_site_sup_fqdn: sup0.corp.example
"""
    )
    report = checked(lab, "--config.file", config)
    assert reasons_of(report).keys() == {None}
    assert len(targets_of(report)) > 400


@pytest.fixture
def open_exporter(lab: Lab, tmp_path: Path) -> Iterator[Exporter]:
    """The exporter with no configuration file."""
    with running(lab, tmp_path) as exporter:
        yield exporter


def test_without_a_configuration_all_is_ready_within_ten_seconds(open_exporter: Exporter, plan: Plan) -> None:
    eventually("first results", open_exporter.ready)
    up = open_exporter.values("configmgr_endpoint_up")
    ready = open_exporter.values("configmgr_feature_ready")
    assert len(up) == sum(len(check.uses) for check in plan.checks)
    assert set(up.values()) == {1.0}
    assert set(ready.values()) == {1.0}
    assert set(open_exporter.values("configmgr_path_up").values()) == {1.0}
    assert not open_exporter.values("configmgr_endpoint_failure")


def test_a_real_prometheus_scrapes_it_and_finds_what_was_exposed(
    lab: Lab, open_exporter: Exporter, tmp_path: Path
) -> None:
    scrape = f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: configmgr
    static_configs: [{{targets: ["{ADDRESS}"]}}]
"""
    eventually("first results", open_exporter.ready)
    exposed = open_exporter.values("configmgr_endpoint_up")
    (tmp_path / "prometheus.yml").write_text(scrape)
    with prometheus(lab, tmp_path, tmp_path / "prometheus.yml") as server:
        found = eventually("a scrape", lambda: server.query("configmgr_endpoint_up"))
        by_feature = server.query("sum by (feature) (configmgr_feature_ready)")
        quantile = server.query("histogram_quantile(0.9, sum by (le) (configmgr_probe_duration_seconds_bucket))")
        up = server.query('up{job="configmgr"}')
    own = {"__name__", "job", "instance"}
    assert up[0]["value"][1] == "1"
    assert {frozenset((k, v) for k, v in one["metric"].items() if k not in own) for one in found} == set(exposed)
    assert {one["metric"]["feature"] for one in by_feature} == {
        dict(labels)["feature"] for labels in open_exporter.values("configmgr_feature_ready")
    }
    assert 0 < float(quantile[0]["value"][1]) < 10


def test_metrics_pass_promtool_and_come_as_openmetrics_and_compressed(lab: Lab, open_exporter: Exporter) -> None:
    eventually("first results", open_exporter.ready)
    text = open_exporter.get("/metrics").body
    checking = lab.run(["promtool", "check", "metrics"], input=text)
    openmetrics = open_exporter.get("/metrics", "--header", "Accept: application/openmetrics-text; version=1.0.0")
    head = open_exporter.get("/metrics", "--head", "--header", "Accept-Encoding: gzip").body
    compressed = open_exporter.get("/metrics", "--compressed").body
    assert (checking.returncode, checking.stdout + checking.stderr) == (0, "")
    assert openmetrics.body.endswith("# EOF\n")
    assert "content-encoding: gzip" in head.lower()
    assert "configmgr_endpoint_up" in compressed


# ---------------------------------------------------------------- faults


def one_feature(lab: Lab) -> tuple[Counter[str | None], float]:
    begun = time.monotonic()
    report = checked(lab, "--feature", FEATURE)
    return Counter(t["reason"] for t in targets_of(report) if HOST in t["target"]), time.monotonic() - begun


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda lab: lab.reset(HOST), Reason.CONNECT_REFUSED),
        (lambda lab: lab.prohibit(HOST), Reason.CONNECT_UNREACHABLE),
        (lambda lab: lab.dns_missing(HOST), Reason.DNS_NOT_FOUND),
        (lambda lab: lab.dns_servfail(HOST), Reason.DNS_ERROR),
        (lambda lab: lab.certificate(HOST, "expired"), Reason.TLS_EXPIRED),
        (lambda lab: lab.certificate(HOST, "wrong_name"), Reason.TLS_HOSTNAME_MISMATCH),
        (lambda lab: lab.certificate(HOST, "unknown_root"), Reason.TLS_UNTRUSTED),
        (lambda lab: lab.serve(HOST, "return 502;"), Reason.HTTP_STATUS),
        (lambda lab: lab.serve(HOST, "return 451;"), Reason.HTTP_BLOCKED),
        (lambda lab: lab.serve(HOST, "return 444;"), Reason.HTTP_RESET),
    ],
)
def test_a_fault_is_named(lab: Lab, fault: Callable[[Lab], AbstractContextManager[None]], reason: Reason) -> None:
    with fault(lab):
        reasons, _ = one_feature(lab)
    assert reasons == {reason: 1}


def test_a_drop_is_a_timeout_of_the_phase_it_hits(lab: Lab, configured: Callable[[str], Path]) -> None:
    config = configured("probe: {timeout: 1s, attempts: 1}\n")
    with lab.drop(HOST):
        report = checked(lab, "--config.file", config, "--feature", FEATURE)
    dropped = [target for target in targets_of(report) if HOST in target["target"]]
    assert [target["reason"] for target in dropped] == [Reason.CONNECT_TIMEOUT]
    phases = dropped[0]["phases"]
    assert list(phases) == ["resolve", "connect"]
    assert sum(phases.values()) > 0.5  # up to the timeout, less what a busy machine took before


def test_a_silent_resolver_is_a_timeout_of_names(lab: Lab, configured: Callable[[str], Path]) -> None:
    config = configured("probe: {timeout: 1s, attempts: 1}\n")
    with lab.dns_silent():
        report = checked(lab, "--config.file", config, "--feature", FEATURE)
    assert reasons_of(report).keys() == {Reason.DNS_TIMEOUT}


# ---------------------------------------------------------------- proxies


def proxied(url: str, more: str = "") -> str:
    return f"""
site: {{features: [{FEATURE}]}}
proxies:
  corporate:
    url: {url}
{more}
via: {{service-connection-point: corporate}}
"""


def test_a_role_goes_through_its_proxy(lab: Lab, configured: Callable[[str], Path]) -> None:
    before = len(lab.proxy_log())
    report = checked(lab, "--config.file", configured(proxied(lab.proxy_url)))
    secure = [target for target in targets_of(report) if target["target"].startswith("https://")]
    assert report["ready"] is True
    assert all("proxy" in target["phases"] for target in secure)
    eventually("the proxy's log", lambda: len(lab.proxy_log()) - before >= len({t["target"] for t in secure}))


def test_a_proxy_with_a_password_is_passed_with_it_and_only_with_it(
    lab: Lab, configured: Callable[[str], Path], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    account = f"    username: {lab.proxy_credentials.username}\n    password_file: {secret}"
    secret.write_text(lab.proxy_credentials.password)
    right = checked(lab, "--config.file", configured(proxied(lab.auth_proxy_url, account)))
    secret.write_text("wrong")
    wrong = checked(lab, "--config.file", configured(proxied(lab.auth_proxy_url, account)))
    none = checked(lab, "--config.file", configured(proxied(lab.auth_proxy_url)))
    assert reasons_of(right).keys() == {None}
    assert reasons_of(wrong).keys() == {Reason.PROXY_AUTH_REQUIRED}
    assert reasons_of(none).keys() == {Reason.PROXY_AUTH_REQUIRED}


def test_what_the_proxy_excepts_goes_direct(lab: Lab, configured: Callable[[str], Path]) -> None:
    config = configured(proxied("http://127.0.0.1:1", f'    no_proxy: ["{HOST}"]'))
    report = checked(lab, "--config.file", config)
    by_path = {target["target"]: target["reason"] for target in targets_of(report)}
    assert by_path.pop(f"https://{HOST}/") is None
    assert set(by_path.values()) == {Reason.PROXY_UNREACHABLE}


# ---------------------------------------------------------------- for people


def test_the_status_page_leads_to_a_page_of_each_target_with_what_was_seen(open_exporter: Exporter) -> None:
    eventually("first results", open_exporter.ready)
    found = open_exporter.get(f"/?target={HOST}", "--include")
    (link,) = set(re.findall(r'href="(target\?[^"]*)"', found.body))
    target = open_exporter.get(f"/{unescape(link)}").body
    assert found.status == 200
    assert "content-security-policy: default-src 'none'" in found.body.lower()
    assert f'<h1 class="url">https://{HOST}/</h1>' in target
    assert f"<dd>CN={HOST}</dd>" in target
    assert "<dt>issued by</dt><dd>CN=Laboratory Issuing CA</dd>" in target


# ---------------------------------------------------------------- on demand


def test_one_target_of_the_plan_is_probed_on_demand(lab: Lab, open_exporter: Exporter) -> None:
    eventually("first results", open_exporter.ready)

    def moment() -> tuple[Answer, int]:
        """The answer, and how often the host was asked; its turn in the interval may come just then."""
        lab.clear_requests()
        answer = open_exporter.get(f"/probe?target=https://{HOST}/")
        return answer, len(lab.requests(HOST))

    answer, asked = in_a_quiet_moment(moment, lambda seen: seen[1] == 1)
    with lab.reset(HOST):
        down = open_exporter.get(f"/probe?target=https://{HOST}")
    assert answer.status == 200
    assert "\nprobe_success 1.0\n" in answer.body
    assert asked == 1
    assert "\nprobe_success 0.0\n" in down.body
    assert 'reason="connect_refused"' in down.body


def test_the_scraper_s_timeout_bounds_a_probe_on_demand(lab: Lab, open_exporter: Exporter) -> None:
    eventually("first results", open_exporter.ready)
    with lab.drop(HOST):
        answer = open_exporter.get(
            f"/probe?target=https://{HOST}/", "--header", "X-Prometheus-Scrape-Timeout-Seconds: 2"
        )
    (took,) = re.findall(r"^probe_duration_seconds (\S+)$", answer.body, re.MULTILINE)
    assert 'reason="connect_timeout"' in answer.body
    assert float(took) < Probing().timeout / 2  # which it would take otherwise


@pytest.mark.usefixtures("open_exporter")
def test_nothing_outside_the_plan_is_ever_probed(lab: Lab) -> None:
    for target in ("https://portal.corp.example/", "", "file:///etc/passwd", "http://127.0.0.1:10965/", "http://[::1"):
        answer = http(lab, f"http://{ADDRESS}/probe", "--get", "--data-urlencode", f"target={target}")
        assert answer.status in {400, 404}
    assert not lab.requests("portal.corp.example")


# ---------------------------------------------------------------- reload, and the end


PORTAL = """
probe: {interval: 2s, timeout: 500ms}
site: {features: [tenant-attach, deploy-edge%(more)s]}
groups:
  - feature: intranet-portal
    roles: [client]
    endpoints: [{pattern: "https://portal.corp.example/health"}]
"""


def total_of(exporter: Exporter) -> float:
    return sum(exporter.values("configmgr_probes_total", feature=FEATURE).values())


def test_a_reload_under_load_loses_nothing_that_stays(
    lab: Lab, configured: Callable[[str], Path], tmp_path: Path
) -> None:
    config = configured(PORTAL % {"more": ""})
    with running(lab, tmp_path, "--config.file", config) as exporter:
        eventually("first results", exporter.ready)
        counts = []
        for round_ in range(6):
            configured(PORTAL % {"more": ", intranet-portal" if round_ % 2 == 0 else ""})
            assert exporter.get("/-/reload", "--request", "POST").status == 200
            portal = exporter.values("configmgr_probes_total", feature="intranet-portal")
            assert bool(portal) == (round_ % 2 == 0)
            counts.append(total_of(exporter))
        eventually("a probe more", lambda: total_of(exporter) > counts[-1])
        counts.append(total_of(exporter))
        assert exporter.values("configmgr_endpoint_up", feature=FEATURE)
        assert not exporter.values("configmgr_endpoint_up", feature="intranet-portal")
    assert counts == sorted(counts)
    assert counts[-1] > counts[0] > 0


def test_a_bad_file_leaves_the_old_plan_running(lab: Lab, configured: Callable[[str], Path], tmp_path: Path) -> None:
    config = configured("site: {features: [tenant-attach]}\n")
    with running(lab, tmp_path, "--config.file", config) as exporter:
        eventually("first results", exporter.ready)
        before = exporter.values("configmgr_endpoint_up").keys()
        configured("site: {featurs: [tenant-attach]}\n")
        refused = exporter.get("/-/reload", "--request", "POST")
        exporter.process.send_signal(signal.SIGHUP)
        eventually("both refused", lambda: exporter.log.read_text().count("configuration not reloaded") == 2)
        after = exporter.values("configmgr_endpoint_up").keys()
        flag = exporter.values("configmgr_exporter_config_last_reload_successful")
        configured("site: {features: [deploy-edge]}\n")
        exporter.process.send_signal(signal.SIGHUP)
        eventually("the new plan", lambda: exporter.values("configmgr_endpoint_up", feature="deploy-edge"))
        fixed = exporter.values("configmgr_exporter_config_last_reload_successful")
        gone = exporter.values("configmgr_probes_total", feature=FEATURE)
    assert refused.status == 500
    assert f"{config}:1: site.featurs: " in refused.body
    assert "did you mean features?" in refused.body
    assert after == before
    assert set(flag.values()) == {0.0}
    assert set(fixed.values()) == {1.0}
    assert not gone


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_while_probes_hang(lab: Lab, tmp_path: Path, how: signal.Signals) -> None:
    with lab.dns_silent(), running(lab, tmp_path) as exporter:
        eventually(
            "hanging probes",
            lambda: max(exporter.values("configmgr_exporter_probes_in_flight").values()) > 20,
        )
        status = exporter.stop(how)
    assert status == 0, exporter.log.read_text()
    assert "Traceback" not in exporter.log.read_text()
