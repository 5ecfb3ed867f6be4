"""What stands in the place of an answer, as it comes over the wire: however it is labelled, and however late."""

from __future__ import annotations

import gzip
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import anyio
import pytest
from trio.testing import MockClock

from exporter.catalogue import load, shipped
from exporter.failure import Signs
from exporter.fingerprints import load_fingerprints
from exporter.interference import domains_of
from exporter.loop import run_on_loop
from exporter.model import CheckKey, Probing, Proxy, Reason, Result, Target
from exporter.net import beginning
from exporter.probes import Network, run_check
from tests.servers import Talk, head, serving

FINGERPRINTS = load_fingerprints(shipped() / "vocabulary" / "fingerprints.yaml")
DOCUMENTED = domains_of(endpoint.pattern for group in load().groups for endpoint in group.endpoints)
SIGNS = Signs(FINGERPRINTS, DOCUMENTED)
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
    monkeypatch.setattr("exporter.probes.http._PAGE_TIME", FOR_EVER)
    monkeypatch.setattr("exporter.net.transport._PAGE_TIME", FOR_EVER)


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
    result = result_of(talk, url, through=bool(url), probing=Probing(timeout=1.5, attempts=1))
    assert reason_of(result) == reason


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
        ("Content-Encoding: deflate, gzip", gzip.compress(packed(15))),
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
