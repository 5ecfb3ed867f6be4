"""What befalls the exporter itself: no descriptors, little memory, a clock that jumps, a hanging resolver, a kill."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from exporter.config.documents import Unreadable
from exporter.model.vocabulary import Reason, TlsSettings
from exporter.probe.net import verifying
from exporter.service.load import Source, deploy, network_of, required_roots_of
from exporter.system.descriptors import RESERVE
from tests.lab import Lab
from tests.lab.wall_clock import wall_clock
from tests.running import ACTING, ADDRESS, COMMAND, Exporter, eventually, http, program, running
from tests.stack import prometheus

pytestmark = [pytest.mark.lab, pytest.mark.timing]

HOST: Final = "dc.services.visualstudio.com"
FEW: Final = """
probe: {interval: 2s, timeout: 2s, attempts: 1}
site: {features: [tenant-attach, deploy-edge]}
"""
INTERVAL: Final = 2.0  # seconds, of FEW
UP: Final = "configmgr_endpoint_up"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A configuration with some targets, each probed every two seconds."""
    path = tmp_path / "exporter.yaml"
    path.write_text(FEW)
    return path


def reasons(exporter: Exporter) -> set[str]:
    return {dict(labels)["reason"] for labels in exporter.values("configmgr_endpoint_failure")}


def all_up(exporter: Exporter) -> bool:
    return set(exporter.values(UP).values()) == {1.0}


def slots(exporter: Exporter) -> float:
    """How many places in the interval have come so far, whether or not there was a probe."""
    return total(exporter, "configmgr_exporter_probes_total") + total(exporter, "configmgr_exporter_missed_slots_total")


def total(exporter: Exporter, name: str, **labels: str) -> float:
    return sum(exporter.values(name, **labels).values())


def status(pid: int, key: str) -> int:
    """A number from what the kernel says of a process."""
    found = re.search(rf"^{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


# ---------------------------------------------------------------- descriptors


def test_out_of_descriptors_probes_fail_by_name_and_serving_goes_on(lab: Lab, tmp_path: Path, few: Path) -> None:
    with running(lab, tmp_path, "--config.file", few) as exporter:
        eventually("all is well", lambda: exporter.ready() and all_up(exporter))
        pid = exporter.process.pid
        raised = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (RESERVE + 5, raised[1]))  # more than 5 are in use at any time
        eventually("no probe can open anything", lambda: not any(exporter.values(UP).values()))
        told = reasons(exporter)
        crowd = lab.run(["curl", "--silent", "--fail", "--parallel", *[f"http://{ADDRESS}/metrics"] * 10])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, raised)
        eventually("all is well again", lambda: all_up(exporter))
    log = exporter.log.read_text()
    assert raised[0] == raised[1]
    assert told == {Reason.INTERNAL_ERROR}
    assert crowd.returncode == 0
    assert "Too many open files" in log
    assert "no connection can be accepted" not in log


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process may open nothing until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_reload_that_runs_out_of_descriptors_midway_fails_as_one_and_trusts_no_less() -> None:
    deployment = deploy(Source())
    network = network_of(deployment)
    trusted = required_roots_of(network)
    with no_descriptors():
        with pytest.raises(OSError, match="Too many open files"):
            verifying(TlsSettings())
        with pytest.raises(Unreadable, match="cannot be read: Too many open files"):
            network_of(deployment)
        with pytest.raises(Unreadable, match="cannot be read: Too many open files"):
            required_roots_of(network)
    assert required_roots_of(network_of(deployment)) == trusted


# ---------------------------------------------------------------- memory


