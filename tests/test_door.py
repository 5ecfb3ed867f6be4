"""Who is let in: by curl, by a real Prometheus, and by those who only hold connections open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import bcrypt
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter import web_config
from exporter.reading.documents import DocumentError
from tests.lab import Lab
from tests.lab.pki import authority, leaf
from tests.running import ADDRESS, Answer, Exporter, eventually, http, program
from tests.running import COMMAND as EXPORTER
from tests.stack import prometheus

HALF_OPEN: Final = """
import contextlib, socket, time
held = []
for _ in range(1000):
    held.append(socket.create_connection(("127.0.0.1", 10965)))
    with contextlib.suppress(OSError):  # closed at once
        held[-1].send(b"GET /metrics HTTP/1.1\\r\\n")
print("held", flush=True)
time.sleep(60)
"""


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def mistakes(directory: Path, text: str) -> list[str]:
    file = directory / "web.yaml"
    file.write_text(text)
    with pytest.raises(DocumentError) as error:
        web_config.load(file)
    return [str(mistake).removeprefix(f"{directory}/") for mistake in error.value.mistakes]


def test_mistakes_are_named_and_no_password_is_shown(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        "basic_auth_users: {alice: hunter2, bob: 4711}\n"
        "tls_server_config: {cert_file: none.crt, key_file: none.key, min_version: TLS10}\n"
        "http_server_config: {headers: {X-Frame: deny}}\n",
    )
    assert "hunter2" not in "".join(told)
    assert "4711" not in "".join(told)
    assert [line.split(": ")[1] for line in told] == [
        "basic_auth_users.alice",
        "basic_auth_users.bob",
        "tls_server_config.min_version",
        "http_server_config.headers.X-Frame",
    ]


def test_certificate_and_key_must_belong_together(tmp_path: Path) -> None:
    root = authority("Root")
    (tmp_path / "a.pem").write_bytes(leaf("a.example", root))
    (tmp_path / "b.pem").write_bytes(leaf("b.example", root))
    (told,) = mistakes(tmp_path, "tls_server_config: {cert_file: a.pem, key_file: b.pem}\n")
    assert told == "web.yaml:1: tls_server_config.cert_file: certificate and key do not belong together"


@pytest.fixture
def locked(lab: Lab, tmp_path: Path) -> Iterator[Exporter]:
    """An exporter that speaks TLS only, to who has a password; little is probed."""
    root = authority("Exporter Root CA")
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "exporter.pem").write_bytes(leaf("localhost", root))
    write(tmp_path, "first")
    argv: list[str | Path] = [
        *EXPORTER,
        "serve",
        "--web.listen-address",
        ADDRESS,
        "--web.config.file",
        tmp_path / "web.yaml",
    ]
    argv += ["--web.disable-reload", "--web.disable-probe", "--role", "cmg-connection-point"]
    log = tmp_path / "exporter.log"
    with program(lab, log, argv) as process:
        exporter = Exporter(lab, process, log)
        eventually("it answers", lambda: "listening" in log.read_text() and ask(exporter, "/-/healthy").status == 200)
        yield exporter


def write(directory: Path, password: str) -> None:
    (directory / "web.yaml").write_text(
        "tls_server_config: {cert_file: exporter.pem, key_file: exporter.pem, min_version: TLS13}\n"
        f"basic_auth_users: {{prometheus: '{hashed(password)}'}}\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )


def ask(exporter: Exporter, path: str, *options: str) -> Answer:
    trust = ("--cacert", str(exporter.log.with_name("root.pem")))
    return http(exporter.lab, f"https://localhost:10965{path}", *trust, *options)


@pytest.mark.lab
def test_only_who_has_the_password_is_let_in_and_it_can_change(locked: Exporter, tmp_path: Path) -> None:
    assert ask(locked, "/-/healthy").status == 200
    assert ask(locked, "/metrics").status == 401
    for user in ("prometheus:wrong", "nobody:first", "prometheus:" + "x" * 100):
        assert ask(locked, "/metrics", "--user", user).status == 401
    right = ask(locked, "/metrics", "--user", "prometheus:first", "--include")
    assert right.status == 200
    assert "x-frame-options: deny" in right.body.lower()
    assert ask(locked, "/probe?target=x", "--user", "prometheus:first").status == 404
    assert ask(locked, "/-/reload", "--user", "prometheus:first", "--request", "POST").status == 404

    write(tmp_path, "second")
    eventually("the new password", lambda: ask(locked, "/metrics", "--user", "prometheus:second").status == 200)
    assert ask(locked, "/metrics", "--user", "prometheus:first").status == 401
    (tmp_path / "web.yaml").write_text("nonsense: true\n")
    eventually("the mistake is told", lambda: "not reloaded" in locked.log.read_text() or ask(locked, "/x").status == 0)
    assert ask(locked, "/metrics", "--user", "prometheus:second").status == 200


@pytest.mark.lab
def test_an_older_tls_and_plain_http_are_turned_away(locked: Exporter) -> None:
    plain = locked.lab.run(["curl", "--silent", "--max-time", "5", f"http://{ADDRESS}/-/healthy"])
    older = locked.lab.run(
        ["curl", "--silent", "--insecure", "--tls-max", "1.2", "--max-time", "5", f"https://{ADDRESS}/-/healthy"]
    )
    assert plain.returncode != 0
    assert older.returncode != 0
    assert "Traceback" not in locked.log.read_text()


@pytest.mark.lab
def test_only_a_client_with_the_right_certificate_is_let_in(locked: Exporter, tmp_path: Path) -> None:
    clients = authority("Clients Root CA")
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    for name in ("prometheus.example", "other.example"):
        (tmp_path / f"{name}.pem").write_bytes(leaf(name, clients, usage=ExtendedKeyUsageOID.CLIENT_AUTH))
    (tmp_path / "web.yaml").write_text(
        "tls_server_config: {cert_file: exporter.pem, key_file: exporter.pem, client_ca_file: clients.pem, "
        "client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [prometheus.example]}\n"
    )

    def status(*options: str) -> int:
        return ask(locked, "/-/healthy", *options).status

    eventually("nobody without a certificate", lambda: status() == 0)
    assert status("--cert", f"{tmp_path}/prometheus.example.pem") == 200
    assert status("--cert", f"{tmp_path}/other.example.pem") == 0


@pytest.mark.lab
def test_prometheus_scrapes_by_tls_with_a_password(locked: Exporter, lab: Lab, tmp_path: Path) -> None:
    config = f"""
scrape_configs:
  - job_name: configmgr
    scrape_interval: 1s
    scheme: https
    tls_config: {{ca_file: {tmp_path / "root.pem"}, server_name: localhost}}
    basic_auth: {{username: prometheus, password: first}}
    static_configs: [{{targets: ["{ADDRESS}"]}}]
"""
    (tmp_path / "prometheus.yml").write_text(config)
    with prometheus(lab, tmp_path, tmp_path / "prometheus.yml") as server:
        up = eventually("a scrape", lambda: server.query("up == 1"), within=20)
    assert len(up) == 1
    assert locked.process.poll() is None


@pytest.mark.lab
def test_a_thousand_half_open_connections_keep_no_other_address_out(locked: Exporter, lab: Lab) -> None:
    with lab.popen([sys.executable, "-I", "-c", HALF_OPEN], stdout=subprocess.PIPE, text=True) as scanner:
        said = scanner.stdout.readline() if scanner.stdout else ""
        held = len(list(Path(f"/proc/{locked.process.pid}/fd").iterdir()))
        other = ask(locked, "/metrics", "--user", "prometheus:first", "--interface", "198.19.0.1")
        scanner.kill()
    assert said == "held\n"
    assert other.status == 200
    assert held < 200
