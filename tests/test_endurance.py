"""The real process on the loopback: a machine that stands still, storms of reloads, files that hang, and its end.

None of these bounds time. What would hold up the end lasts ten minutes, and the end is waited for.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from tests.alone import CONFIG, alone
from tests.issuing import issue, presenting
from tests.running import ACTING, COMMAND, ROOT, eventually
from tests.servers import HOST, head, serving, silent, status

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals that Windows does not have")

PATIENCE: Final = 120.0  # seconds that a busy machine may take for what takes a moment
LONG: Final = "10m"  # what nobody waits for here
THREADS_AT_REST: Final = 2  # the loop's and the log's
UP: Final = "configmgr_endpoint_up"


@dataclass
class Service:
    """The exporter under way, and how to ask it."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def base(self) -> str:
        found = re.search(r"addresses=(\S+)", self.log.read_text())
        return f"http://{found[1]}" if found else ""

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and text."""
        request = urllib.request.Request(self.base + path, method=method)  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - as above
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def values(self, name: str, **labels: str) -> dict[str, float]:
        """By target; the values of series of one name whose labels include these."""
        return {
            sample.labels.get("target", ""): sample.value
            for family in text_string_to_metric_families(self.ask("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def total(self, name: str, **labels: str) -> float:
        samples = (
            sample
            for family in text_string_to_metric_families(self.ask("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        return sum(sample.value for sample in samples)

    def all_up(self) -> bool:
        values = self.values(UP).values()
        return self.ask("/-/ready")[0] == 200 and bool(values) and set(values) == {1.0}

    def stand_still(self, seconds: float) -> None:
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)  # it is what is looked for
        self.process.send_signal(signal.SIGCONT)

    def ends(self, signals: int = 1) -> int:
        """Its status when it has been told to end, so many times."""
        for _ in range(signals):
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        return self.process.wait(PATIENCE)


@contextmanager
def started(directory: Path, settings: Mapping[str, Any], *options: str) -> Iterator[Service]:
    """The exporter as a process, which listens or not yet."""
    write(directory, settings)
    log = directory / "log"
    argv = [
        *COMMAND,
        "serve",
        "--web.listen-address",
        f"{HOST}:0",
        "--config.file",
        str(directory / "e.yaml"),
        *ACTING,
        *options,
    ]
    with log.open("wb") as output, subprocess.Popen(argv, cwd=ROOT, stderr=output) as process:
        try:
            yield Service(process, log)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@contextmanager
def listening(directory: Path, settings: Mapping[str, Any], *options: str) -> Iterator[Service]:
    with started(directory, settings, *options) as service:
        eventually("it listens", lambda: service.base or service.process.poll() is not None, within=PATIENCE)
        assert service.process.poll() is None, service.log.read_text()
        yield service


def write(directory: Path, settings: Mapping[str, Any]) -> None:
    partial = directory / "new"
    partial.write_text(json.dumps(settings))
    partial.replace(directory / "e.yaml")


def probing(urls: Sequence[str], **probe: Any) -> dict[str, Any]:
    """A configuration with these targets."""
    groups = [{"feature": "mine", "roles": ["client"], "endpoints": [{"pattern": url} for url in urls]}]
    return {"site": {"features": ["mine"], "roles": ["client"]}, "probe": probe, "groups": groups}


def urls_at(port: int, number: int) -> list[str]:
    return [f"http://127.0.1.{place % 250 + 1}:{port}/{place}" for place in range(number)]


# ---------------------------------------------------------------- standing still


@pytest.mark.parametrize("attempts", [1, 2])
def test_it_outlives_a_stand_still_after_which_every_target_fails(tmp_path: Path, attempts: int) -> None:
    with ExitStack() as network:
        server = network.enter_context(serving(status(200), host="0.0.0.0"))  # noqa: S104 - the loopback's addresses
        settings = probing(urls_at(server.port, 30), interval="2s", timeout="1s", attempts=attempts)
        with listening(tmp_path, settings) as service:
            eventually("all is up", service.all_up, within=PATIENCE)
            service.process.send_signal(signal.SIGSTOP)
            network.close()
            service.stand_still(3.0)
            eventually("all is down", lambda: set(service.values(UP).values()) == {0.0}, within=PATIENCE)
            missed = service.total("configmgr_exporter_missed_slots_total")
            assert service.ends() == 0
    assert missed > 0
    assert "Traceback" not in service.log.read_text()


def test_a_target_is_not_down_because_the_exporter_stood_still_while_it_asked(tmp_path: Path) -> None:
    """What was asked before is answered by nobody; what is asked again is."""
    asked, goes_on = threading.Event(), threading.Event()

    def talk(connection: socket.socket) -> None:
        if not goes_on.is_set() and slow.is_set():
            asked.set()
            silent(connection)
        else:
            status(200)(connection)

    slow = threading.Event()
    with serving(talk) as server:
        settings = probing([server.url()], interval="5s", timeout="2s", attempts=1)
        with listening(tmp_path, settings) as service:
            eventually("it is up", service.all_up, within=PATIENCE)
            slow.set()
            assert asked.wait(PATIENCE)
            service.process.send_signal(signal.SIGSTOP)
            goes_on.set()
            service.stand_still(6.0)
            name = "configmgr_exporter_first_failures_total"
            eventually("it was asked again", lambda: service.total(name) > 0, within=PATIENCE)
            verdicts = {verdict: service.total(name, verdict=verdict) for verdict in ("refuted", "confirmed")}
            failures = service.total("configmgr_probe_failures_total")
            assert service.ends() == 0
    assert verdicts == {"refuted": 1, "confirmed": 0}
    assert failures == 0


# ---------------------------------------------------------------- overload and reloads


def test_targets_that_hang_beyond_all_room_end_nothing_and_no_other_target_is_down_for_them(tmp_path: Path) -> None:
    with serving(silent, host="0.0.0.0") as hanging, serving(status(200)) as well:  # noqa: S104 - as above
        settings = probing(
            [well.url(), *urls_at(hanging.port, 40)], interval="3s", timeout="1500ms", attempts=2, concurrency=4
        )
        with listening(tmp_path, settings) as service:
            name = "configmgr_exporter_probes_total"
            eventually("two rounds", lambda: service.total(name) > 90, within=PATIENCE)
            up = service.values(UP)
            missed = service.total("configmgr_exporter_missed_slots_total")
            assert service.ends() == 0
    assert {url for url, value in up.items() if value} == {well.url()}
    assert missed > 0


@pytest.mark.usefixtures("uncounted")
def test_a_storm_of_reloads_that_take_proxies_and_targets_away_and_rename_them_ends_nothing(tmp_path: Path) -> None:
    with serving(status(200), host="0.0.0.0") as server:  # noqa: S104 - as above
        urls = urls_at(server.port, 60)
        plain = probing(urls, interval="1s", timeout="500ms", attempts=1)
        proxied = [
            {**plain, "proxies": {name: {"url": server.url(path="")}}, "via": {"client": name}}
            for name in ("corp", "other")
        ]
        fewer = probing(urls[::2], interval="1s", timeout="500ms", attempts=1)
        with listening(tmp_path, plain) as service, ThreadPoolExecutor() as others:
            eventually("all is up", service.all_up, within=PATIENCE)
            answers = []
            for number in range(24):
                write(tmp_path, [plain, proxied[0], proxied[1], fewer][number % 4])
                on_demand = [others.submit(service.ask, f"/probe?target={url}") for url in urls[:4]]
                answers.append(service.ask("/-/reload", "POST"))
                answers += [future.result() for future in on_demand]
            write(tmp_path, plain)
            service.ask("/-/reload", "POST")
            eventually("all is up", service.all_up, within=PATIENCE)
            assert service.ends() == 0
    log = service.log.read_text()
    assert {code for code, _ in answers} <= {200, 404}, [text for code, text in answers if code not in {200, 404}]
    assert "internal_error" not in log
    assert "Traceback" not in log


# ---------------------------------------------------------------- files that hang, and the end


WITH_PASSWORD: Final = {
    **probing(["http://a.example/"], interval=LONG, timeout="1s"),
    "proxies": {"corp": {"url": f"http://{HOST}:9", "username": "svc", "password_file": "pw"}},
    "via": {"client": "corp"},
}


def test_reloads_that_hang_in_a_file_hold_up_neither_scrapes_nor_the_end_and_are_few(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret123")
    with listening(tmp_path, WITH_PASSWORD) as service, ThreadPoolExecutor(8) as others:
        before = threads_of(service.process.pid)
        (tmp_path / "pw").unlink()
        os.mkfifo(tmp_path / "pw")
        service.process.send_signal(signal.SIGHUP)
        waiting = [others.submit(service.ask, "/-/reload", "POST") for _ in range(5)]
        service.process.send_signal(signal.SIGHUP)
        eventually("the file is read", lambda: threads_of(service.process.pid) > before, within=PATIENCE)
        scraped = service.ask("/metrics")[0]
        hanging = threads_of(service.process.pid) - before
        assert not any(future.done() for future in waiting)
        assert service.ends(signals=2) == 0
        answers = [future.result() for future in waiting]
    log = service.log.read_text()
    assert scraped == 200
    assert hanging <= 3  # the one that hangs, and those of scrapes
    assert set(answers) == {(503, "not reloaded: the exporter ends\n")}
    assert "Traceback" not in log


def test_a_file_that_comes_back_is_read_by_the_reload_that_waited_for_it(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret123")
    with listening(tmp_path, WITH_PASSWORD) as service, ThreadPoolExecutor(8) as others:
        (tmp_path / "pw").unlink()
        os.mkfifo(tmp_path / "pw")
        waiting = [others.submit(service.ask, "/-/reload", "POST") for _ in range(5)]
        with opened_by_a_reader(tmp_path / "pw") as written:
            (tmp_path / "pw").unlink()
            (tmp_path / "pw").write_text("secret124")
            written.write(b"secret123")
        answers = [future.result() for future in waiting]
        reloads = service.log.read_text().count("configuration reloaded")
        assert service.ends() == 0
    assert set(answers) == {(200, "reloaded\n")}
    assert reloads <= 2


HASTY: Final = "import exporter.system.reader as reader; reader.READ_WITHIN = 3.0"  # seconds, in place of a minute
USERS: Final = "basic_auth_users: {a: $2b$04$kXMlFMnKSpvqjy8NMIDIwOkk7zWnZ3NDvjnxQsL9j6iPq1ZUi9GBS}\n"


def test_reloads_go_on_once_a_file_no_longer_hangs_however_many_hung_before(tmp_path: Path) -> None:
    write(tmp_path, WITH_PASSWORD)
    (tmp_path / "pw").write_text("secret123")
    with alone(tmp_path, config=(tmp_path / "e.yaml").read_text(), before=HASTY) as service:
        (tmp_path / "pw").unlink()
        os.mkfifo(tmp_path / "pw")
        hung = [service.ask("POST", "/-/reload").text for _ in range(5)]
        (tmp_path / "pw").unlink()
        (tmp_path / "pw").write_text("secret124")
        eventually("it is reloaded", lambda: service.ask("POST", "/-/reload").is_success, within=PATIENCE)
        service.process.send_signal(signal.SIGTERM)
        ended = service.process.wait(PATIENCE)
    assert "could not be read within" in hung[0]
    assert ended == 0


def test_a_web_configuration_that_hangs_holds_up_nothing_and_is_read_once_it_does_not(tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text(USERS)
    with alone(tmp_path, "--web.config.file", str(web), before=HASTY) as service:
        web.unlink()
        os.mkfifo(web)
        service.says("one of them hangs")
        still_locked = service.ask("GET", "/metrics").status_code
        healthy = service.ask("GET", "/-/healthy").status_code
        web.unlink()
        web.write_text(USERS.replace("a:", "b:"))
        service.says("web configuration reloaded")
        service.process.send_signal(signal.SIGTERM)
        ended = service.process.wait(PATIENCE)
    assert (still_locked, healthy, ended) == (401, 200, 0)


# Where a limit or the memory allows no more threads, Python says so in these words; which limit does, is the system's.
THREADLESS: Final = """
import signal, threading

