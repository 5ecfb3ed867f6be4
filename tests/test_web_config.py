"""The web-config file: what other exporters take is taken here, and what is judged otherwise is documented."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from starlette.responses import PlainTextResponse

from exporter.config import web as web_config
from exporter.config.documents import DocumentError
from exporter.config.web import RateLimit
from tests.lab.pki import authority, leaf
from tests.running import ROOT
from tests.web_server import LOOPS, read, serving

CASES: Final[list[dict[str, Any]]] = yaml.safe_load((ROOT / "tests/data/web_config.yaml").read_text(encoding="utf-8"))
PAGE: Final = " ".join((ROOT / "docs/tls-and-authentication.md").read_text(encoding="utf-8").split())
ANSWERS: Final = PlainTextResponse("in\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate and its key, and one that signs itself."""
    made = tmp_path_factory.mktemp("web-config")
    root = authority("Root")
    key, certificate = leaf("localhost", root).decode().split("-----BEGIN CERTIFICATE-----", 1)
    (made / "server.key").write_text(key)
    (made / "server.crt").write_text(f"-----BEGIN CERTIFICATE-----{certificate}")
    (made / "client.pem").write_bytes(root.pem)
    return made


def filled(text: str, folder: Path) -> str:
    for mark, name in (("@CERT@", "server.crt"), ("@KEY@", "server.key")):
        text = text.replace(mark, json.dumps((folder / name).read_text()))
    return text


def written(text: str, folder: Path) -> Path:
    file = folder / "web.yaml"
    file.write_text(filled(text, folder))
    return file


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_format_is_judged_as_by_other_exporters(case: dict[str, Any], folder: Path) -> None:
    file, message = written(case["text"], folder), None
    try:
        web_config.load(file)
    except DocumentError as error:
        message = str(error)
    assert (message is None) == (case.get("says") is None)
    assert case.get("says", "") in (message or "")
    assert (case["toolkit"] == ("refuses" if message else "accepts")) == ("differs" not in case)
    assert (folder / "server.key").read_text() not in (message or "")


def test_what_is_judged_otherwise_is_documented() -> None:
    listed = PAGE.split("## What differs from other exporters")[1].split(" ## ")[0]
    assert [case["differs"] for case in CASES if "differs" in case and case["differs"] not in listed] == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("text", ["cert: @CERT@, key: @KEY@", "cert: @CERT@, key_file: server.key"])
def test_a_certificate_in_the_file_itself_is_shown_and_no_file_is_left_of_it(
    text: str, loop: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    trusting = ssl.create_default_context(cafile=str(folder / "client.pem"))
    file = written(f"tls_server_config: {{{text}}}", folder)
    with serving(ANSWERS, file, loop=loop) as found, found.secure(trusting) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read(connection).startswith(b"HTTP/1.1 200 ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("offered", "spoken"), [("secp521r1", True), ("secp384r1", False)])
def test_a_curve_that_is_named_is_the_only_one(offered: str, spoken: bool, folder: Path) -> None:
    file = written(
        "tls_server_config: {cert_file: server.crt, key_file: server.key, curve_preferences: [CurveP521]}", folder
    )
    trusting = ssl.create_default_context(cafile=str(folder / "client.pem"))
    trusting.set_ecdh_curve(offered)
    with serving(ANSWERS, file) as found:
        try:
            with found.secure(trusting):
                shaken = True
        except OSError:
            shaken = False
    assert shaken is spoken


def test_certificates_of_strangers_authorities_open_nothing_that_acts(folder: Path) -> None:
    tls = (
        "tls_server_config: {cert_file: server.crt, key_file: server.key, client_auth_type: RequireAndVerifyClientCert"
    )
    anybodys = web_config.load(written(f"{tls}}}", folder))
    ours = web_config.load(written(f"{tls}, client_ca_file: client.pem}}", folder))
    assert anybodys.demands == ours.demands
    assert ours.knows_who_asks
    assert not anybodys.knows_who_asks


@pytest.mark.parametrize(
    ("interval", "limit"),
    [
        ("0", None),
        ('"0"', None),
        ("0s", None),
        ("1s", 1.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("1000", 1e-6),  # nanoseconds
        ("250µs", 250e-6),
    ],
)
def test_an_interval_is_written_as_go_writes_it(interval: str, limit: float | None, folder: Path) -> None:
    found = web_config.load(written(f"rate_limit: {{interval: {interval}, burst: 5}}", folder)).rate_limit
    assert found == (RateLimit(limit, 5) if limit else None)


@pytest.mark.parametrize("interval", ["1 s", "s", "-1s", "-1", "1d", "true", "[]", "1.5", "''"])
def test_what_is_no_interval_is_refused(interval: str, folder: Path) -> None:
    with pytest.raises(DocumentError, match=r"rate_limit\.interval"):
        web_config.load(written(f"rate_limit: {{interval: {interval}, burst: 5}}", folder))


@pytest.mark.parametrize(("limit", "passed"), [("interval: 1h, burst: 0", 0), ("interval: 1h, burst: 3", 3)])
def test_so_many_requests_are_answered_and_health_is_not_counted(limit: str, passed: int, folder: Path) -> None:
    with serving(ANSWERS, written(f"rate_limit: {{{limit}}}", folder)) as found:
        health = [found.answer(path="/-/healthy") for _ in range(5)]
        answers = [found.answer() for _ in range(5)]
        refused = found.said(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert health == [200] * 5
    assert answers == [200] * passed + [429] * (5 - passed)
    assert b"\r\nretry-after: 1\r\n" in refused.lower()
