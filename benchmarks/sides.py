"""Both sides on the same targets: this exporter on its timer, and blackbox_exporter driven by Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme
import yaml

from benchmarks.machine import OTHERS, PROBER, cpu_seconds
from tests.lab import Lab
from tests.running import ADDRESS, COMMAND, Exporter, eventually, http, program
from tests.stack import Server

BLACKBOX: Final = "127.0.0.1:9115"
TLS_PORT: Final = 8443  # of the server that knows the truth; the next one is plain HTTP
TIMEOUT: Final = "8s"
FEATURE: Final = "benchmark"


@dataclass(frozen=True)
class Label:
    """One label set that somebody watches, and the target behind it."""

    url: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Programs:
    """The processes of one side: the prober, and the Prometheus that scrapes or drives it."""

    prober: int
    prometheus: int
    server: Server

    def cpu(self) -> float:
        """CPU seconds of both so far."""
        return cpu_seconds(self.prober) + cpu_seconds(self.prometheus)


# ---------------------------------------------------------------- the server that knows the truth


@dataclass(frozen=True)
class Truth:
    """The running server: what it delayed, and what that came to."""

    ca_file: Path
    log: Path

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """What it noted of each path, in order of time."""
        found: dict[str, list[dict[str, Any]]] = {}
        for line in self.log.read_text().splitlines():
            record = json.loads(line)
            found.setdefault(record["path"], []).append(record)
        return found


@contextmanager
def truth(lab: Lab, directory: Path, **delays: float) -> Iterator[Truth]:
    """Serve with these delays (tls, answer, body; seconds) until the block ends."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert("127.0.0.1", "*.bench.example", key_type=trustme.KeyType.ECDSA)
    ca_file, certificate, log = directory / "ca.pem", directory / "leaf.pem", directory / "truth.jsonl"
    authority.cert_pem.write_to_path(str(ca_file))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(certificate))
    argv = [*OTHERS, COMMAND[0], "-m", "benchmarks.truth", "--port", str(TLS_PORT)]
    argv += ["--certificate", str(certificate), "--log", str(log)]
    argv += [part for name, seconds in delays.items() for part in (f"--{name}", str(seconds))]
    with program(lab, directory / "truth.log", argv):
        listening = f"http://127.0.0.1:{TLS_PORT + 1}/"
        eventually("the server answers", lambda: http(lab, listening).status == 200)
        yield Truth(ca_file, log)


def numbered(count: int, *, scheme: str = "https", host: str = "127.0.0.1") -> list[Label]:
    """As many targets at the server that knows the truth, each with its own path; `{}` in the host is the number."""
    port = TLS_PORT if scheme == "https" else TLS_PORT + 1
    return [Label(f"{scheme}://{host.format(number)}:{port}/{number}", {}) for number in range(count)]


# ---------------------------------------------------------------- the two sides


def exporter_config(targets: Iterable[Label], interval: float, ca_file: Path) -> str:
    """A configuration that probes these and nothing else."""
    return json.dumps(  # which is YAML, and read in no time
        {
            "site": {"features": [FEATURE], "roles": ["client"]},
            "probe": {"interval": f"{interval * 1000:.0f}ms", "timeout": _timeout(interval), "attempts": 1},
            "tls": {"ca_file": str(ca_file)},
            "groups": [
                {
                    "feature": FEATURE,
                    "title": "Benchmark",
                    "docs": "https://www.example/",
                    "roles": ["client"],
                    "endpoints": [{"pattern": target.url} for target in targets],
                }
            ],
        }
    )


def _timeout(interval: float) -> str:
    return f"{min(interval * 900, 8000):.0f}ms"


@contextmanager
def ours(lab: Lab, directory: Path, config: str, scrape: float) -> Iterator[tuple[Exporter, Programs]]:
    """The exporter on its core, scraped by a Prometheus every so many seconds; inside, it has all first results."""
    path = directory / "exporter.yaml"
    path.write_text(config)
    argv = [*PROBER, *COMMAND, "serve", "--web.listen-address", ADDRESS, "--config.file", str(path)]
    job = {"job_name": "exporter", "static_configs": [{"targets": [ADDRESS]}]}
    with ExitStack() as stack:
        process = stack.enter_context(program(lab, directory / "exporter.log", argv))
        exporter = Exporter(lab, process, directory / "exporter.log")
        eventually("the exporter answers", lambda: exporter.get("/-/healthy").status == 200, within=30)
        server, prometheus = stack.enter_context(_prometheus(lab, directory, job, scrape))
        eventually("first results", exporter.ready, within=120)
        yield exporter, Programs(process.pid, prometheus, server)


@contextmanager
def blackbox(lab: Lab, directory: Path, ca_file: Path) -> Iterator[int]:
    """The blackbox_exporter on its core; gives its process."""
    module = {
        "prober": "http",
        "timeout": TIMEOUT,
        # The same verdict as ours on the laboratory's answers, and no more work than that.
        "http": {
            "preferred_ip_protocol": "ip4",
            "follow_redirects": False,
            "tls_config": {"ca_file": str(ca_file)},
        },
    }
    (directory / "blackbox.yml").write_text(yaml.safe_dump({"modules": {"probe": module}}))
    argv = [*PROBER, "prometheus-blackbox-exporter", f"--config.file={directory / 'blackbox.yml'}"]
    argv += [f"--web.listen-address={BLACKBOX}", "--log.level=error"]
    with program(lab, directory / "blackbox.log", argv) as process:
        healthy = f"http://{BLACKBOX}/-/healthy"
        eventually("blackbox_exporter answers", lambda: http(lab, healthy).status == 200)
        yield process.pid


@contextmanager
def theirs(lab: Lab, directory: Path, targets: Sequence[Label], interval: float, ca_file: Path) -> Iterator[Programs]:
    """The blackbox_exporter, asked by a Prometheus for each target; inside, it has all first results."""
    (directory / "targets.json").write_text(
        json.dumps([{"targets": [target.url], "labels": dict(target.labels)} for target in targets])
    )
    job = {
        "job_name": "blackbox",
        "metrics_path": "/probe",
        "params": {"module": ["probe"]},
        "file_sd_configs": [{"files": [str(directory / "targets.json")]}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__address__"], "target_label": "target"},
            {"target_label": "__address__", "replacement": BLACKBOX},
        ],
    }
    with ExitStack() as stack:
        prober = stack.enter_context(blackbox(lab, directory, ca_file))
        server, prometheus = stack.enter_context(_prometheus(lab, directory, job, interval))

        def complete() -> bool:
            found = server.query("count(probe_success)")
            return bool(found) and float(found[0]["value"][1]) >= len(targets)

        eventually("first results", complete, within=120)
        yield Programs(prober, prometheus, server)


@contextmanager
def _prometheus(lab: Lab, directory: Path, job: Mapping[str, Any], scrape: float) -> Iterator[tuple[Server, int]]:
    interval = f"{scrape * 1000:.0f}ms"
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [dict(job)],
    }
    path = directory / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    argv = [*OTHERS, "prometheus", f"--config.file={path}", "--web.listen-address=127.0.0.1:9090"]
    argv += [f"--storage.tsdb.path={directory / f'tsdb-{time.monotonic_ns()}'}", "--log.level=error"]
    with program(lab, directory / "prometheus.log", argv) as process:
        ready = "http://127.0.0.1:9090/-/ready"
        eventually("Prometheus is ready", lambda: http(lab, ready).status == 200, within=20)
        yield Server(lab, 9090), process.pid
