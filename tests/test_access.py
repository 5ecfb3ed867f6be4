"""Who is let in: by curl, by a real Prometheus, and by those who only hold connections open."""

from __future__ import annotations

import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import anyio
import bcrypt
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.responses import PlainTextResponse
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config import web as web_config
from exporter.config.documents import DocumentError
from exporter.config.web import WebConfig
from exporter.service.exporter import Exporter as RunningExporter
from exporter.service.load import Source, deploy, network_of
from exporter.web.access import LONGEST_BODY, LONGEST_HEAD, PROBE, PROBES_AT_ONCE, RELOAD, Credentials, Policy
from exporter.web.callers import Names
from exporter.web.connections import (
    ANSWER_WITHIN,
    CONNECTIONS,
    CONNECTIONS_OF_ONE_ORIGIN,
    HANDSHAKE_WITHIN,
    HEAD_WITHIN,
)
from exporter.web.routes import create_app
from tests.attacks.web import (
    PROMETHEUS,
    STRANGER,
    basic,
    by_a_name_of_theirs,
    from_another_site,
    request,
    scrape,
    wrong_passwords,
)
from tests.lab import Lab
from tests.lab.pki import Shape, authority, leaf
from tests.running import ADDRESS, ROOT, Answer, Exporter, eventually, http, program
from tests.running import COMMAND as EXPORTER
from tests.stack import prometheus
from tests.web_server import LOOPS, Serving, read, serving

