"""Proxies that Windows or a PAC file names: what is written there, read by real engines, and the ways that follow."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config.documents import DocumentError
from exporter.model.vocabulary import (
    CheckKey,
    Evidence,
    Failure,
    Phase,
    Plan,
    Probing,
    Proxy,
    Reason,
    Result,
    Target,
    Ways,
    WayTaken,
)
from exporter.probe.runner import Network, found_at, run_check
from exporter.proxies import evaluation, finding, pac, winhttp
from exporter.proxies.finding import NotFound, finder
from exporter.proxies.server import NoServer
from exporter.proxies.windows import Setting, setting
from exporter.proxies.winhttp import Held
from exporter.report.facts import connection
from exporter.results.paths import paths
from exporter.service.load import Source, deploy, examine, network_of
from tests.running import in_a_quiet_moment_of_the_loop
from tests.servers import HOST, answer, connect_proxy, serving, silent, status

PACS: Final = Path(__file__).parent / "data" / "pac"
BAD: Final = sorted((PACS / "bad").glob("*.pac"))
ONCE: Final = Probing(timeout=10.0, attempts=1)
HASTY: Final = Probing(timeout=4.0, attempts=1)
WEST: Final = "http://west.corp.example:3128"
EAST: Final = "http://east.corp.example:3128"


def no_trust() -> NoReturn:
    raise AssertionError("nothing here needs a trust store")


def by_pac(place: Path | str) -> Proxy:
    return Proxy("corporate", "", pac=str(place))


# ---------------------------------------------------------------- what Windows writes


@pytest.mark.parametrize(
    ("written", "url", "named"),
    [
        ("proxy.corp.example:3128", "https://a.example/", ("http://proxy.corp.example:3128",)),
        ("http://proxy.corp.example:3128/", "https://a.example/", ("http://proxy.corp.example:3128",)),
        ("proxy", "https://a.example/", ("http://proxy:80",)),
        ("https://proxy:8443", "http://a.example/", ("https://proxy:8443",)),
        ("http=a:80;https=b:443", "http://a.example/", ("http://a:80",)),
        ("http=a:80;https=b:443", "https://a.example/", ("http://b:443",)),
        ("HTTP=a:80 HTTPS=http://b:443", "https://a.example/", ("http://b:443",)),
        ("http=a:80", "https://a.example/", (None,)),
        ("ftp=a:80", "https://a.example/", (None,)),
        ("http=a:80;c:8080", "https://a.example/", ("http://c:8080",)),
        ("a:80 b:80", "https://a.example/", ("http://a:80", "http://b:80")),
        ("[2001:db8::1]:3128", "https://a.example/", ("http://[2001:db8::1]:3128",)),
        ("192.0.2.1:3128", "https://a.example/", ("http://192.0.2.1:3128",)),
        ("socks=a:1080;https=b:80", "https://a.example/", ("http://b:80",)),
        (" ; ", "https://a.example/", (None,)),
        (None, "https://a.example/", (None,)),
    ],
)
def test_a_setting_of_windows_names_the_proxies_of_a_scheme(
    written: str | None, url: str, named: tuple[str | None, ...]
) -> None:
    assert setting(written, None).ways(Target(url)) == Ways(named)


@pytest.mark.parametrize("written", ["socks=a:1080", "socks5://a:1080", "http=a:80;socks=b:1080"])
def test_a_setting_that_names_only_socks_is_no_way_and_not_direct(written: str) -> None:
    ways = setting(written, None).ways(Target("https://a.example/"))
    assert ways.urls == ()
    assert "SOCKS" in (ways.why_none or "")


@pytest.mark.parametrize(
    "written", ["proxy:0", "proxy:99999", "proxy:port", "a b?c", "http=", "quic://a:1", "1.2.3:80", "svc:hunter2@a:1"]
)
def test_a_setting_that_names_no_server_is_a_mistake(written: str) -> None:
    with pytest.raises(NoServer) as raised:
        setting(written, None)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("entries", "url", "excepted"),
    [
        ("<local>", "https://intranet/", True),
        ("<local>", "https://intranet.corp.example/", False),
        ("<LOCAL>", "https://intranet/", True),
        ("<local>", "https://[2001:db8::1]/", False),
        ("*.corp.example", "https://a.b.CORP.example./", True),
        ("*.corp.example", "https://corp.example/", False),
        ("corp.example", "https://corp.example/", True),
        ("corp.example", "https://a.corp.example/", False),
        ("10.*", "https://10.1.2.3/", True),
        ("10.*", "https://110.1.2.3/", False),
        ("192.168.*.1", "https://192.168.7.1/", True),
        ("https://*.corp.example", "https://a.corp.example/", True),
        ("https://*.corp.example", "http://a.corp.example/", False),
        ("a.example:8530", "http://a.example:8530/", True),
        ("a.example:8530", "http://a.example/", False),
        ("http://a.example/", "http://a.example/", True),
        ("[2001:db8::1]", "http://[2001:db8::1]/", True),
        ("2001:db8::*", "http://[2001:db8::1]/", True),
        ("b.example; *.corp.example <local>", "https://a.corp.example/", True),
        ("a?b.example;[a-z].example", "https://a.example/", False),
        ("*", "https://a.example/", True),
        ("<-loopback>", "https://a.example/", False),
        ("https://", "https://a.example/", False),
    ],
)
def test_an_exception_of_windows_is_direct(entries: str, url: str, excepted: bool) -> None:
    ways = setting("proxy:3128", entries).ways(Target(url))
    assert ways == Ways((None,) if excepted else ("http://proxy:3128",))


@given(st.text(), st.text(), st.sampled_from(["http://a/", "https://a.b.example:8531/", "https://[::1]/"]))
def test_whatever_windows_holds_is_a_setting_or_a_mistake(proxies: str, exceptions: str, url: str) -> None:
    try:
        found = setting(proxies, exceptions)
    except NoServer:
        return
    ways = found.ways(Target(url))
    assert bool(ways.urls) == (ways.why_none is None)
    assert str(found)


def test_a_setting_is_told_with_its_exceptions() -> None:
    assert str(setting("http=a:80;https=b:443", "<local>;*.corp.example")) == (
        "a:80 for http; b:443 for https; without it: <local>, *.corp.example"
    )
    assert str(Setting()) == "no proxy is set: direct"


# ---------------------------------------------------------------- what PAC files say


@pytest.mark.parametrize(
    ("said", "urls"),
    [
        ("DIRECT", (None,)),
        ("PROXY a:80", ("http://a:80",)),
        ("proxy a.example", ("http://a.example:80",)),
        ("HTTP a:80;HTTPS b; DIRECT;", ("http://a:80", "https://b:443", None)),
        ("  PROXY   [2001:db8::1]:8080  ", ("http://[2001:db8::1]:8080",)),
        ("SOCKS5 a:1080; PROXY b:80", ("http://b:80",)),
        ("PROXY a:80; PROXY a:80; DIRECT; DIRECT", ("http://a:80", None)),
    ],
)
def test_an_answer_names_ways_in_their_order(said: str, urls: tuple[str | None, ...]) -> None:
    assert pac.ways(said) == Ways(urls)


@pytest.mark.parametrize("said", ["SOCKS a:1080", "SOCKS4 a:1080; SOCKS5 b:1080"])
def test_an_answer_of_socks_alone_is_no_way_and_not_direct(said: str) -> None:
    ways = pac.ways(said)
    assert ways.urls == ()
    assert "SOCKS" in (ways.why_none or "")


@given(st.text() | st.lists(st.sampled_from(["PROXY a:1", "DIRECT", "SOCKS a:1", "null", " ", ";"])).map(";".join))
def test_whatever_is_answered_names_a_way_or_says_why_not_or_is_rubbish(said: str) -> None:
    try:
        ways = pac.ways(said)
    except pac.Rubbish:
        return
    assert bool(ways.urls) == (ways.why_none is None)
    assert (None in ways.urls) == ("direct" in [part.strip().lower() for part in said.split(";")])


def test_a_pac_file_is_not_told_the_path_of_what_is_encrypted() -> None:
    assert pac.question(Target("https://a.example:8531/secret?token=1")) == ("https://a.example:8531/", "a.example")
    assert pac.question(Target("https://a.example?token=1")) == ("https://a.example/", "a.example")
    assert pac.question(Target("http://a.example/path?query")) == ("http://a.example/path?query", "a.example")


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        (
            "corporate",
            {
                "https://intranet/": (None,),
                "https://www.corp.example/": (None,),
                "https://www.partner.example/": (None,),
                "http://10.1.2.3/": (None,),
                "http://192.168.1.1/": (None,),
                "http://172.16.0.1/banner/1": ("http://127.0.0.1:9",),
                "http://172.16.0.1/": (WEST, EAST),
                "https://172.16.0.1/": ("https://secure.corp.example:8443", WEST, EAST),
            },
        ),
        ("calendar", {"https://a.example/": ("http://always.corp.example:8080",)}),
        (
            "ex",
            {
                "https://10.1.2.3/": (None,),
                "https://[2001:db8::7]/": (None,),
                "https://11.1.2.3/": ("http://six.corp.example:3128",),
                "https://localhost/": ("http://six.corp.example:3128",),
            },
        ),
        (
            "modern",
            {
                "https://wiki.example/": (None,),
                "https://a.example/": ("http://a.corp.example:80", "http://b.corp.example:80"),
            },
        ),
        ("bom", {"https://a.example/": ("http://bom.corp.example:8080", None)}),
        ("latin1", {"https://a.example/": ("http://latin.corp.example:80",)}),
        ("utf16", {"https://a.example/": ("http://wide.corp.example:8080",)}),
        ("socks", {"https://a.example/": ("http://proxy.corp.example:3128",), "https://only.example/": ()}),
        ("resolves", {"https://localhost/": (None,), "https://192.0.2.1/": ("http://known.corp.example:3128",)}),
    ],
)
def test_a_real_engine_runs_the_files_of_the_wild(name: str, answers: dict[str, tuple[str | None, ...]]) -> None:
    """Names that a file looks up are tested in the laboratory; here, only `localhost` and addresses are looked up."""
    found = finder(by_pac(PACS / f"{name}.pac"), no_trust).ways([Target(url) for url in answers])
    assert dict(zip(answers, (ways.urls for ways in found), strict=True)) == answers


def test_this_machine_has_an_address_for_a_pac_file() -> None:
    (ways,) = finder(by_pac(PACS / "here.pac"), no_trust).ways([Target("https://a.example/")])
    (url,) = ways.urls
    assert url is not None
    assert url.startswith("http://")


@pytest.mark.parametrize(
    ("calls", "true"),
    [
        ("isInNetEx('10.1.2.3', '10.0.0.0/8')", True),
        ("isInNetEx('11.1.2.3', '10.0.0.0/8')", False),
        ("isInNetEx('localhost', '10.0.0.0/8')", False),
        ("isInNetEx('2001:db8::5', '2001:db8::/32')", True),
        ("isInNetEx('2001:db8::5', '10.0.0.0/8')", False),
        ("isInNetEx('10.1.2.3', '10.0.0.0')", False),
        ("weekdayRange('FRI', 'THU')", True),
        ("weekdayRange('WED', 'TUE', 'GMT')", True),
        ("weekdayRange('XXX')", False),
        ("isInNet('127.0.0.1', '127.0.0.0', '255.0.0.0')", True),
        ("dnsResolve('::1') === null", True),
        ("dnsResolve('127.0.0.1') === '127.0.0.1'", True),
    ],
)
def test_the_functions_of_a_pac_file_mean_what_browsers_mean(calls: str, true: bool) -> None:
    script = f"function FindProxyForURL(url, host) {{ return String({calls}); }}"
    assert evaluation.evaluate(script, [("http://a.example/", "a.example")]) == [str(true).lower()]


WORDS: Final = {
    "commas": "is no HOST:PORT",
    "compressed": "no PAC file that can be run",
    "credentials": "***@a.corp.example:80",
    "empty-answer": "it names nothing",
    "endless": "no answer for all targets within",
    "endless-at-once": "no answer for all targets within",
    "memory": "out of memory",
    "no-function": "FindProxyForURL is not defined",
    "nothing": "FindProxyForURL is not defined",
    "nul": "no PAC file that can be run",
    "null": "'null' is neither DIRECT nor PROXY HOST:PORT",
    "object": "[object Object]",
    "port": "expected a port from 1 to 65535",
    "recursion": "Maximum call stack size exceeded",
    "reference-error": "findProxy is not defined",
    "syntax-error": "SyntaxError",
    "throws": "no proxy for a.example",
    "too-many": "it names 100 ways",
    "undefined": "'undefined' is neither",
    "url": "is neither DIRECT nor PROXY HOST:PORT",
    "web-page": "is a web page or XML",
}


def test_every_broken_pac_file_is_expected_to_be_told_somehow() -> None:
    assert {path.stem for path in BAD} == WORDS.keys()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_broken_pac_file_is_a_mistake_and_never_direct(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem.startswith("endless"):
        monkeypatch.setattr(evaluation, "SECONDS", 2.0)
    with pytest.raises(NotFound) as raised:
        finder(by_pac(path), no_trust).ways([Target("https://a.example/")])
    assert WORDS[path.stem] in str(raised.value)
    assert str(path) in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_pac_file_cannot_reach_files_or_programs() -> None:
    names = (
        "require",
        "process",
        "std",
        "os",
        "Worker",
        "XMLHttpRequest",
        "fetch",
        "load",
        "scriptArgs",
        "ActiveXObject",
    )
    script = (
        f"function FindProxyForURL(url, host) {{ return [{', '.join(f'typeof {name}' for name in names)}].join(); }}"
    )
    (answered,) = evaluation.evaluate(script, [("http://a.example/", "a.example")])
    assert answered == ",".join(["undefined"] * len(names))


def test_where_there_is_no_engine_is_told_how_to_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "find_spec", lambda _: None)
    with pytest.raises(NotFound, match=r"bom\.pac: to run it needs pacparser, .*: pip install pacparser"):
        finder(by_pac(PACS / "bom.pac"), no_trust).ways([Target("https://a.example/")])


def test_an_engine_that_crashes_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "interpreter", lambda: "false")
    with pytest.raises(evaluation.NotEvaluated, match="ended with status 1 and without an answer"):
        evaluation.evaluate("", [])


def test_an_engine_that_may_not_be_started_is_a_mistake_that_names_the_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As by AppLocker, which lets no service start it."""
    monkeypatch.setattr(evaluation, "interpreter", lambda: str(tmp_path))
    with pytest.raises(NotFound, match=rf"bom\.pac: its engine cannot be started: .*{re.escape(str(tmp_path))}"):
        finder(by_pac(PACS / "bom.pac"), no_trust).ways([Target("https://a.example/")])