GROUPS: Final = Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(megabytes: int) -> Iterator[Path]:
    """A control group in which a process may use so much: of version 2 where that controls memory, else of 1."""
    controls = GROUPS / "cgroup.subtree_control"
    unified = controls.exists() and "memory" in controls.read_text()
    group = (GROUPS if unified else GROUPS / "memory") / f"exporter-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(megabytes << 20))
        yield group
    finally:
        eventually("nobody is left in the group", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def peak(group: Path) -> float:
    """The most that a control group used, in megabytes."""
    file = next(group / name for name in ("memory.peak", "memory.max_usage_in_bytes") if (group / name).exists())
    return int(file.read_text()) / 2**20


WHOLE: Final = """
probe: {interval: 4s, timeout: 2s}
site:
  clouds: [azure-public, azure-us-government]
  statuses: [active, deprecated, retired]
  parameters:
    cloud_service_name: granitefalls
    azure_region: westus
    child_site_sup_fqdn: sup1.corp.example
    parent_site_sup_fqdn: sup0.corp.example
"""


def test_the_whole_catalogue_fits_into_128_megabytes(lab: Lab, tmp_path: Path, figure: Callable[[str], None]) -> None:
    config, log = tmp_path / "exporter.yaml", tmp_path / "exporter.log"
    config.write_text(WHOLE)
    argv: list[str | Path] = [*COMMAND, "serve", "--web.listen-address", ADDRESS, *ACTING, "--config.file", config]
    with memory_limit(128) as group:
        with program(lab, log, argv) as process:
            (group / "cgroup.procs").write_text(str(process.pid))  # before Python has begun
            exporter = Exporter(lab, process, log)
            eventually("first results", exporter.ready)
            for _ in range(5):
                assert http(lab, f"http://{ADDRESS}/metrics").status == 200
            assert exporter.get("/-/reload", "--request", "POST").status == 200
            assert exporter.get("/").status == 200
            shown = len(exporter.series())
            assert process.poll() is None, log.read_text()
            resident = status(process.pid, "VmHWM") / 1024
        used = peak(group)
    figure(f"128 MiB, whole catalogue ({shown} series): peak {used:.0f} MiB in the group, {resident:.0f} MiB resident")
    assert "Traceback" not in log.read_text()


# ---------------------------------------------------------------- the clock


def test_a_clock_that_jumps_moves_no_probe(lab: Lab, tmp_path: Path, few: Path) -> None:
    log, rounds = tmp_path / "exporter.log", dict[float, float]()
    with wall_clock(tmp_path) as (living_by_it, move):
        argv = [*living_by_it, *COMMAND, "serve", "--web.listen-address", ADDRESS, "--config.file", few]
        with program(lab, log, argv) as process:
            exporter = Exporter(lab, process, log)
            eventually("all is well", lambda: exporter.ready() and all_up(exporter))
            told_before = {dict(labels)["target"] for labels in exporter.values(UP)}
            for hours in (6, -6):
                move(hours * 3600)
                begun, before = time.monotonic(), slots(exporter)
                eventually("rounds", lambda: slots(exporter) >= before + 3 * len(told_before))  # noqa: B023
                rounds[hours] = (slots(exporter) - before) * INTERVAL / (time.monotonic() - begun)
                told = exporter.values("configmgr_endpoint_last_probe_timestamp_seconds").values()
                ages = [time.time() + hours * 3600 - stamp for stamp in told]
                assert min(ages) >= 0
                assert max(ages) < 600
                eventually("all is well", lambda: all_up(exporter))
            targets = len({dict(labels)["target"] for labels in exporter.values(UP)})
    assert rounds == pytest.approx(dict.fromkeys(rounds, targets), rel=0.5)


# ---------------------------------------------------------------- the resolver

NAMELESS: Final = "sup0.corp.example"
NAMES: Final = 30
HANGS: Final = f"""
probe: {{interval: 1s, timeout: 500ms, attempts: 1}}
site: {{features: [hanging, well], roles: [client]}}
groups:
  - feature: hanging
    endpoints: [{", ".join(f"{{pattern: n{number}.{NAMELESS}}}" for number in range(NAMES))}]
  - feature: well
    endpoints: [{{pattern: "http://localhost:10965/-/healthy"}}, {{pattern: {HOST}}}]
"""
PATIENCE: Final = "RES_OPTIONS=timeout:30 attempts:5"  # of the C library: two minutes and a half


def test_a_resolver_that_hangs_for_minutes_holds_up_nobody_and_gets_no_thread_for_each_probe(
    lab: Lab, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    config, log = tmp_path / "exporter.yaml", tmp_path / "exporter.log"
    config.write_text(HANGS)
    argv: list[str | Path] = ["env", PATIENCE, *COMMAND, "serve", "--web.listen-address", ADDRESS]
    argv += ["--config.file", config]
    with lab.dns_silent(NAMELESS), program(lab, log, argv) as process:
        exporter = Exporter(lab, process, log)
        eventually("first results", exporter.ready)
        begun = slots(exporter)
        eventually("three rounds", lambda: slots(exporter) - begun > 3 * (NAMES + 2))
        threads = status(process.pid, "Threads")
        hanging, well = reasons(exporter), exporter.values(UP, feature="well")
        code = exporter.stop()
    figure(f"{NAMES} names whose resolver hangs, four rounds: {threads} threads")
    assert threads < 2 * NAMES + 20
    assert hanging == {Reason.DNS_TIMEOUT}
    assert set(well.values()) == {1.0}
    assert code == 0


# ---------------------------------------------------------------- its end

SCRAPE: Final = f"""
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs: [{{job_name: configmgr, static_configs: [{{targets: ["{ADDRESS}"]}}]}}]
"""


def test_killed_and_restarted_it_shows_prometheus_one_restart_and_no_wrong_value(
    lab: Lab, tmp_path: Path, few: Path
) -> None:
    (tmp_path / "prometheus.yml").write_text(SCRAPE)
    with prometheus(lab, tmp_path, tmp_path / "prometheus.yml") as watcher:

        def shown(expression: str) -> set[float]:
            return {float(row["value"][1]) for row in watcher.query(expression)}

        for _ in range(2):
            with running(lab, tmp_path, "--config.file", few) as exporter:
                eventually("all is well", lambda: exporter.ready() and all_up(exporter))
                everything = {float(len(exporter.values(UP)))}
                eventually("Prometheus has it all", lambda: shown(f"count({UP})") == everything)  # noqa: B023
                exporter.stop(signal.SIGKILL)
            eventually("Prometheus misses it", lambda: shown("up") == {0})
        assert shown("changes(process_start_time_seconds[5m])") == {1}
        assert shown("resets(configmgr_exporter_probes_total[5m])") == {1}
        assert shown(f"min_over_time({UP}[5m])") == {1}
        assert shown("min_over_time(configmgr_feature_ready[5m])") == {1}
        assert shown("min_over_time(configmgr_path_up[5m])") == {1}
        assert shown("max_over_time(configmgr_probe_failures_total[5m])") == set()
