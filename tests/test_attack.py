"""A short run of what `make attack` does for ten minutes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks import wire
from tests.running import in_a_quiet_moment
from tests.tools.attack import Amount, Cost, run

SHORT = Amount(seconds=3, requests=200, handshakes=20, chains=500, probes=150, interval=2, patience=60)


@pytest.mark.usefixtures("uncounted")
@pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")
def test_attacked_from_all_sides_it_answers_and_holds_no_more_afterwards(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    table: list[str] = []

    def moment() -> list[str]:
        """What is wrong; on a busy machine also that a scraper's own handshake takes longer than it may."""
        table.clear()
        return run(SHORT, 1, Path(tempfile.mkdtemp(dir=tmp_path)), table.append)

    assert in_a_quiet_moment(moment, lambda wrong: not any("scrapes failed" in line for line in wrong)) == []
    for line in table[-2:]:
        figure(line)
    tried = {line[:52].rstrip(): line[52:].split()[0] for line in table[:-2]}
    assert tried["mutated requests"] == "200"
    assert tried["mutated handshakes"] == "20"
    assert tried["mutated chains, read in another process"] == "500"
    assert len(table) == len(tried) + 2


def test_what_must_not_be_is_said() -> None:
    fine = Cost("servers", (80.0, 100.0), (16, 18), 60, 0, (0.1, 0.1), (0.2, 0.3), 0, 200)
    bad = Cost("proxy", (80.0, 121.0), (16, 40), 60, 1, (0.1, 0.2), (0.2, 10.0), 3, 200)
    assert list(fine.wrong()) == []
    assert [line.partition(": ")[2].split()[0] for line in bad.wrong()] == ["1", "memory", "descriptors", "a"]
    assert list(Cost("servers", (80.0, 80.0), (16, 16), 0, 0, (0.0, 0.0), (0.0, 0.0), 0, 200).wrong())  # nobody scraped


def test_a_mutated_certificate_keeps_its_length_and_a_chain_can_be_sent_as_plain_text() -> None:
    der = b"0" * 1000
    assert len(wire.mutated(der)) == 1000
    said = wire.plain_certificates([der] * 40)
    assert said[:3] == b"\x16\x03\x03"
    assert said.count(b"0" * 900) >= 30