# ---------------------------------------------------------------- where a PAC file is fetched

SCRIPT: Final = b"function FindProxyForURL(url, host) { return 'PROXY proxy.corp.example:3128'; }"


def of_web(url: str) -> list[Ways]:
    return finder(by_pac(url), ssl.create_default_context).ways([Target("https://a.example/")])


def holding(script: bytes) -> Callable[[socket.socket], None]:
    return answer(f"HTTP/1.1 200 OK\nContent-Length: {len(script)}\n\n{script.decode()}")


def test_a_pac_file_is_fetched_from_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(holding(SCRIPT)) as server:
        assert of_web(server.url(path="/proxy.pac?token=1")) == [Ways(("http://proxy.corp.example:3128",))]


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (status(404), "status 404"),
        (answer("HTTP/1.1 302 Found\nLocation: /proxy.pac\nContent-Length: 0\n\n"), "leads on and on"),
        (answer(f"HTTP/1.1 200 OK\nContent-Length: {1 << 21}\n\n{'x' * (1 << 21)}"), "more than 1048576 bytes"),
        (silent, "http_timeout"),
        (answer("220 mail.corp.example ESMTP\n"), "cannot be fetched"),
        (holding(b"<html><body>Please sign in</body></html>"), "is a web page or XML"),
    ],
)
def test_a_pac_file_that_cannot_be_fetched_is_a_mistake_and_never_direct(
    talk: Callable[[socket.socket], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if talk is silent:
        monkeypatch.setattr(finding, "FETCHED_WITHIN", 0.5)
    with serving(talk) as server, pytest.raises(NotFound) as raised:
        of_web(server.url(path="/proxy.pac?token=hunter2"))
    assert said in str(raised.value)
    assert server.url(path="/proxy.pac") in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_pac_file_that_nobody_serves_is_a_mistake() -> None:
    with pytest.raises(NotFound, match="cannot be fetched: connect_refused"):
        of_web(f"http://{HOST}:{closed_port()}/proxy.pac")


def test_a_file_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot be read: No such file or directory; give the path of a PAC file"):
        finder(by_pac(tmp_path / "missing.pac"), no_trust)


def closed_port() -> int:
    with closing(socket.socket()) as unused:
        unused.bind((HOST, 0))
        return int(unused.getsockname()[1])


# ---------------------------------------------------------------- what Windows holds


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[Held], None]:
    return lambda what: monkeypatch.setattr(winhttp, "held", lambda _: what)


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[[str], Source]:
    """A configuration with a proxy that is found in a certain way, and two targets of ours that go through it."""

    def write(found: str) -> Source:
        path = tmp_path / "exporter.yaml"
        path.write_text(
            "site: {roles: [client], features: [mine]}\n"
            f"proxies:\n  corporate:\n    no_proxy: [excepted.example]\n    {found}\n"
            "via: {client: corporate}\n"
            "groups:\n"
            "  - feature: mine\n"
            "    endpoints:\n"
            "      - {pattern: 'https://a.example/'}\n"
            "      - {pattern: 'https://b.corp.example/'}\n"
            "      - {pattern: 'https://excepted.example/'}\n"
        )
        return Source(path)

    return write


def test_what_windows_holds_is_read_at_each_reload(
    held: Callable[[Held], None], configuration: Callable[[str], Source]
) -> None:
    source = configuration("system: winhttp")
    a, b = (CheckKey(Target(f"https://{host}/"), "corporate") for host in ("a.example", "b.corp.example"))
    held(Held("one:3128", "*.corp.example"))
    assert deploy(source).found.ways == {a: Ways(("http://one:3128",)), b: Ways((None,))}
    held(Held("two:3128"))
    assert deploy(source).found.ways == {a: Ways(("http://two:3128",)), b: Ways(("http://two:3128",))}
    held(Held())
    deployment = deploy(source)
    assert deployment.found.ways == {a: Ways((None,)), b: Ways((None,))}
    assert [check.key.path for check in deployment.plan.checks] == ["proxy:corporate", "proxy:corporate", "direct"]


def test_what_was_read_is_told_by_validate(
    held: Callable[[Held], None], configuration: Callable[[str], Source]
) -> None:
    held(Held("proxy.corp.example:3128", "<local>;*.corp.example"))
    source = configuration("system: winhttp")
    done = CliRunner().invoke(app, ["validate", "--config.file", str(source.config_file)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:3] == [
        (
            "proxies.corporate.system: WinHTTP, for this machine: proxy.corp.example:3128; "
            "without it: <local>, *.corp.example"
        ),
        "proxies.corporate.system: 1 of 2 targets: proxy.corp.example:3128",
        "proxies.corporate.system: 1 of 2 targets: direct",
    ]


def test_a_pac_file_that_windows_names_is_read(
    held: Callable[[Held], None], configuration: Callable[[str], Source]
) -> None:
    with serving(holding(SCRIPT)) as server:
        held(Held("ignored:80", pac=server.url(path="/proxy.pac"), detects=True))
        found = deploy(configuration("system: wininet")).found
    assert set(found.ways.values()) == {Ways(("http://proxy.corp.example:3128",))}
    (warning,) = found.warnings
    assert (
        "WinINET, for this account, is set to look for a PAC file in the network (WPAD), which is not done" in warning
    )
    assert "127.0.0.1" not in warning


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (Held("svc:hunter2@proxy:80"), "holds what is no proxy: '***@proxy:80' is no HOST:PORT"),
        (Held(pac="file:///c:/proxy.pac"), "names a PAC file that cannot be fetched: expected a URL that begins with"),
        (Held(pac="http://svc:hunter2@pac.example/"), "names a PAC file that cannot be fetched: a URL holds no user"),
    ],
)
def test_what_windows_holds_and_nobody_can_read_is_a_mistake(
    held: Callable[[Held], None], configuration: Callable[[str], Source], what: Held, said: str
) -> None:
    held(what)
    source = configuration("system: wininet")
    with pytest.raises(DocumentError) as raised:
        deploy(source)
    (mistake,) = raised.value.mistakes
    assert str(mistake).startswith(f"{source.config_file}:5: proxies.corporate.system: WinINET, for this account, ")
    assert said in mistake.message
    assert "hunter2" not in mistake.message