# From forty addresses, each with more than one address may have; half of them say something.
HALF_OPEN: Final = """
import contextlib, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for number in range(2800):
    with contextlib.suppress(OSError):  # closed at once
        held.append(socket.create_connection(("127.0.0.1", 10965), source_address=(f"127.0.1.{number % 40 + 1}", 0)))
        if number % 2:
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


def test_a_file_that_only_this_machine_lacks_is_no_mistake_of_the_web_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(leaf("a.example", authority("Root")))
    (tmp_path / "empty.pem").touch()
    file = tmp_path / "web.yaml"
    tls = "tls_server_config: {{cert_file: a.pem, key_file: {}, client_auth_type: {}, client_ca_file: {}}}\n"
    wanted = "RequireAndVerifyClientCert"
    file.write_text(tls.format("none.key", wanted, "none.pem"))
    lacking = web_config.examine(file)
    file.write_text(tls.format("none.key", wanted, "empty.pem"))
    with pytest.raises(DocumentError) as raised:
        web_config.examine(file)
    asked = ["validate", "--web.config.file", str(file)]
    refused = CliRunner().invoke(app, asked)
    file.write_text(tls.format("none.key", wanted, "none.pem"))
    told = CliRunner().invoke(app, asked)
    assert [mistake.place[-1] for mistake in lacking] == ["key_file", "client_ca_file"]
    assert all("put it there" in mistake.message for mistake in lacking)
    assert [mistake.local for mistake in raised.value.mistakes] == [True, False]
    assert str(refused.exception) == str(raised.value)
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, f"{file}: ok")
    assert told.stderr.splitlines() == [
        "Right as it is written, but `serve` refuses it on this machine:",
        *map(str, lacking),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "{}\n", "tls_server_config:\nbasic_auth_users: {}\n", "http_server_config: {http2: false}\n"],
)
def test_a_file_that_locks_nothing_is_refused(text: str, tmp_path: Path) -> None:
    (told,) = mistakes(tmp_path, text)
    assert told == (
        "web.yaml:1: the file asks for neither TLS nor a password, so everybody would be let in; give "
        "tls_server_config or basic_auth_users, or leave --web.config.file out"
    )


def test_tls_1_2_is_never_spoken_with_suites_that_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(leaf("a.example", authority("Root")))
    tls = "tls_server_config: {cert_file: a.pem, key_file: a.pem, cipher_suites: [%s]%s}\n"
    new, old = "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    (told,) = mistakes(tmp_path, tls % (new, ""))
    (tmp_path / "web.yaml").write_text(tls % (f"{new}, {old}", ""))
    both = web_config.load(tmp_path / "web.yaml").tls
    (tmp_path / "web.yaml").write_text(tls % (new, ", min_version: TLS13"))
    only = web_config.load(tmp_path / "web.yaml").tls
    assert told.split(": ", 2)[1:] == [
        "tls_server_config.cipher_suites",
        "names none of TLS 1.2; add one, or set min_version to TLS13",
    ]
    assert both
    assert [c["name"] for c in both.get_ciphers() if c["protocol"] == "TLSv1.2"] == ["ECDHE-RSA-AES128-GCM-SHA256"]
    assert only
    assert only.minimum_version is ssl.TLSVersion.TLSv1_3


def test_what_a_new_file_names_is_watched_also_while_it_is_not_there(tmp_path: Path) -> None:
    file, root = tmp_path / "web.yaml", authority("Root")
    file.write_text(f"basic_auth_users: {{a: '{hashed('a')}'}}\n")
    credentials = Credentials(file)

    def looked() -> WebConfig:
        anyio.run(credentials.look)
        return credentials.config

    file.write_text("tls_server_config: {cert_file: new.pem, key_file: new.pem}\n")
    kept = looked()
    (tmp_path / "new.pem").write_bytes(leaf("a.example", root))
    taken = looked().tls
    (tmp_path / "new.pem").write_bytes(leaf("b.example", root))
    assert kept.users
    assert taken
    assert looked().tls not in {None, taken}


PAGE: Final = (ROOT / "docs/tls-and-authentication.md").read_text(encoding="utf-8")


def test_the_documented_web_config_file_demands_tls_a_certificate_and_a_password(tmp_path: Path) -> None:
    root = authority("Root")
    (tmp_path / "web.yaml").write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "clients.pem").write_bytes(root.pem)
    (tmp_path / "exporter.crt").write_bytes(pair := leaf("exporter.example", root))
    (tmp_path / "exporter.key").write_bytes(pair)
    config = web_config.load(tmp_path / "web.yaml")
    assert config.demands == {"tls": True, "client_certificate": True, "password": True}


def test_every_limit_is_documented() -> None:
    words = " ".join(PAGE.split())
    assert f"may have {CONNECTIONS_OF_ONE_ORIGIN} connections at a time, and all together {CONNECTIONS};" in words
    assert f"head may have {LONGEST_HEAD >> 10} KiB and a body {LONGEST_BODY >> 10} KiB" in words
    assert (HANDSHAKE_WITHIN, HEAD_WITHIN, ANSWER_WITHIN, PROBES_AT_ONCE) == (5, 10, 300, 8)  # in words there


SEVENTY_TWO: Final = "0123456789" * 7 + "xy"


@pytest.mark.parametrize(
    ("credentials", "status"),
    [
        (f"a:{SEVENTY_TWO}", 200),
        (f"a:{SEVENTY_TWO}, of which bcrypt reads the first 72 bytes", 200),
        (f"a:{SEVENTY_TWO[:-1]}", 401),
        (f"b:{SEVENTY_TWO}", 401),
        ("a:" + "x" * 5000, 401),
        ("pässwörd:ключ", 200),
        ("a:nul\0", 401),
        ("a:", 401),
        ("no colon", 401),
        ("", 401),
    ],
)
def test_a_password_fits_here_where_it_fits_other_exporters(credentials: str, status: int, guarded: Serving) -> None:
    told = b64encode(credentials.encode()).decode()
    assert guarded.answer(f"Authorization: Basic {told}") == status


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", "Bearer x", "basic\tYTph", "\xff"])
def test_who_says_no_name_and_password_is_not_let_in(header: str, guarded: Serving) -> None:
    assert guarded.answer(f"Authorization: {header}") == 401


@pytest.mark.parametrize(("path", "status"), [("/-/healthy", 200), ("/-/ready", 200), ("/-/ready/", 401), ("/", 401)])
def test_only_health_is_told_without_a_password(path: str, status: int, guarded: Serving) -> None:
    assert guarded.answer(path=path) == status


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Asks for a password, and answers everything with 200."""
    file = tmp_path_factory.mktemp("access") / "web.yaml"
    file.write_text(f"basic_auth_users: {{a: '{hashed(SEVENTY_TWO)}', pässwörd: '{hashed('ключ')}'}}\n")
    with serving(PlainTextResponse("in\n"), file) as found:
        yield found


# ---------------------------------------------------------------- what acts


PATIENCE: Final = 60.0  # seconds that a busy machine may take for what takes a moment
ANSWERS: Final = PlainTextResponse("in\n")
ACTING: Final = [("POST", RELOAD, "--web.enable-lifecycle"), ("GET", f"{PROBE}?target=x", "--web.enable-probe")]


def status_of(answered: bytes) -> int:
    return int(answered.split()[1])