def refused(*_, **__):
    raise RuntimeError("can't start new thread")

start = threading._start_new_thread
signal.signal(signal.SIGUSR1, lambda *_: setattr(threading, "_start_new_thread", refused))
signal.signal(signal.SIGUSR2, lambda *_: setattr(threading, "_start_new_thread", start))
"""


def test_where_no_thread_can_be_started_the_old_plan_runs_on_and_metrics_are_served(tmp_path: Path) -> None:
    with alone(tmp_path, config=CONFIG.replace("1s", LONG), before=THREADLESS) as service:
        pid = service.process.pid
        eventually("first results", lambda: service.ask("GET", "/-/ready").is_success)
        service.process.send_signal(signal.SIGUSR1)
        eventually("no thread is idle", lambda: threads_of(pid) <= THREADS_AT_REST, within=PATIENCE)
        service.process.send_signal(signal.SIGHUP)
        served = [service.ask("GET", path).status_code for path in ("/metrics", "/", "/api/v1/status", "/-/healthy")]
        reloaded = service.ask("POST", "/-/reload")
        loaded = service.value("configmgr_exporter_config_last_reload_successful")
        service.process.send_signal(signal.SIGUSR2)
        again = service.ask("POST", "/-/reload").status_code
        service.process.send_signal(signal.SIGTERM)
        ended = service.process.wait(PATIENCE)
    assert served == [200] * 4
    assert reloaded.status_code == 500
    assert reloaded.text == "not reloaded:\nnothing can be read now: can't start new thread\n"
    assert (loaded, again, ended) == (0.0, 200, 0)


@pytest.mark.parametrize("hanging", ["e.yaml", "pw", "ca.pem", "web.yaml"])
def test_a_file_that_hangs_at_the_start_does_not_hold_up_the_end(tmp_path: Path, hanging: str) -> None:
    (tmp_path / "pw").write_text("secret123")
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    (tmp_path / "web.yaml").write_text(USERS)
    settings = {**WITH_PASSWORD, "tls": {"ca_file": "ca.pem"}}
    options = ("--web.config.file", str(tmp_path / "web.yaml"))
    write(tmp_path, settings)
    (tmp_path / hanging).unlink()
    os.mkfifo(tmp_path / hanging)
    log = tmp_path / "log"
    argv = [*COMMAND, "serve", "--web.listen-address", f"{HOST}:0", "--config.file", str(tmp_path / "e.yaml"), *options]
    with (
        log.open("wb") as output,
        subprocess.Popen(argv, cwd=ROOT, stderr=output) as process,
        opened_by_a_reader(tmp_path / hanging),
    ):
        process.send_signal(signal.SIGHUP)
        code = Service(process, log).ends(signals=2)
    assert code == 0
    assert "Traceback" not in log.read_text()


def opened_by_a_reader(fifo: Path) -> BinaryIO:
    """The other end, once somebody reads it; nothing is said there."""

    def opened() -> BinaryIO | None:
        with suppress(OSError):  # nobody reads it yet
            return os.fdopen(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        return None

    return eventually(f"{fifo.name} is read", opened, within=PATIENCE)


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_a_second_look_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A handshake without a suite in common; whether a client that takes more would agree is then asked in vain."""
    first, second = threading.Lock(), threading.Event()
    context = presenting(issue(HOST), ciphers="AES128-SHA")  # for RSA keys, which it has not
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def talk(connection: socket.socket) -> None:
        if first.acquire(blocking=False):
            context.wrap_socket(connection, server_side=True)
        else:
            second.set()
            silent(connection)

    with serving(talk) as server:
        settings = probing([server.url("https")], interval="1h", timeout=LONG, attempts=1)
        with listening(tmp_path, settings) as service:
            assert second.wait(PATIENCE)
            code = service.ends()
    assert code == 0


def test_probes_that_hang_do_not_hold_up_the_end(tmp_path: Path) -> None:
    asked = threading.Semaphore(0)

    def talk(connection: socket.socket) -> None:
        head(connection)
        asked.release()
        silent(connection)

    with serving(talk, host="0.0.0.0") as server:  # noqa: S104 - as above
        settings = probing(urls_at(server.port, 100), interval="1h", timeout=LONG)
        with listening(tmp_path, settings) as service, ThreadPoolExecutor() as others:
            on_demand = others.submit(service.ask, f"/probe?target={urls_at(server.port, 1)[0]}")
            for _ in range(70):
                assert asked.acquire(timeout=PATIENCE)
            assert service.ends(signals=3) == 0
            assert isinstance(on_demand.exception(), OSError)  # hung up on
