"""What is known of TLS records before they are decrypted, in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.probe.net.records import Records

TLS13, ECDHE, DHE, RSA = 0x1302, 0xC02F, 0x009E, 0x009C


def record(content: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def hello(suite: int, session: bytes = bytes(32)) -> bytes:
    content = b"\x03\x03" + bytes(32) + bytes([len(session)]) + session + suite.to_bytes(2, "big") + b"\0"
    return b"\x02" + len(content).to_bytes(3, "big") + content


@pytest.mark.parametrize(("suite", "long"), [(TLS13, False), (ECDHE, False), (DHE, True), (RSA, True), (0, True)])
@pytest.mark.parametrize("session", [b"", bytes(32)])
def test_the_suite_that_a_server_chooses_says_whether_a_handshake_may_take_long(
    suite: int, long: bool, session: bytes
) -> None:
    records = Records()
    records.feed(record(hello(suite, session) + b"more in the same record"))
    assert records.may_take_long is long


@pytest.mark.parametrize(
    "said", [record(hello(ECDHE)[:20]), record(b"\x0b" + bytes(99)), record(b"x", 21), b"\x16\x03\x03\0\0"]
)
def test_what_hides_the_suite_may_take_long(said: bytes) -> None:
    records = Records()
    records.feed(said + record(hello(ECDHE)))
    assert records.may_take_long


def test_a_long_flight_may_take_long_and_one_that_has_not_come_does_not() -> None:
    records = Records()
    records.feed(record(hello(ECDHE))[:-3])
    assert not records.may_take_long  # nothing is done with half a record
    records.feed(record(hello(ECDHE))[-3:] + record(bytes(16_000)) + record(bytes(16_000)))
    assert records.may_take_long


@given(st.lists(st.tuples(st.sampled_from([20, 21, 22, 23]), st.integers(0, 300)), max_size=20), st.integers(1, 50))
def test_records_are_counted_in_whatever_pieces_they_come(parts: list[tuple[int, int]], piece: int) -> None:
    said = b"".join(record(bytes(size), kind) for kind, size in parts)
    records = Records()
    for at in range(0, len(said), piece):
        records.feed(said[at : at + piece])
    handshakes = sum(kind == 22 for kind, _ in parts)
    assert (records.number, records.size, records.handshakes) == (len(parts), len(said), handshakes)
