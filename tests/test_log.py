from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytest.importorskip("resource", reason="Windows limits no file")

LINES: Final = 500
# The system lets it write no more than so many bytes, as a disk that fills up does, and then again as many as it wants.
FILLED_UP: Final = f"""
import resource
import structlog
from exporter.system.log import LogFormat, LogLevel, configure

configure(LogLevel.INFO, LogFormat.LOGFMT)
log = structlog.get_logger("exporter")
for room in 10_000, resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for number in range({LINES}):
        log.info("target is up", number=number, room=room)
"""


def test_a_full_disk_loses_lines_but_breaks_none_and_leaves_no_traceback(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        # isolated from PYTHONUNBUFFERED, under which Python forgets the rest of a line for which there was no room
        subprocess.run([sys.executable, "-I", "-c", FILLED_UP], stderr=file, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    broken = [line for line in lines if not (line.startswith("ts=") and " room=" in line and line.count("ts=") == 1)]
    assert not broken
    assert LINES < len(lines) < 2 * LINES
