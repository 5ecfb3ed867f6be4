"""A secret is in nothing that we say: wherever it stands, whoever gives it back, and in whatever form."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import os
import re
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import anyio
import bcrypt
import httpx
import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

import tests.strategies  # noqa: F401 - how many examples, and how long
from exporter.config import catalogue
from exporter.config import settings as config
from exporter.config import web as web_config
from exporter.config.documents import DocumentError
from exporter.model.vocabulary import Catalogue
from exporter.report import check_json, check_junit, check_markdown, endpoints_csv, print_check, probes_text
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.text.secrets import HIDDEN, Hiding
from exporter.web.access import Access, Credentials
from exporter.web.routes import create_app
from tests.running import COMMAND, ROOT
from tests.servers import head, serving

# Long enough to be found by itself, and what it begins with is nowhere else.
SECRETS: Final = st.text(
    st.characters(categories=("L", "N", "P", "S"), exclude_characters="\ufeff"), min_size=6, max_size=24
).map("zQ9".__add__)


def forms(secret: str) -> Iterator[str]:
    """How a secret may be written, less the blanks."""
    data = secret.encode()
    yield from (
        secret,
        secret.lower(),
        data.decode("latin-1"),
        html.escape(secret),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(data)[2:-1],
        data.hex(),
    )
    yield from (json.dumps(secret, ensure_ascii=plain)[1:-1] for plain in (True, False))
    yield from (encode(secret, safe=safe) for encode in (quote, quote_plus) for safe in ("", "/"))
    for before in range(3):  # in base64, a text has three forms: by what stands before it
        whole = base64.b64encode(b" " * before + data).decode()
        yield whole[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]


def leaks(secret: str, said: str) -> list[str]:
    """The forms of a secret that are in what was said, however its lines were broken."""
    squeezed = "".join(said.split())
    return [form for form in forms(secret) if "".join(form.split()) in squeezed]


@given(SECRETS, st.text(max_size=3))
def test_a_secret_is_found_in_every_form(secret: str, before: str) -> None:
    for said in (
        secret,
        json.dumps({"a": before + secret}),
        f"a: {before}{secret!r}",
        quote(before + secret),
        html.escape(f"<{before}{secret}>"),
        base64.b64encode(f"{before}:{secret}:x".encode()).decode(),
    ):
        assert leaks(secret, said)
        assert leaks(secret, "\n".join(said[i : i + 5] for i in range(0, len(said), 5)))


# ---------------------------------------------------------------- files that are refused


@cache
def shipped() -> Catalogue:
    return catalogue.load()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets")


# Each % is a secret: as a text of its own, in a URL, where a path is expected, and where nothing of the kind is.
CONFIGURATIONS: Final = (
    "proxies: %",
    "proxies: [%]",
    "proxies: {corporate: %}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', password: %}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', username: svc, password: %}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', username: svc, password_file: %}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', username: svc, password_file: [%]}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', username: svc, auth: %, password_file: none}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', username: {svc: %}}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', username: %:}}",
    "proxies: {corporate: {url: 'http://svc:%@proxy.example:3128'}}",
    "proxies: {corporate: {url: 'http://svc:%@proxy.example'}}",
    "proxies: {corporate: {url: 'socks5://svc:%@proxy.example:1080'}}",
    "proxies: {corporate: {url: ['http://svc:%@proxy.example:3128']}}",
    "proxies: {corporate: 'http://svc:%@proxy.example:3128'}",
    "proxies: {'http://svc:%@proxy.example:3128': {}}",
    "proxies: {corporate: {url: 'http://proxy.example:3128', no_proxy: ['svc:%@proxy.example']}}",
    "via: {client: 'http://svc:%@proxy.example:3128'}",
    "via: 'http://svc:%@proxy.example:3128'",
    "tls: {ca_file: 'http://svc:%@ca.example/ca.pem'}",
    "tls: {ca_file: ca.pem, key_password: %}",
    "password: %",
    "site: {parameters: {proxy_password: %}}",
    "site: {parameters: {cloud_service_name: 'svc:%@proxy.example'}}",
    "group_files: ['https://svc:%@files.example/groups.yaml']",
    "address_ranges: ['https://svc:%@files.example/ranges.json']",
    "groups: [{feature: own, title: Own, docs: 'https://svc:%@x.example', endpoints: [{pattern: x.example}]}]",
    "groups: [{feature: own, title: Own, docs: 'https://x.example', endpoints: [{pattern: 'svc:%@x.example'}]}]",
    "groups: [{feature: own, title: Own, docs: 'https://x.example', endpoints: [{pattern: 'https://svc:%@x.example'}]}]",
    "groups: [{feature: own, docs: 'https://x.example', endpoints: [{pattern: '*.x.example', probe: ['https://u:%@x']}]}]",
)
WEB_CONFIGS: Final = (
    "basic_auth_users: %",
    "basic_auth_users: [%]",
    "basic_auth_users: {prometheus: %}",
    "basic_auth_users: {prometheus: [%]}",
    "basic_auth_users: {prometheus: {password: %}}",
    "basic_auth_users: {'prometheus:%': x}",
    "basic_auth_password: %",
    "tls_server_config: %",
    "tls_server_config: {cert_file: none.pem, key_file: %}",
    "tls_server_config: {cert_file: %, key_file: none.pem}",
    "tls_server_config: {cert_file: none.pem, key_file: none.pem, key: %}",
    "tls_server_config: {cert_file: none.pem, key_file: none.pem, key_password: %}",
    "tls_server_config: {cert_file: secret.pem, key_file: secret.pem} # %",
    "http_server_config: {headers: {Authorization: %}}",
    "http_server_config: {headers: {X-Frame-Options: ['%']}}",
)


@pytest.mark.parametrize("template", CONFIGURATIONS)
@settings(max_examples=4)
@given(secret=SECRETS)
def test_no_configuration_that_is_refused_shows_a_secret(template: str, secret: str, directory: Path) -> None:
    file = directory / "exporter.yaml"
    for text in written(template, secret):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DocumentError) as refused:
            config.load(file, shipped())
        assert leaks(secret, str(refused.value)) == []


@pytest.mark.parametrize("template", WEB_CONFIGS)
@settings(max_examples=4)
@given(secret=SECRETS)
def test_no_web_config_that_is_refused_shows_a_secret(template: str, secret: str, directory: Path) -> None:
    file = directory / "web.yaml"
    (directory / "secret.pem").write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    for text in written(template, secret):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DocumentError) as refused:
            web_config.load(file)
        assert leaks(secret, str(refused.value)) == []


def written(template: str, secret: str) -> Iterator[str]:
    """A secret in its place: quoted, and as somebody writes it who knows no YAML."""
    alone = ": %" in template or "[%" in template
    yield template.replace("%", json.dumps(secret, ensure_ascii=False) if alone else secret.replace("'", "''"))
    yield template.replace("%", secret)


# ---------------------------------------------------------------- disguises


def coded(form: str, encoding: str = "utf-8") -> Callable[[str], str]:
    return lambda secret: "".join(form.format(byte) for byte in secret.encode(encoding))


def lettered(form: str, between: str = "") -> Callable[[str], str]:
    return lambda secret: between.join(form.format(ord(letter), letter) for letter in secret)


def in_base64(secret: str) -> str:
    return base64.b64encode(secret.encode()).decode()


DISGUISES: Final[Mapping[str, Callable[[str], str]]] = {
    "entities": lettered("&#{};"),
    "entities in hexadecimal": lettered("&#x{:x};"),
    "percent": coded("%{:02x}"),
    "percent of percent": coded("%25{:02X}"),
    "percent of latin-1": coded("%{:02x}", "cp1252"),
    "percent of JavaScript": lettered("%u{:04x}"),
    "percent of a part": lambda secret: f"{secret[:4]}%{ord(secret[4]):02x}{secret[5:]}",
    "backslashes": coded("\\x{:02x}"),
    "backslashes in octal": coded("\\{:03o}"),
    "escapes of JSON": lettered("\\u{:04x}"),
    "quoted-printable": coded("={:02X}"),
    "base64": lambda secret: in_base64(f"x:{secret}"),
    "base64 in lines": lambda secret: "\r\n ".join(re.findall(".{1,4}", in_base64(secret))),
    "base64 of URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    "base64 of base64": lambda secret: in_base64(in_base64(secret)),
    "base64 of UTF-16": lambda secret: base64.b64encode(secret.encode("utf-16-le")).decode(),
    "UTF-7": lambda secret: f"+{base64.b64encode(secret.encode('utf-16-be')).decode().rstrip('=')}-",
    "UTF-16": lambda secret: secret.encode("utf-16-le").decode("latin-1"),
    "read as Latin-1": lambda secret: secret.encode().decode("latin-1"),
    "hexadecimal": coded("{:02x}"),
    "hexadecimal of a dump": coded("{:02X} "),
    "hexadecimal of a program": coded("0x{:02x}, "),
    "hexadecimal in base64": lambda secret: in_base64(secret.encode().hex()),
    "numbers": lettered("{}", ","),
    "tags": lettered("<b class=x>{1}</b>"),
    "comments": lettered("{1}<!-- x -->"),
    "tags in entities": lambda secret: html.escape(lettered("<i>{1}</i>")(secret)),
    "another case": str.swapcase,
    "full width": lambda secret: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in secret),
    "soft hyphens": lettered("{1}", "\xad"),
    "nothing that is seen": lettered("{1}", "\u200b"),
    "blanks": lettered("{1}", " "),
    "lines": lettered("{1}", "\n"),
    "dots": lettered("{1}", "."),
    "backwards": lambda secret: secret[::-1],
    "a domain": lambda secret: secret.encode("idna").decode(),
}
# A password that every disguise can be put on: letters and digits, and one of them not of ASCII.
PLAIN: Final = st.from_regex(r"zQ9[a-z0-9]{3,12}[a-z0-9é][a-z0-9]{2}", fullmatch=True)


@pytest.mark.parametrize("disguise", DISGUISES)
@given(secret=PLAIN, before=st.text(st.characters(codec="ascii"), max_size=20))
@settings(max_examples=8)
def test_a_password_is_known_in_every_disguise(disguise: str, secret: str, before: str) -> None:
    disguised = DISGUISES[disguise](secret)
    shown = Hiding("svc", secret)(f"{before} {disguised} after")
    assert disguised not in shown
    assert HIDDEN in shown


@given(secret=PLAIN, page=st.text(max_size=200))
def test_what_holds_no_password_is_shown_as_it_is(secret: str, page: str) -> None:
    honest = f"<html><title>Access denied</title>{html.escape(page)} YWNjZXNzIGRlbmllZA== 41 63 63 65 73 73"
    assert Hiding("svc", secret)(honest) == honest


@given(secret=PLAIN)
def test_a_password_that_is_cut_off_at_the_end_is_not_begun(secret: str) -> None:
    hide = Hiding("svc", secret)
    assert [hide(f"You said {secret[:length]}") for length in range(4, len(secret))] == [
        f"You said {HIDDEN}" for _ in range(4, len(secret))
    ]


@given(secret=PLAIN)
def test_a_password_that_is_cut_off_within_a_message_is_not_begun(secret: str) -> None:
    assert Hiding("svc", secret)(f"CN=x{secret[:6]}... was not sent") == f"CN=x{HIDDEN}... was not sent"


def test_there_is_an_end_of_looking_for_a_password_and_what_comes_then_is_not_shown() -> None:
    hide = Hiding("svc", "zQ9hunter2").altogether()
    page = f"xn--{'a9' * 29} " * 64
    shown = [hide(f"{number} {page}") for number in range(50)]
    assert shown[0].startswith("0 xn--")
    assert shown[10:] == [HIDDEN] * 40


# ---------------------------------------------------------------- while it runs

# What a proxy says to who signs in; it was told {token}, has {head} before it, and knows the password.
PAGES: Final = (
    "403 Forbidden\nContent-Type: text/html\n\n<pre>{head}</pre>",
    "403 Forbidden\nContent-Type: text/html\n\nThe password {secret} of svc:{secret} is wrong: {escaped}, {quoted}",
    "200 OK\nContent-Type: text/html\n\n<p>{secret}<p>{head}",
    "403 {secret}\n\n",
    "403 Forbidden\nX-Debug: {secret}\nX-Debug: {token}\nX-Debug: svc:{secret}@\n\n",
    "302 Found\nLocation: http://svc:{quoted}@else.example/?{quoted}\n\n",
    "502 Bad Gateway\nSet-Cookie: session={secret}\nX-Squid-Error: {secret}\n\n",
    "403 Forbidden\n{secret}\n\n",
    "403 Forbidden\nContent-Type: text/html\n\n<p>{entities}<p>{hexadecimal}",
    "302 Found\nLocation: http://{percent}.example/\n\n",
    "302 Found\nLocation: http://{secret}/\n\n",
    "200 OK\nContent-Type: text/html\n\n<meta http-equiv=refresh content='0;url=http://{entities}.example/'>",
    "200 OK\nProxy-Authorization {token}\n\n",
    "{secret}\n\n",
)
REFUSALS: Final = (  # after which nobody signs in for a while
    '407 Again\nProxy-Authenticate: Basic realm="{secret}"\n\n',
    "407 Again\nProxy-Authenticate: {secret}\n\n",
    "407 Again\nProxy-Authenticate: {token}\n\n",
    "407 Again\nProxy-Authorization: {token}\n\n",
)
_CHALLENGE: Final = base64.b64encode(
    b"NTLMSSP\0" + struct.pack("<IHHII8s8xHHI8x", 2, 0, 0, 56, 0xE0888205, b"challeng", 4, 4, 56) + bytes(4)
).decode()


@dataclass
class Evil:
    """A proxy that gives back what it is told: the host that is asked for says how."""

    echoes: tuple[str, ...]
    secret: str
    told: list[str] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        while asked := head(connection).decode("latin-1"):
            given = re.search(r"(?i)proxy-authorization: (\w+) (\S+)", asked)
            if given:
                self.told.append(given[2])
            if given and not given[2].startswith("TlRMTVNTUAAB"):  # NTLM's first token, which holds nothing
                self._say(connection, self._echo(asked, given[0].partition(": ")[2]))
                return
            offered = f"NTLM {_CHALLENGE}" if given else "NTLM\nProxy-Authenticate: Basic realm=x"
            self._say(connection, f"407 Who\nProxy-Authenticate: {offered}\nContent-Length: 0\n\n")

    def _echo(self, asked: str, token: str) -> str:
        secret, number = self.secret, re.findall(r"e([0-9]+)\.example", asked)[0]
        escaped, quoted = html.escape(secret), quote(secret, safe="")
        disguised = {name: DISGUISES[name](secret) for name in ("entities", "percent", "hexadecimal")}
        return self.echoes[int(number)].format(
            head=asked, token=token, secret=secret, escaped=escaped, quoted=quoted, **disguised
        )

    @staticmethod
    def _say(connection: socket.socket, text: str) -> None:
        connection.sendall(f"HTTP/1.1 {text}".replace("\n", "\r\n").encode())

    def configuration(self, url: str, auth: str) -> str:
        """Each echo over HTTP and over HTTPS."""
        targets = [f"{scheme}://e{i}.example/" for i in range(len(self.echoes)) for scheme in ("http", "https")]
        group = {"feature": "own", "title": "Own", "docs": "https://x.example/", "endpoints": []}
        return json.dumps(
            {
                "site": {"features": ["own"], "roles": ["client"]},
                "probe": {"timeout": "5s", "attempts": 1},
                "proxies": {"evil": {"url": url, "username": "svc", "password_file": "password", "auth": auth}},
                "via": {"client": "evil"},
                "groups": [{**group, "endpoints": [{"pattern": target} for target in targets]}],
            }
        )


@pytest.mark.parametrize("echoes", [PAGES, *((refusal,) for refusal in REFUSALS)])
@settings(max_examples=2)
@given(secret=SECRETS, other=SECRETS, auth=st.sampled_from(["auto", "basic", "ntlm"]))
@example(secret="zQ9hunter", other="zQ9other", auth="basic")  # noqa: S106 - could name a way to sign in, too
def test_nothing_shows_what_a_proxy_gives_back_or_what_we_are_told(
    echoes: tuple[str, ...], secret: str, other: str, auth: str, directory: Path
) -> None:
    evil = Evil(echoes, secret)
    with serving(evil) as server:
        (directory / "password").write_text(secret, encoding="utf-8")
        file = directory / "exporter.yaml"
        file.write_text(evil.configuration(server.url(path=""), auth))
        said = all_that_is_said(Source(file), directory, other)
    assert len(evil.told) >= len(echoes)
    assert "Traceback" not in said
    assert [leaked for token in {secret, other, *evil.told} for leaked in leaks(token, said)] == []


def all_that_is_said(source: Source, directory: Path, password: str) -> str:
    """What the exporter answers to who has a password and to who has none, what it logs, and all its reports."""
    out = io.StringIO()
    (directory / "web.yaml").write_text(
        f"basic_auth_users: {{svc: '{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}'}}"
    )
    with logged_to(out):
        deployment = deploy(source)
        exporter = Exporter(source, deployment, network_of(deployment))
        access = Access(create_app(exporter), Credentials(directory / "web.yaml"))
        anyio.run(_ask, exporter, access, password, out)
        snapshot = exporter.store.snapshot()
        for report in (check_json, check_junit, check_markdown):
            out.write(report(snapshot))
        for width in (80, 300):
            print_check(snapshot, Console(file=out, width=width))
            out.write(probes_text(snapshot, width))
        out.write(endpoints_csv(deployment.plan.requirements) + repr((deployment, exporter, access, source)))
    return out.getvalue()


async def _ask(exporter: Exporter, access: Access, password: str, out: io.StringIO) -> None:
    for result in (await exporter.probe(exporter.store.known())).values():
        exporter.finished(result)
    unquoted = quote(password, safe="")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(access), base_url="http://exporter") as client:
        asked_for = ("http://e0.example/", "https://e0.example/", f"https://svc:{unquoted}@e0.example/?{unquoted}")
        probes = (f"/probe?debug={debug}&target={quote(url)}" for url in asked_for for debug in ("true", "false"))
        plain = (
            "/",
            "/firewall-request",
            "/metrics",
            "/api/v1/status",
            "/-/ready",
            f"/{unquoted}",
            f"/runbooks/{unquoted}",
        )
        pages = (f"/target?url={quote(url)}" for url in asked_for[:2])
        paths = (*plain, *pages, *probes)
        asked = [(path, ("svc", "x")) for path in paths] + [("/", ("svc", password)), ("/", (password, "x"))]
        for path, auth in asked:
            answer = await client.get(path, auth=auth, headers={"Cookie": unquoted, "Referer": unquoted})
            out.write(f"{answer.headers}{answer.text}")
        await client.post("/-/reload", auth=("svc", "x"))


@contextmanager
def logged_to(out: io.StringIO) -> Iterator[None]:
    """The log at level debug, as the command line sets it up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with redirect_stderr(out):
        configure(LogLevel.DEBUG, LogFormat.LOGFMT)
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()


