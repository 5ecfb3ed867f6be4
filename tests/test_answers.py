"""What stands in the place of an answer, as it comes over the wire: however it is labelled, and however late."""

from __future__ import annotations

import gzip
import math
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from exporter.config.catalogue import load, shipped
from exporter.config.fingerprints import load_marks
from exporter.model.vocabulary import Answer, Cause, CheckKey, Failure, Probing, Proxy, Reason, Result, Site, Target
from exporter.plan.requirements import everything, requirements
from exporter.probe.block_pages import domains_of
from exporter.probe.bodies import BEGINNING, readable
from exporter.probe.classify import Signs, Way, judge
from exporter.probe.net import beginning
from exporter.probe.runner import Network, run_check
from exporter.report.reasons import words_of
from exporter.system.loop import run_on_loop
from tests.lab import Lab
from tests.lab.scripts import HOLD, READ_HEAD, Script, send, sleep, tls
from tests.running import command, in_a_quiet_moment
from tests.servers import Talk, head, serving

MARKS = load_marks(shipped() / "vocabulary" / "fingerprints.yaml")
FINGERPRINTS = MARKS.fingerprints
DOCUMENTED = domains_of((endpoint.pattern for group in load().groups for endpoint in group.endpoints), MARKS.shared)
SIGNS = Signs(FINGERPRINTS, DOCUMENTED, MARKS.shared)
ONCE = Probing(timeout=10.0, attempts=1)
FOR_EVER = 3600.0
TRUST = ssl.create_default_context()


def result_of(talk: Talk, url: str = "", *, through: bool = False, probing: Probing = ONCE) -> Result:
    """What a probe makes of somebody who talks like this, as the target or as the proxy."""
    with serving(talk) as server:
        proxies = {"p": Proxy("p", server.url())} if through else {}
        network = Network(TRUST, proxies, signs=SIGNS)
        key = CheckKey(Target(url or server.url()), "p" if through else None)
        return run_on_loop(run_check, key, network, probing)


def reason_of(result: Result) -> Reason | None:
    return result.failure.reason if result.failure else None


# ---------------------------------------------------------------- a head decides, however late its page is


def dripping(head_of_answer: str, first: bytes = b"", rest: bytes = b"<") -> Talk:
    """The head and the first of the body at once, the rest byte by byte until the other side leaves."""

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(head_of_answer.replace("\n", "\r\n").encode() + first)
        with suppress(OSError):
            while True:
                connection.sendall(rest)
                time.sleep(0.05)

    return talk