@pytest.mark.parametrize(("method", "path", "option"), ACTING)
def test_what_acts_is_closed_unless_it_is_opened(method: str, path: str, option: str) -> None:
    with serving(ANSWERS, policy=Policy()) as found:
        answered = found.said(request(path, method=method))
        assert status_of(found.said(request("/"))) == 200
    assert status_of(answered) == 403
    assert option.encode() in answered
    with serving(ANSWERS, policy=Policy(opened=frozenset({path.partition("?")[0]}))) as found:
        assert status_of(found.said(request(path, method=method))) == 200


@pytest.mark.parametrize(("method", "path", "option"), ACTING)
def test_what_acts_is_open_to_who_shows_a_password(method: str, path: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(f"basic_auth_users: {{a: '{hashed('right')}'}}\n")
    with serving(ANSWERS, tmp_path / "web.yaml", Policy()) as found:
        assert found.answer(basic("a", "right"), path=path, method=method) == 200, option
        assert found.answer(basic("a", "wrong"), path=path, method=method) == 401
        assert found.answer(path=path, method=method) == 401


@pytest.mark.parametrize(
    ("asked", "status"), [("client_auth_type: RequireAndVerifyClientCert, client_ca_file: root.pem", 200), ("", 403)]
)
def test_what_acts_is_open_to_who_shows_a_certificate(asked: str, status: int, tmp_path: Path) -> None:
    root = authority("Root")
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "a.pem").write_bytes(leaf("localhost", root))
    (tmp_path / "c.pem").write_bytes(leaf("c.example", root, shape=Shape(usage=ExtendedKeyUsageOID.CLIENT_AUTH)))
    (tmp_path / "web.yaml").write_text(f"tls_server_config: {{cert_file: a.pem, key_file: a.pem, {asked}}}\n")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    trusting.load_cert_chain(tmp_path / "c.pem")
    with serving(ANSWERS, tmp_path / "web.yaml", Policy()) as found, found.secure(trusting) as connection:
        connection.sendall(request(RELOAD, "Connection: close", method="POST"))
        assert status_of(read(connection)) == status


@pytest.mark.parametrize("loop", LOOPS)
def test_no_page_of_another_site_has_a_browser_act(loop: str, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(f"basic_auth_users: {{a: '{hashed('right')}'}}\n")
    with serving(ANSWERS, loop=loop) as found:
        open_to_all = from_another_site(found.address)
        assert found.answer("Sec-Fetch-Site: same-origin", "Origin: http://x", path=RELOAD, method="POST") == 200
        assert found.answer("Sec-Fetch-Site: cross-site", path="/") == 200  # a link to it
    with serving(ANSWERS, tmp_path / "web.yaml", loop=loop) as found:
        with_a_password = from_another_site(found.address, basic("a", "right"))  # which a browser remembers
    assert set(open_to_all.values()) == set(with_a_password.values()) == {403}


@pytest.mark.parametrize("loop", LOOPS)
def test_no_page_reads_anything_by_a_name_that_it_had_lead_here(loop: str, tmp_path: Path) -> None:
    with serving(ANSWERS, loop=loop) as found:
        assert set(by_a_name_of_theirs(found.address).values()) == {403}
        refused = found.said(request("/").replace(b"Host: x", b"Host: evil.example"))
        health = found.said(request("/-/healthy").replace(b"Host: x", b"Host: evil.example"))
    assert b"--web.allowed-hosts" in refused
    assert status_of(health) == 200
    with serving(ANSWERS, policy=Policy(names=Names(["evil.example"]))) as found:
        assert set(by_a_name_of_theirs(found.address).values()) == {200}
    (tmp_path / "web.yaml").write_text(f"basic_auth_users: {{a: '{hashed('right')}'}}\n")
    with serving(ANSWERS, tmp_path / "web.yaml") as found:  # which no browser shows under another name
        assert set(by_a_name_of_theirs(found.address).values()) == {401}


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("/"), 200),
        (request("/-/healthy"), 200),
        (b"nonsense\r\n\r\n", 400),
        (request("/", "Transfer-Encoding: chunked", method="HEAD") + b"zz\r\n\r\n", 400),
        (request("/", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 411),
        (request("/", f"Content-Length: {LONGEST_BODY + 1}"), 413),
        (request("/" + "a" * LONGEST_HEAD), 431),
        (request("/-/reload", "Origin: https://evil.example", method="POST"), 403),
        (request("/x", basic("a", "wrong")), 200),
    ],
)
def test_every_answer_says_what_may_be_made_of_it(asked: bytes, status: int) -> None:
    with serving(ANSWERS) as found:
        answered = found.said(asked).lower()
    assert status_of(answered) == status
    assert b"\r\nx-content-type-options: nosniff\r\n" in answered
    assert b"\r\ncache-control: no-store\r\n" in answered