# ---------------------------------------------------------------- the commands, as they are run


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("check", "--format", "table"), 1),
        (("explain", "http://127.0.0.1:9/"), 1),
        (("explain", "https://svc:zQ9hunter@127.0.0.1:9/"), 2),
        (("catalogue", "import", "https://svc:zQ9hunter@127.0.0.1:9/list?sig=zQ9hunter"), 2),
        (("catalogue", "import", "http://127.0.0.1:9/list?sig=zQ9hunter"), 2),
        (("serve", "--web.config.file", "web.yaml"), 2),
    ],
)
def test_no_command_shows_what_its_environment_or_its_files_hold(
    arguments: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    secret = "zQ9hunter"  # noqa: S105 - the one to look for
    (tmp_path / "password").write_text(secret)
    (tmp_path / "web.yaml").write_text(f"basic_auth_users: {{svc: {secret}}}\n")
    (tmp_path / "exporter.yaml").write_text(
        "site: {features: [own]}\n"
        "probe: {timeout: 1s, attempts: 1}\n"
        "proxies: {evil: {url: 'http://127.0.0.1:9', username: svc, password_file: password, auth: basic}}\n"
        "via: {client: evil}\n"
        "groups: [{feature: own, title: Own, docs: 'https://x.example', endpoints: [{pattern: 'http://127.0.0.1:9/'}]}]\n"
    )
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    environment = {**os.environ, **dict.fromkeys(names, f"http://svc:{secret}@127.0.0.1:9")}
    configured = () if arguments[0] == "catalogue" else ("--config.file", "exporter.yaml")
    done = subprocess.run(
        [*COMMAND, *arguments, *configured, "--log.level", "debug"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert leaks(secret, done.stdout + done.stderr) == []