@pytest.fixture
def patient_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may take longer than an attempt."""
    monkeypatch.setattr("exporter.probe.http._PAGE_TIME", FOR_EVER)
    monkeypatch.setattr("exporter.probe.net.transport._PAGE_TIME", FOR_EVER)


OK = "HTTP/1.1 200 OK\nContent-Type: text/html\n"
TARGET, PLAIN = "https://never.example/", "http://never.example/"


@pytest.mark.usefixtures("patient_page")
@pytest.mark.parametrize(
    ("talk", "url", "reason"),
    [
        (dripping(OK + "Content-Length: 4000\n\n"), "", None),
        (dripping(OK + "Content-Length: 4000\n\n"), PLAIN, None),
        (dripping(OK + "Transfer-Encoding: chunked\n\n", rest=b"0"), "", None),
        (dripping("HTTP/1.1 451 No\nContent-Type: text/html\n\n"), "", Reason.HTTP_BLOCKED),
        (dripping("HTTP/1.1 502 No\nContent-Type: text/html\n\n"), PLAIN, Reason.HTTP_STATUS),
        (dripping("HTTP/1.1 403 No\nContent-Type: text/html\nContent-Length: 4000\n\n"), TARGET, Reason.PROXY_DENIED),
        (dripping("HTTP/1.1 407 No\nContent-Type: text/html\n\n"), TARGET, Reason.PROXY_AUTH_REQUIRED),
        (dripping("HTTP/1.1 407 No\nContent-Type: text/html\n\n"), PLAIN, Reason.PROXY_AUTH_REQUIRED),
        (dripping("HTTP/1.1 503 No\nContent-Type: text/html\n\n"), TARGET, Reason.PROXY_ERROR),
        (dripping(OK + "\n", first=b"<title>SonicWALL - Web Site Blocked</title>"), "", Reason.HTTP_BLOCKED),
    ],
)
def test_a_late_page_changes_no_verdict_of_the_head(talk: Talk, url: str, reason: Reason | None) -> None:
    probing = Probing(timeout=1.5, attempts=1)
    told = in_a_quiet_moment(
        lambda: reason_of(result_of(talk, url, through=bool(url), probing=probing)), lambda seen: seen == reason
    )
    assert told == reason


def test_a_late_page_is_in_no_phase() -> None:
    late = dripping("HTTP/1.1 403 No\nContent-Type: text/html\nContent-Length: 4000\n\n")
    for url, page_time in ((TARGET, 1.0), (PLAIN, 0.5)):
        begun = time.perf_counter()
        result = result_of(late, url, through=True)
        took = time.perf_counter() - begun
        assert reason_of(result) == (Reason.PROXY_DENIED if url == TARGET else None)
        assert result.duration <= took - page_time


def in_virtual_time(function: Callable[[], Awaitable[tuple[int, float]]]) -> tuple[int, float]:
    """What an async function gives where time passes only when all wait."""
    return anyio.run(function, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"<"
        await anyio.sleep(0.1)


@pytest.mark.parametrize("passed", [0.0, 0.7, 0.95, 0.9999, 1.0])
def test_a_page_leaves_an_attempt_the_time_for_its_verdict(passed: float) -> None:
    async def attempt() -> tuple[int, float]:
        with anyio.fail_after(1.0) as scope:
            scope.deadline = anyio.current_time() + 1.0 - passed
            body = await beginning(endless(), 4096, 0.5)
            return len(body), anyio.current_effective_deadline() - anyio.current_time()

    length, left = in_virtual_time(attempt)
    assert left >= 0
    assert length <= 6


async def stalled_after_the_head() -> AsyncIterator[bytes]:
    yield b"<html>"
    await anyio.sleep_forever()


def test_a_page_that_came_with_its_head_is_read_where_no_time_is_left() -> None:
    async def attempt() -> bytes:
        with anyio.fail_after(1.0) as scope:
            scope.deadline = anyio.current_time()
            body = await beginning(stalled_after_the_head(), 4096, 0.5)
            scope.deadline = math.inf
            return body

    assert anyio.run(attempt) == b"<html>"


def test_a_page_under_no_deadline_has_its_own_time() -> None:
    async def attempt() -> tuple[int, float]:
        begun = anyio.current_time()
        return len(await beginning(endless(), 4096, 0.5)), anyio.current_time() - begun

    length, took = in_virtual_time(attempt)
    assert length == 5
    assert took == pytest.approx(0.5)


def test_a_loop_that_is_late_in_a_page_does_not_lose_the_verdict() -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b"<html>"
        time.sleep(0.3)  # noqa: ASYNC251 - somebody else's work, past both deadlines
        await anyio.sleep(FOR_EVER)

    async def attempt() -> bytes:
        with anyio.fail_after(0.2):
            return await beginning(stalls(), 4096, 0.5)

    assert anyio.run(attempt) == b"<html>"


# ---------------------------------------------------------------- a page is found however it is labelled

MARK = "You have tried to access a web page which is in violation of your internet usage policy"  # FortiGate's
BLOCKED = f"<html><head><title>Blocked</title></head><body>{MARK}</body></html>"
PORTAL = '<html><head><meta http-equiv="refresh" content="0; url=http://portal.hotel.example/"></head></html>'


def saying(head_of_answer: str, body: bytes | str = b"") -> Talk:
    """An answer: its head without what ends it, and its body, which ends with the connection."""
    packed = body.encode() if isinstance(body, str) else body

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(head_of_answer.strip().replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + packed)

    return talk


def blocks(head_of_answer: str, body: bytes | str) -> bool:
    return reason_of(result_of(saying(head_of_answer, body))) is Reason.HTTP_BLOCKED


@pytest.mark.parametrize("page", [BLOCKED, PORTAL], ids=["block", "portal"])
@pytest.mark.parametrize(
    "label",
    [
        "Content-Type: text/html",
        "Content-Type: Text/HTML; Charset=UTF-8",
        'CONTENT-TYPE:TEXT/HTML;charset="utf-8"',
        "Content-Type: text/html;charset='iso-8859-1'",
        "Content-Type: application/xhtml+xml",
        "Content-Type: Application/XHTML+XML; charset=utf-8",
        "",
        "Content-Type:",
        "Content-Type: html",
        "Content-Type: */*",
        "Content-Type: unknown/unknown",
        "Content-Type: application/unknown",
        "Content-Type: text/plain",
        "Content-Type: text/css",
        "Content-Type: text/vnd.wap.wml",
        "Content-Type: application/json",
        "Content-Type: application/problem+json; charset=utf-8",
        "Content-Type: application/javascript",
        "Content-Type: text/xml",
        "Content-Type: application/xml",
        "Content-Type: text/html, text/html",
        "Content-Type: application/octet-stream\nContent-Type: text/html",
        "Content-Type: text/html; charset=no-such-encoding",
        "Content-Type: text/html; charset=zlib_codec",
        "Content-Type: text/html\nX-Content-Type-Options: nosniff",
    ],
)
def test_a_page_is_found_whatever_its_type_says(label: str, page: str) -> None:
    assert blocks(f"HTTP/1.1 200 OK\n{label}", page)


@pytest.mark.parametrize("code", [200, 302, 403, 404, 500, 503])
@pytest.mark.parametrize("page", [BLOCKED, PORTAL], ids=["block", "portal"])
def test_a_page_is_found_with_any_status(code: int, page: str) -> None:
    assert blocks(f"HTTP/1.1 {code} Whatever\nContent-Type: text/html", page)


@pytest.mark.parametrize(
    "begin",
    [
        "<!DOCTYPE html>",
        "\n\n  <!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>\n<HTML>",
        "\ufeff<html>",
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">',
        "<!-- made by a device --><!-- 2 -->\n<head>",
        "<h1>No</h1>",
        "<script></script>",
        "<P>",
        '<meta charset="utf-8">',
        "<body\tclass=x>",
    ],
)
def test_what_begins_as_a_page_is_one_though_nothing_says_so(begin: str) -> None:
    assert blocks("HTTP/1.1 200 OK", begin + MARK)
    assert blocks("HTTP/1.1 200 OK\nContent-Type: text/plain", begin + PORTAL)


def packed(window: int, page: str = BLOCKED) -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, window)
    return packing.compress(page.encode()) + packing.flush()


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("Content-Encoding: gzip", packed(31)),
        ("content-encoding: X-GZIP", packed(31)),
        ("Content-Encoding: deflate", packed(15)),
        ("Content-Encoding: Deflate", packed(-15)),
        ("Content-Encoding: identity", BLOCKED.encode()),
        ("Content-Encoding: ", BLOCKED.encode()),
        ("Content-Encoding: identity, gzip", packed(31)),
        ("Content-Encoding: gzip\nContent-Encoding: identity", packed(31)),
        ("Content-Encoding: deflate, gzip", gzip.compress(packed(15), mtime=0)),
        ("Content-Encoding: gzip", packed(31)[:-8]),
        ("Content-Encoding: gzip", packed(31)[:-8] + bytes(8)),
        ("Content-Encoding: gzip", packed(31) + b"garbage"),
        ("Content-Encoding: gzip", BLOCKED.encode()),
        ("Content-Encoding: br", BLOCKED.encode()),
        ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BLOCKED), BLOCKED.encode())),
        ("Transfer-Encoding: Chunked", b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in BLOCKED.encode())),
        ("Content-Length: 99999", BLOCKED.encode()),
    ],
)
def test_a_page_is_found_however_it_is_packed(label: str, body: bytes) -> None:
    assert blocks(f"HTTP/1.1 200 OK\nContent-Type: text/html\n{label}", body)


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ("", "utf-16"),
        ("", "utf-16-le"),
        ("", "utf-16-be"),
        ("", "utf-8-sig"),
        ("utf-16", "utf-16-le"),
        ("UTF-16BE", "utf-16-be"),
        ("utf-16le", "utf-16-le"),
        ("utf-8", "utf-16"),
        ("utf-16", "utf-8"),
        ("iso-8859-1", "latin-1"),
        ("ISO-8859-15", "iso8859-15"),
        ("windows-1252", "cp1252"),
        ("windows-1251", "cp1252"),
        ("Shift_JIS", "shift_jis"),
        ("x-sjis", "shift_jis"),
        ("euc-kr", "euc_kr"),
        ("gb2312", "gbk"),
        ("iso-2022-jp", "iso2022_jp"),
        ("utf-8", "cp1252"),
        ("", "utf-32"),
    ],
)
@pytest.mark.parametrize("page", [BLOCKED, PORTAL], ids=["block", "portal"])
def test_a_page_is_found_in_any_encoding(charset: str, encoding: str, page: str) -> None:
    label = f"; charset={charset}" if charset else ""
    assert blocks(f"HTTP/1.1 200 OK\nContent-Type: text/html{label}", page.encode(encoding))


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ('<meta charset="windows-1251">', "cp1251"),
        ("<META HTTP-EQUIV=Content-Type CONTENT='text/html; charset=koi8-r'>", "koi8-r"),
        ('<?xml version="1.0" encoding="iso-8859-5"?>', "iso8859-5"),
    ],
)
def test_a_page_says_itself_how_it_is_to_be_read(declaration: str, encoding: str) -> None:
    page = f"{declaration}<html><body>Доступ закрыт. {MARK}</body></html>"
    result = result_of(saying("HTTP/1.1 403 No\nContent-Type: text/html", page.encode(encoding)))
    assert reason_of(result) is Reason.HTTP_BLOCKED
    assert result.evidence.answer
    assert "Доступ закрыт" in result.evidence.answer.body


@pytest.mark.parametrize(
    "refresh",
    [
        "0; url=http://portal.hotel.example/login",
        "0;URL=http://portal.hotel.example/login",
        "0;url='http://portal.hotel.example/login'",
        '5; Url = "http://portal.hotel.example/login"',
        "0, http://portal.hotel.example/",
        "1 http://portal.hotel.example/",
        "0.5;http://portal.hotel.example/",
        ";url=http://portal.hotel.example/",
        "url=http://portal.hotel.example/",
        "0; url=//portal.hotel.example/",
        r"0; url=http:\\portal.hotel.example\login",
    ],
)
@pytest.mark.parametrize("name", ["Refresh", "REFRESH"])
def test_an_answer_that_refreshes_itself_leads_as_a_redirect_does(name: str, refresh: str) -> None:
    assert blocks(f"HTTP/1.1 200 OK\n{name}: {refresh}\nContent-Length: 0", "")


@pytest.mark.parametrize(
    "tag",
    [
        "<meta http-equiv=refresh content='0;url=http://portal.hotel.example/?a=1>2'>",
        "<META CONTENT=0;URL=http://portal.hotel.example/ HTTP-EQUIV=REFRESH>",
        "<meta/http-equiv='Refresh'/content='0; URL=http://portal.hotel.example/'>",
        '<meta http-equiv="&#114;efresh" content="0;url=http&#58;//portal.hotel.example/">',
        "<meta\n  name=x\n  http-equiv=' refresh '\n  content='0\n;\nurl=http://portal.hotel.example/'\n>",
        "<base href='http://portal.hotel.example/a/'><meta http-equiv=refresh content='0;url=login'>",
        "<noscript><meta http-equiv=refresh content='0;url=http://portal.hotel.example/'></noscript>",
        "<!-- <meta http-equiv=refresh content=0;/> --><meta http-equiv=refresh content=1;//portal.hotel.example>",
    ],
)
def test_a_page_that_refreshes_itself_is_found_in_any_spelling(tag: str) -> None:
    result = result_of(saying("HTTP/1.1 200 OK\nContent-Type: text/html", f"<html><head>{tag}</head>"))
    assert result.failure
    assert "portal.hotel.example" in result.failure.message


# ---------------------------------------------------------------- and what is none is left alone

ERROR = '<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code><Message>x</Message></Error>'


@pytest.mark.parametrize(
    ("head_of_answer", "body"),
    [
        ("HTTP/1.1 400 Bad Request\nContent-Type: application/xml", "\ufeff" + ERROR),
        ("HTTP/1.1 400 Bad Request\nContent-Type: text/xml", ERROR.encode("utf-16")),
        ("HTTP/1.1 403 No\nContent-Type: application/json", '{"error": {"code": "AuthenticationFailed"}}'),
        ("HTTP/1.1 200 OK\nContent-Type: application/vnd.ms-cab-compressed", b"MSCF\0\0\0\0" + bytes(4000)),
        ("HTTP/1.1 200 OK", b"MSCF\0\0\0\0" + bytes(4000)),
        ("HTTP/1.1 200 OK", b"MZ\x90\0" + bytes(range(256)) * 16),
        ("HTTP/1.1 200 OK\nContent-Type: text/plain", "Microsoft Connect Test"),
        ("HTTP/1.1 200 OK\nContent-Type: image/gif", b"GIF89a" + BLOCKED.encode()),
        ("HTTP/1.1 200 OK\nContent-Type: application/octet-stream", BLOCKED),
        ("HTTP/1.1 200 OK\nContent-Type: video/mp4", PORTAL),
        # what speaks of such pages is none
        ("HTTP/1.1 200 OK\nContent-Type: text/plain", f"FortiGate says: {MARK}\n{PORTAL}"),
        ("HTTP/1.1 200 OK\nContent-Type: application/json", f'{{"body": "{MARK}", "next": {PORTAL!r}}}'),
        ("HTTP/1.1 200 OK\nContent-Type: application/xml", f"<?xml version='1.0'?><article>{MARK}{PORTAL}</article>"),
        ("HTTP/1.1 200 OK\nContent-Type: application/rss+xml", f"<rss><title>{MARK}</title></rss>"),
        ("HTTP/1.1 200 OK", f"{MARK} {PORTAL}"),
        ("HTTP/1.1 200 OK\nContent-Type: text/html", f"<html><!-- {PORTAL} --></html>"),
        # packed as nobody asked for, and as nobody can
        ("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Encoding: br", b"\x1b\x2f\0\xf8" + bytes(range(200))),
        ("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Encoding: zstd", b"\x28\xb5\x2f\xfd" + bytes(range(200))),
        ("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Encoding: gzip, gzip, gzip, gzip, gzip", packed(31)),
        ("HTTP/1.1 200 OK\nContent-Type: text/html\nContent-Encoding: gzip", b"\x1f\x8b" + bytes(200)),
        # where it leads is where it is
        ("HTTP/1.1 200 OK\nRefresh: 300", ""),
        ("HTTP/1.1 200 OK\nRefresh: 5; url=/", ""),
        ("HTTP/1.1 200 OK\nRefresh: 0;url=https://learn.microsoft.com/", ""),
        ("HTTP/1.1 302 Found\nLocation: /signin\nRefresh: 0; url=http://portal.hotel.example/", ""),
        ("HTTP/1.1 200 OK\nContent-Type: text/html", "<meta name=refresh content='0;url=http://portal.hotel.example'>"),
        ("HTTP/1.1 200 OK\nContent-Type: text/html", "<link rel=refresh href=http://portal.hotel.example/>"),
    ],
)
def test_an_honest_answer_is_up_however_odd(head_of_answer: str, body: bytes | str) -> None:
    result = result_of(saying(head_of_answer, body))
    assert result.failure is None


# ---------------------------------------------------------------- who refused CONNECT, and why

SQUID = "Server: squid/6.9\nX-Squid-Error:"
HTML = "Content-Type: text/html"


@pytest.mark.parametrize(
    ("head_of_answer", "body", "reason", "meaning"),
    [
        (
            f"503 Service Unavailable\n{SQUID} ERR_DNS_FAIL 0",
            "",
            Reason.PROXY_ERROR,
            "Squid: could not resolve the name",
        ),
        (f"503 No\n{SQUID} ERR_CONNECT_FAIL 111", "", Reason.PROXY_ERROR, "Squid: could not connect to the server"),
        (f"403 No\n{SQUID} ERR_ACCESS_DENIED 0", "", Reason.PROXY_DENIED, "Squid: denies the request"),
        (f"404 No\n{SQUID} 404:ERR_NOT_AT_WORK 0", "", Reason.PROXY_DENIED, "a page of the administrator's own"),
        (f"302 Found\n{SQUID} 403 Access Denied\nLocation: http://it.corp.example/", "", Reason.PROXY_DENIED, "Squid"),
        (f"503 No\n{HTML}", "<big>Network Error (dns_unresolved_hostname)</big>", Reason.PROXY_ERROR, "Blue Coat"),
        (f"403 No\n{HTML}", "<big>Access Denied (policy_denied)</big>", Reason.PROXY_DENIED, "Blue Coat"),
        (f"503 No\n{HTML}", "<html><big>Access Denied (policy_denied)</big>", Reason.PROXY_DENIED, "Blue Coat"),
        ("403 No\nServer: Zscaler/6.2", "", Reason.PROXY_DENIED, "Zscaler: denies the request by its policy"),
        (
            "403 No",
            "<title>McAfee Web Gateway - Notification - Blocked by URL filtering</title>",
            Reason.PROXY_DENIED,
            "Skyhigh Secure Web Gateway (McAfee)",
        ),
        (
            "302 Found\nLocation: http://10.1.2.3:15871/cgi-bin/blockpage.cgi?ws=1",
            "",
            Reason.PROXY_DENIED,
            "Forcepoint",
        ),
        ("302 Found\nLocation: http://10.1.2.3:6080/php/urlblock.php?args=1", "", Reason.PROXY_DENIED, "Palo Alto"),
        ("500 No\nServer: tinyproxy/1.11.1", "", Reason.PROXY_ERROR, "tinyproxy: could not handle the request"),
        ("307 No\nLocation: https://gateway.zscloud.net/auT?origurl=x", "", Reason.PROXY_AUTH_REQUIRED, "Zscaler"),
        ("302 No\nLocation: https://fw:6082/php/uid.php?vsys=1", "", Reason.PROXY_AUTH_REQUIRED, "Palo Alto"),
        (f"407 No\n{SQUID} ERR_CACHE_ACCESS_DENIED 0", "", Reason.PROXY_AUTH_REQUIRED, "Squid: wants a login"),
        (f"407 No\n{SQUID} ERR_ACCESS_DENIED 0", "", Reason.PROXY_AUTH_REQUIRED, "Squid"),
        ("503 No", "", Reason.PROXY_ERROR, ""),
        ("403 No", "<html>It is not allowed</html>", Reason.PROXY_DENIED, ""),
    ],
)
def test_a_mark_tells_why_a_proxy_refuses_connect(head_of_answer: str, body: str, reason: Reason, meaning: str) -> None:
    result = result_of(saying(f"HTTP/1.1 {head_of_answer}\nContent-Length: {len(body)}", body), TARGET, through=True)
    assert result.failure
    assert result.failure.reason is reason
    assert result.failure.message.startswith(f"the proxy answered CONNECT with {head_of_answer[:3]}")
    assert meaning in result.failure.message


# ---------------------------------------------------------------- a login of a proxy is no denial

LOGINS = sorted((Path(__file__).parent / "data" / "truth" / "login").glob("*.http"))


@pytest.mark.parametrize("url", ["", PLAIN, TARGET], ids=["direct", "relay", "connect"])
@pytest.mark.parametrize("file", LOGINS, ids=lambda file: file.stem)
def test_a_login_of_a_proxy_wants_a_login(file: Path, url: str) -> None:
    head_of_answer, _, body = file.read_text(encoding="ascii").partition("\n\n")
    head_of_answer = head_of_answer.replace(" 200 ", " 403 ") if url == TARGET else head_of_answer  # 200 opens a tunnel
    result = result_of(saying(head_of_answer, body), url, through=bool(url))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.PROXY_AUTH_REQUIRED, Cause.LOGIN_PAGE)


def test_a_question_for_credentials_is_no_login_page() -> None:
    result = result_of(saying(f"HTTP/1.1 407 No\n{SQUID} ERR_CACHE_ACCESS_DENIED 0"), PLAIN, through=True)
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.PROXY_AUTH_REQUIRED, None)


# ---------------------------------------------------------------- where an own endpoint, or a forwarder, may lead

NAMED = frozenset({"login.partner.example", "*.sso.example", "10.1.2.3", "2001:db8::1"})


def led_to(location: str, target: Target, domains: frozenset[str] = DOCUMENTED) -> Failure | None:
    answer = Answer(302, (("Location", location),))
    return judge(target, answer, Signs(FINGERPRINTS, domains, MARKS.shared), Way.DIRECT, forgeable=True)


OWN = Target("http://portal.corp.example/", own=True)


@pytest.mark.parametrize(
    "location",
    [
        "/signin",
        "https://portal.corp.example/signin",
        "https://login.corp.example/",
        "https://login.microsoftonline.com/common/saml2?SAMLRequest=x",
        "http://portal/",
        "https://login.partner.example/sso",
        "https://eu.login.partner.example/sso",
        "https://LOGIN.partner.EXAMPLE./sso",
        "https://a.b.sso.example/",
        "http://10.1.2.3/",
        "http://[2001:DB8:0::1]:8443/",
        "https://wiki.named.example/",
        "http://10.9.9.9/",
    ],
)
def test_an_own_endpoint_may_lead_where_the_configuration_says(location: str) -> None:
    domains = DOCUMENTED | domains_of(["*.named.example", "http://10.9.9.9/"])
    assert led_to(location, replace(OWN, leads_to=NAMED), domains) is None


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://login.other.example/", "login.other.example"),
        ("https://partner.example/", "partner.example"),
        ("https://notlogin.partner.example/", "notlogin.partner.example"),
        ("https://sso.example/", "sso.example"),
        ("http://10.1.2.4/", "10.1.2.4"),
        ("http://1.10.1.2.3/", "1.10.1.2.3"),
        ("http://other/", "other"),
    ],
)
def test_an_own_endpoint_that_leads_elsewhere_is_told_of_the_key(location: str, host: str) -> None:
    failure = led_to(location, replace(OWN, leads_to=NAMED))
    assert failure
    assert (failure.reason, failure.cause) == (Reason.HTTP_BLOCKED, Cause.OWN_REDIRECT)
    assert f"sent on to {host}, which" in failure.message
    assert "leads_to" in words_of(failure).remedy


def test_a_known_page_is_no_redirect_of_an_own_endpoint() -> None:
    failure = led_to("https://block.opendns.com/?url=1", replace(OWN, leads_to=frozenset({"opendns.com"})))
    assert failure
    assert (failure.reason, failure.cause) == (Reason.HTTP_BLOCKED, None)


def test_an_own_endpoint_is_believed_behind_a_certificate_that_is_trusted() -> None:
    own = replace(OWN, url="https://portal.corp.example/")
    assert led_to("https://login.other.example/", own) is None
    assert led_to("https://login.other.example/", replace(own, own=False))
    assert led_to("https://block.opendns.com/?url=1", own)


def test_a_public_endpoint_is_not_told_of_a_key() -> None:
    failure = led_to("https://login.other.example/", Target("http://download.microsoft.com/"))
    assert failure
    assert (failure.reason, failure.cause) == (Reason.HTTP_BLOCKED, None)


TARGETS = {
    target.url: target
    for requirement in requirements(load(), load().groups, everything(load(), Site()))
    for target in requirement.targets
}


@pytest.mark.parametrize("url", ["https://aka.ms/", "https://aka.ms/cmedgeapi", "https://go.microsoft.com/"])
@pytest.mark.parametrize(
    ("location", "leads_astray"),
    [
        ("https://redirectiontool.trafficmanager.net/am/redirection/home", False),
        ("https://www.bing.com/?ref=aka&shorturl=x", False),
        ("https://learn.microsoft.com/", False),
        ("https://download.microsoft.com/a.cab", False),
        ("https://configmgrbits.azureedge.net/gateway", False),
        ("https://go.microsoft.com/fwlink/?LinkID=1", False),
        ("https://other.trafficmanager.net/", True),
        ("https://trafficmanager.net/", True),
        ("https://portal.hotel.example/", True),
    ],
)
def test_a_forwarder_leads_where_microsofts_do(url: str, location: str, leads_astray: bool) -> None:
    assert bool(led_to(location, TARGETS[url])) is leads_astray


def test_only_a_forwarder_leads_where_forwarders_do() -> None:
    assert led_to("https://redirectiontool.trafficmanager.net/", TARGETS["http://download.microsoft.com/"])


# ---------------------------------------------------------------- packets of full size that vanish

HEAVY = "HTTP/1.1 200 OK\r\n" + f"Set-Cookie: {'c' * 400}\r\n" * 8 + "Content-Length: 0\r\n\r\n"  # three packets
OK_HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HOST = "definitionupdates.microsoft.com"


def explained(lab: Lab, directory: Path, url: str) -> str:
    """What `explain` says of a target of one's own, in one line."""
    config = directory / "exporter.yaml"
    config.write_text(
        f"probe: {{timeout: 3s, attempts: 1}}\ngroups: [{{feature: own, endpoints: [{{pattern: '{url}'}}]}}]\n"
    )
    return " ".join(command(lab, "explain", url, "--config.file", config).stdout.split())