def test_an_answers_own_headers_stay_and_those_of_the_file_win(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(
        "http_server_config: {headers: {X-Frame-Options: sameorigin, Content-Security-Policy: ''}}\n"
    )
    page = PlainTextResponse("in\n", headers={"Cache-Control": "no-cache", "Content-Security-Policy": "strict"})
    with serving(page, tmp_path / "web.yaml") as found:
        answered = found.said(request("/")).lower()
    assert b"\r\ncache-control: no-cache\r\n" in answered
    assert b"\r\ncontent-security-policy: strict\r\n" in answered  # an empty value is none
    assert b"\r\nx-frame-options: sameorigin\r\n" in answered
    assert answered.count(b"cache-control") == answered.count(b"nosniff") == 1


@pytest.mark.parametrize("path", ["/metrics/", "//evil.example/", "/api/v1/status/", "/runbooks", "/target/"])
def test_nobody_is_led_to_the_host_that_a_request_names(path: str) -> None:
    source = Source()
    deployment = deploy(source)
    app = create_app(RunningExporter(source, deployment, network_of(deployment)))
    with serving(app, policy=Policy(names=Names(["*"]))) as found:
        answered = found.said(request(path).replace(b"Host: x", b"Host: evil.example"))
    assert status_of(answered) == (307 if path == "/runbooks" else 404)
    assert b"evil" not in answered


# ---------------------------------------------------------------- passwords under attack


@pytest.mark.parametrize("loop", LOOPS)
def test_wrong_passwords_without_end_keep_prometheus_out_at_no_time(loop: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(f"basic_auth_users: {{prometheus: '{bcrypt.hashpw(b'right', bcrypt.gensalt(10)).decode()}'}}\n")
    with serving(ANSWERS, file, loop=loop) as found, ThreadPoolExecutor() as stranger:
        trying = stranger.submit(wrong_passwords, found.address, 150, PROMETHEUS)
        elsewhere = stranger.submit(wrong_passwords, found.address, 150, STRANGER)
        unknown = scrape(found.address, basic("prometheus", "right"), source="127.0.0.3", within=PATIENCE)
        known = [scrape(found.address, basic("prometheus", "right"), within=PATIENCE).status for _ in range(20)]
        answers = trying.result() + elsewhere.result()
    assert unknown.status == 200
    assert known == [200] * 20
    assert set(answers) <= {401, 429}
    assert answers[429]


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
    plain = locked.lab.run(["curl", "--silent", "--max-time", "20", f"http://{ADDRESS}/-/healthy"])
    older = locked.lab.run(
        ["curl", "--silent", "--insecure", "--tls-max", "1.2", "--max-time", "20", f"https://{ADDRESS}/-/healthy"]
    )
    assert plain.returncode != 0
    assert older.returncode != 0
    assert "Traceback" not in locked.log.read_text()


@pytest.mark.lab
def test_only_a_client_with_the_right_certificate_is_let_in(locked: Exporter, tmp_path: Path) -> None:
    clients = authority("Clients Root CA")
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    for name in ("prometheus.example", "other.example"):
        (tmp_path / f"{name}.pem").write_bytes(leaf(name, clients, shape=Shape(usage=ExtendedKeyUsageOID.CLIENT_AUTH)))
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
def test_prometheus_scrapes_by_tls_with_a_password_while_thousands_of_connections_are_half_open(
    locked: Exporter, lab: Lab, tmp_path: Path
) -> None:
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
    with lab.popen([sys.executable, "-I", "-c", HALF_OPEN], stdout=subprocess.PIPE, text=True) as scanner:
        said = scanner.stdout.readline() if scanner.stdout else ""
        held = len(list(Path(f"/proc/{locked.process.pid}/fd").iterdir()))
        with prometheus(lab, tmp_path, tmp_path / "prometheus.yml") as server:
            up = eventually("a scrape", lambda: server.query("up == 1"))
        scanner.kill()
    assert said == "held\n"
    assert len(up) == 1
    assert held < CONNECTIONS + 100
    assert locked.process.poll() is None
    assert "Traceback" not in locked.log.read_text()