@pytest.mark.skipif("sys.platform == 'win32'", reason="there is a Windows to ask")
def test_without_windows_its_proxy_is_refused_and_the_file_is_valid(configuration: Callable[[str], Source]) -> None:
    source = configuration("system: winhttp")
    place = f"{source.config_file}:5: proxies.corporate.system: winhttp is read on Windows only, and this is linux; "
    for command in ("check", "serve"):
        done = CliRunner().invoke(app, [command, "--config.file", str(source.config_file)])
        assert done.exit_code != 0
        assert str(done.exception) == f"{place}give `url` or `pac` here"
    done = CliRunner().invoke(app, ["validate", "--config.file", str(source.config_file)])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{source.config_file}: ok, ")
    assert done.stderr.splitlines()[1:] == [f"{place}give `url` or `pac` here"]


def test_a_pac_file_that_is_not_here_is_lacking_on_this_machine_only(
    configuration: Callable[[str], Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "find_spec", lambda _: None)
    for how in ("pac: nowhere.pac", f"pac: {PACS / 'bom.pac'}"):  # which nothing here can run
        source = configuration(how)
        with pytest.raises(DocumentError) as raised:
            deploy(source)
        assert list(examine(source)[1]) == list(raised.value.mistakes)
        assert [(mistake.line, mistake.place) for mistake in raised.value.mistakes] == [
            (5, ("proxies", "corporate", "pac"))
        ]


def test_a_mistake_in_a_pac_file_names_its_line(configuration: Callable[[str], Source]) -> None:
    source = configuration(f"pac: {PACS / 'bad' / 'throws.pac'}")
    with pytest.raises(DocumentError) as raised:
        deploy(source)
    (mistake,) = raised.value.mistakes
    assert str(mistake).startswith(
        f"{source.config_file}:5: proxies.corporate.pac: the PAC file {PACS}/bad/throws.pac: "
    )


def test_socks_is_told_for_its_target(configuration: Callable[[str], Source], tmp_path: Path) -> None:
    (tmp_path / "proxy.pac").write_text(
        "function FindProxyForURL(url, host) { return host == 'a.example' ? 'SOCKS s:1080' : 'PROXY p:80'; }"
    )
    found = deploy(configuration("pac: proxy.pac")).found
    (warning,) = found.warnings
    assert warning.startswith("proxies.corporate.pac: https://a.example/: the PAC file names only SOCKS proxies for it")


def test_nothing_is_read_of_proxies_to_complete_a_word_or_to_list(configuration: Callable[[str], Source]) -> None:
    source = configuration("pac: missing.pac")
    for arguments in (["endpoints"], ["allowlist", "--format", "csv"]):
        assert CliRunner().invoke(app, [*arguments, "--config.file", str(source.config_file)]).exit_code == 0


@pytest.mark.parametrize("direct", [False, True])
def test_a_list_is_fetched_as_the_file_says(
    configuration: Callable[[str], Source],
    tmp_path: Path,
    direct: bool,
) -> None:
    heard: list[bytes] = []
    with serving(status(404, heard=heard)) as server:
        place = "DIRECT" if direct else f"PROXY {HOST}:{server.port}"
        (tmp_path / "proxy.pac").write_text(f"function FindProxyForURL(url, host) {{ return '{place}'; }}")
        config = str(configuration("pac: proxy.pac").config_file)
        url = server.url(path="/list.json") if direct else "http://list.example/list.json"
        arguments = ["catalogue", "import", url, "--config.file", config, "--proxy", "corporate"]
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "status 404" in done.stderr
    assert heard[0].startswith(b"GET /list.json " if direct else b"GET http://list.example/list.json ")


def test_a_list_is_not_fetched_where_the_proxy_cannot_be_found(configuration: Callable[[str], Source]) -> None:
    config = str(configuration("pac: missing.pac").config_file)
    arguments = ["catalogue", "import", "http://list.example/", "--config.file", config, "--proxy", "corporate"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code != 0
    assert str(done.exception).startswith("--proxy corporate: the PAC file ")


# ---------------------------------------------------------------- the ways that are gone


def network(*urls: str | None, why_none: str | None = None, target: str = "http://a.example/") -> Network:
    key = CheckKey(Target(target), "corporate")
    return Network(verifying_nobody(), {"corporate": by_pac("x")}, ways={key: Ways(urls, why_none)})


def verifying_nobody() -> ssl.SSLContext:
    return ssl.create_default_context()


async def probed(network: Network, target: str = "http://a.example/", probing: Probing = ONCE) -> Result:
    return await run_check(CheckKey(Target(target), "corporate"), network, probing)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.anyio
async def test_the_next_proxy_is_taken_where_the_one_before_cannot_be_connected_to() -> None:
    heard: list[bytes] = []
    with serving(answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n", heard=heard)) as proxy:
        dead = f"http://{HOST}:{closed_port()}"
        result = await probed(network(dead, proxy.url(path=""), None))
    assert result.up
    assert result.evidence.way == WayTaken(2, 3, direct=False)
    assert result.key.path == "proxy:corporate"
    assert [one.address for one in result.evidence.tried] == [HOST]
    assert heard[0].startswith(b"GET http://a.example/ HTTP/1.1\r\n")


@pytest.mark.anyio
async def test_a_way_that_is_direct_is_direct_and_keeps_the_path_of_the_proxy() -> None:
    heard: list[bytes] = []
    with serving(answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n", heard=heard)) as server:
        result = await probed(network(None, target=server.url()), server.url())
    assert result.up
    assert result.evidence.way == WayTaken(1, 1, direct=True)
    assert result.key.path == "proxy:corporate"
    assert not result.through_proxy
    assert heard[0].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.anyio
async def test_a_proxy_that_answers_is_not_passed_over_whatever_it_says() -> None:
    heard: list[bytes] = []
    with (
        serving(connect_proxy("HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n")) as first,
        serving(connect_proxy(heard=heard)) as second,
    ):
        found = network(first.url(path=""), second.url(path=""), target="https://a.example/")
        result = await probed(found, "https://a.example/")
    assert result.failure
    assert result.failure.reason is Reason.PROXY_DENIED
    assert result.evidence.way == WayTaken(1, 2, direct=False)
    assert heard == []


@pytest.mark.anyio
async def test_where_no_way_opens_the_first_is_told() -> None:
    dead, direct = f"http://{HOST}:{closed_port()}", f"http://{HOST}:{closed_port()}/"
    result = await probed(network(dead, None, target=direct), direct)
    assert result.failure
    assert result.failure.reason is Reason.PROXY_UNREACHABLE
    assert result.failure.message.endswith("; nor does a connection open on any other way named for it")
    assert result.evidence.way == WayTaken(1, 2, direct=False)
    assert paths([result]) == {"proxy:corporate": False}


@pytest.mark.anyio
async def test_a_silent_first_proxy_leaves_time_for_the_second() -> None:
    """Its queue is full, so that it takes no connection and says nothing."""
    half_of_it = HASTY.timeout / 2 - 0.1
    with closing(socket.socket()) as full, serving(status(200)) as second:
        full.bind((HOST, 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())

        async def moment() -> Result:
            found = network(f"http://{HOST}:{full.getsockname()[1]}", second.url(path=""))
            return await probed(found, probing=HASTY)

        result = await in_a_quiet_moment_of_the_loop(
            moment, lambda seen: seen.phases.get(Phase.CONNECT, 0.0) >= half_of_it
        )
        for one in waiting:
            one.close()
    assert result.up
    assert result.evidence.way == WayTaken(2, 2, direct=False)
    assert result.phases[Phase.CONNECT] >= half_of_it


@pytest.mark.anyio
async def test_a_target_without_a_way_fails_with_the_reason() -> None:
    result = await probed(network(why_none="only SOCKS"))
    assert result.failure == Failure(Phase.PROXY, Reason.PROXY_ERROR, "only SOCKS")


def test_each_proxy_that_is_found_has_a_sign_in_of_its_own_which_a_reload_keeps(
    held: Callable[[Held], None], configuration: Callable[[str], Source], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("a-password-of-some-length")
    source = configuration("system: winhttp\n    username: svc\n    password_file: password")
    held(Held("http=one:3128;https=two:3128;https=three:3128"))
    before = network_of(deploy(source))
    one, two = (before.sign_ins[found_at("corporate", f"http://{host}:3128")] for host in ("two", "three"))
    assert one is not two
    held(Held("two:3128"))
    after = network_of(deploy(source), before)
    assert after.sign_ins == {found_at("corporate", "http://two:3128"): one}
    (route,) = after.routes(CheckKey(Target("https://a.example/"), "corporate"))
    assert route.sign_in is one
    assert route.proxy
    assert (route.proxy.name, route.proxy.url, route.proxy.username) == ("corporate", "http://two:3128", "svc")


# ---------------------------------------------------------------- what is told of it

KEY: Final = CheckKey(Target("https://a.example/"), "corporate")


@pytest.mark.parametrize(
    ("way", "path"),
    [
        (None, "through the proxy corporate, which resolves the name of the target itself"),
        (WayTaken(1, 1, direct=False), "through the proxy corporate, which resolves the name of the target itself"),
        (WayTaken(1, 1, direct=True), "direct, as the settings or the PAC file of the proxy corporate say"),
        (
            WayTaken(2, 3, direct=False),
            (
                "way 2 of 3 named for the target, through the proxy corporate, "
                "which resolves the name of the target itself"
            ),
        ),
    ],
)
def test_the_way_is_told_without_the_proxys_address(way: WayTaken | None, path: str) -> None:
    assert dict(connection(Result(KEY, 0.0, evidence=Evidence(way=way))))["path"] == path


def test_what_goes_direct_says_nothing_of_the_proxy() -> None:
    refused = Failure(Phase.CONNECT, Reason.CONNECT_REFUSED, "no")
    direct = Result(KEY, 0.0, evidence=Evidence(way=WayTaken(1, 1, direct=True)), failure=refused)
    dead = Result(
        replace(KEY, target=Target("https://b.example/")),
        0.0,
        evidence=Evidence(way=WayTaken(1, 1, direct=False)),
        failure=Failure(Phase.CONNECT, Reason.PROXY_UNREACHABLE, "no"),
    )
    assert paths([direct]) == {}
    assert paths([direct, dead]) == {"proxy:corporate": False}


def test_a_proxy_of_no_check_is_read_all_the_same() -> None:
    with pytest.raises(DocumentError):
        finding.find(Plan(), [by_pac("missing.pac")], "exporter.yaml", no_trust)