@pytest.mark.lab
@pytest.mark.parametrize(
    ("scheme", "port", "script", "reason"),
    [
        ("http", 80, (READ_HEAD, send(HEAVY), HOLD), "http_timeout"),
        ("https", 443, (tls(), READ_HEAD, send(OK_HEAD), HOLD), "tls_timeout"),
        ("http", 80, (READ_HEAD, send("HTTP/1.1 200 OK\r\n"), sleep(0.2), send(HEAVY), HOLD), "http_timeout"),
    ],
)
def test_packets_of_full_size_that_vanish_are_told(
    lab: Lab, tmp_path: Path, scheme: str, port: int, script: Script, reason: str
) -> None:
    with lab.script(HOST, port, script):
        assert explained(lab, tmp_path, f"{scheme}://{HOST}/").startswith("UP")
        with lab.drop_full_size(HOST):
            said = explained(lab, tmp_path, f"{scheme}://{HOST}/")
    assert f"{reason}: no answer within the timeout, but for its end: packets of full size are lost on the way" in said
    assert "MSS clamping" in said


@pytest.mark.lab
def test_silence_alone_is_not_blamed_on_the_size_of_packets(lab: Lab, tmp_path: Path) -> None:
    with lab.script(HOST, 80, (READ_HEAD, HOLD)), lab.drop_full_size(HOST):
        said = explained(lab, tmp_path, f"http://{HOST}/")
    assert "http_timeout: no answer within the timeout probed" in said
    assert "(path MTU)" in said


