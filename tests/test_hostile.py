"""Servers that mean harm: what they send costs little, leads nowhere, and steers nothing."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import tracemalloc
import unicodedata
import zlib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.documents import Document
from exporter.model.vocabulary import CheckKey, Probing, Reason, Result, Target
from exporter.probe.bodies import BEGINNING, unpacked
from exporter.probe.runner import Network, run_check
from tests.servers import answer, head, serving, status

pytestmark = pytest.mark.anyio
MIB: Final = 1 << 20
WITHIN: Final = 1.0  # seconds for a probe that would otherwise last


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def probe(url: str, timeout: float = 5.0) -> Result:  # noqa: ASYNC109 - the probe's
    network = Network(ssl.create_default_context(), {})
    return await run_check(CheckKey(Target(url)), network, Probing(timeout=timeout, attempts=1))


# ---------------------------------------------------------------- what it costs

WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}


def bomb(coding: str) -> bytes:
    """64 MiB in 64 KiB."""
    packing = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS[coding])
    return packing.compress(bytes(64 * MIB)) + packing.flush()


@pytest.mark.parametrize("coding", WINDOW_BITS)
async def test_a_small_page_that_unpacks_to_a_large_one_takes_no_memory(coding: str) -> None:
    page = bomb(coding)
    told = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {coding}\r\n\r\n"

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(told.encode() + page)

    with serving(talk) as server:
        await probe(server.url())  # imports and caches come first
        tracemalloc.start()
        result = await probe(server.url())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert result.evidence.answer
    assert len(result.evidence.answer.body) == BEGINNING
    assert most < 2 * MIB


@given(st.binary(max_size=3 * BEGINNING), st.sampled_from(sorted(WINDOW_BITS)))
def test_a_page_that_was_packed_is_read_like_one_that_was_not(page: bytes, coding: str) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS[coding])
    packed = packing.compress(page) + packing.flush()
    assert unpacked(packed, coding.upper(), BEGINNING) == unpacked(page, "", BEGINNING) == page[:BEGINNING]


@given(st.binary(max_size=100), st.sampled_from(["gzip", "deflate", "br", "gzip, gzip", "zstd"]))
def test_what_cannot_be_unpacked_is_no_page(page: bytes, coding: str) -> None:
    assert len(unpacked(page, coding, BEGINNING)) <= BEGINNING


async def test_headers_without_end_are_no_http() -> None:
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        head(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sent += connection.send(b"X: " + b"y" * 4000 + b"\r\n")

    with serving(talk) as server:
        result = await probe(server.url())

    assert result.failure
    assert result.failure.reason is Reason.HTTP_PROTOCOL
    assert sent < 8 * MIB  # what the two kernels buffer, no more


async def test_preliminary_answers_without_end_are_no_answer() -> None:
    def talk(connection: socket.socket) -> None:
        head(connection)
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with serving(talk) as server:
        result = await probe(server.url(), WITHIN)

    assert result.failure
    assert result.failure.reason is Reason.HTTP_TIMEOUT


# ---------------------------------------------------------------- where it leads


@pytest.mark.parametrize("location", ["http://{inside}/", "file:///etc/passwd", "//{inside}/", "https://{inside}/"])
@pytest.mark.parametrize("code", [301, 307])
async def test_nobody_is_led_to_a_place_inside(location: str, code: int) -> None:
    visitors: list[bytes] = []
    with serving(status(200, heard=visitors)) as inside:
        to = location.format(inside=f"{inside.host}:{inside.port}")
        with serving(answer(f"HTTP/1.1 {code} Moved\nLocation: {to}\nContent-Length: 0\n\n")) as server:
            result = await probe(server.url())

    assert result.evidence.status == code
    assert visitors == []


async def test_a_page_that_leads_elsewhere_is_not_followed() -> None:
    visitors: list[bytes] = []
    with serving(status(200, heard=visitors)) as inside:
        page = f'<meta http-equiv="refresh" content="0;url={inside.url()}"><img src="{inside.url()}">'
        with serving(answer(f"HTTP/1.1 200 OK\nContent-Type: text/html\n\n{page}")) as server:
            result = await probe(server.url())

    assert result.evidence.answer
    assert page in result.evidence.answer.body
    assert visitors == []


# ---------------------------------------------------------------- what it steers

UNPRINTABLE: Final = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}
]
LOGGING: Final = """
import json, sys, structlog
from exporter.system.log import LogFormat, LogLevel, configure
for form in LogFormat:
    configure(LogLevel.INFO, form)
    structlog.get_logger("exporter").warning("down", **json.loads(sys.argv[1]))
"""


def test_what_a_server_says_is_one_line_of_the_log_and_steers_no_terminal() -> None:
    said = {"bare": "\x1b[2J", "message": f'"\n level=error {"".join(UNPRINTABLE)}\r\n'.replace("\0", "")}
    done = subprocess.run(
        [sys.executable, "-c", LOGGING, json.dumps(said)], capture_output=True, check=True, encoding="utf-8"
    )
    logfmt, in_json, rest = done.stderr.split("\n")
    assert logfmt.isprintable()
    assert in_json.isprintable()
    assert rest == ""
    assert json.loads(in_json)["message"] == said["message"]


# ---------------------------------------------------------------- what is read


def test_no_yaml_makes_an_object_or_runs_anything(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    document = Document(f"a: !!python/object/apply:os.system ['touch {mark}']\nb: !!python/name:os.system ''\n", "f")
    assert document.value == {"a": [f"touch {mark}"], "b": ""}
    assert len(document.mistakes) == 2
    assert not mark.exists()