@pytest.mark.lab
def test_a_packet_that_is_lost_once_is_sent_again(lab: Lab, tmp_path: Path) -> None:
    with lab.script(HOST, 80, (READ_HEAD, send(HEAVY), HOLD)), lab.drop_one_answer():
        assert explained(lab, tmp_path, f"http://{HOST}/").startswith("UP")


# ---------------------------------------------------------------- what a person reads of a long page


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("<style>{long}</style><p>no", "<style></style><p>no"),
        ("<STYLE type=x\n>{long}</STYLE ><p>no", "<style></STYLE ><p>no"),
        ("<style>a</style>b<style>{long}</style>c", "<style></style>b<style></style>c"),
        ("<style>{long}", "<style>"),
        ("<p>no</style><style>{long}</style>", "<p>no</style><style></style>"),
        ("<img src='data:image/png;base64,{long}'>no", "<img src='data:'>no"),
        ("<styles>{long}", None),
        ("<p>{long}", None),
    ],
)
def test_a_long_page_is_read_without_style_and_images(page: str, shown: str | None) -> None:
    whole = page.format(long="x" * BEGINNING)
    answer = Answer(200, (("Content-Type", "text/html"),))
    assert readable(answer, whole.encode()) == (shown or whole[:BEGINNING])
    short = page.format(long="x" * 100)
    assert readable(answer, short.encode()) == short
