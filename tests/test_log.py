from __future__ import annotations

import io
import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

from exporter.daemon import INTERNAL_ERROR
from exporter.system.log import rotating
from exporter.system.log_queue import LogQueue, queue_for
from tests.alone import alone
from tests.running import eventually

LINES: Final = 500
DROPPED: Final = "configmgr_exporter_log_lines_dropped_total"
QUEUED: Final = f"""
import logging, sys
from exporter.system import log_queue
from exporter.system.log import LogFormat, LogLevel, configure

configure(LogLevel.INFO, LogFormat.LOGFMT, log_queue.queue_for_stderr())
log = logging.getLogger("exporter")
for number in range({LINES}):
    log.info("line %d of many", number)
"""
# The system lets it write no more than so many bytes, as a disk that fills up does, and then again as many as it wants.
FILLED_UP: Final = f"""
import resource
import structlog
from exporter.system.log import LogFormat, LogLevel, configure
from exporter.system.log import rotating
from exporter.system.log_queue import flush, queue_for_stderr

configure(LogLevel.INFO, LogFormat.LOGFMT, HANDLER)
log = structlog.get_logger("exporter")
for room in 10_000, resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for number in range({LINES}):
        log.info("target is up", number=number, room=room)
    flush()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file")
@pytest.mark.parametrize("handler", ["None", "queue_for_stderr()"])
def test_a_full_disk_loses_lines_but_breaks_none_and_leaves_no_traceback(tmp_path: Path, handler: str) -> None:
    with (tmp_path / "log").open("w") as file:
        # isolated from PYTHONUNBUFFERED, under which Python forgets the rest of a line for which there was no room
        script = FILLED_UP.replace("HANDLER", handler)
        subprocess.run([sys.executable, "-I", "-c", script], stderr=file, check=True)
    written = (tmp_path / "log").read_text().splitlines()
    lines = [line for line in written if "dropped, since the log" not in line]
    broken = [line for line in lines if not (line.startswith("ts=") and " room=" in line and line.count("ts=") == 1)]
    assert not broken
    assert LINES < len(lines) < 2 * LINES
    assert len(written) - len(lines) == (handler != "None")


# ---------------------------------------------------------------- a log that nobody reads


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("exporter", logging.INFO, "", 0, text, (), None)


def test_lines_that_nobody_takes_are_dropped_and_counted_and_their_number_stands_in_their_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("exporter.system.log_queue.MOST_WAITING", 50)
    monkeypatch.setattr("exporter.system.log_queue.WRITTEN_WITHIN", 60.0)
    taken, stuck, may_go_on = list[str](), threading.Event(), threading.Event()

    def write(line: str) -> None:
        stuck.set()
        assert may_go_on.wait(60)
        taken.append(line)

    queue = LogQueue(write)
    queue.emit(record("first"))
    assert stuck.wait(60)
    for _ in range(9):
        queue.emit(record("ten chars."))
    waiting = not queue.idle
    may_go_on.set()
    queue.flush()
    queue.emit(record("last"))
    queue.flush()
    assert waiting
    assert queue.idle
    assert queue.dropped == 4
    notice = "4 lines were dropped, since the log was not read or could not be written"
    assert taken == ["first", *["ten chars."] * 5, notice, "last"]


def test_the_end_does_not_wait_long_for_a_reader_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.system.log_queue.WRITTEN_WITHIN", 0.01)
    queue = LogQueue(lambda _: threading.Event().wait())
    queue.emit(record("stuck"))
    queue.flush()
    first = queue.idle
    monkeypatch.setattr("exporter.system.log_queue.WRITTEN_WITHIN", threading.TIMEOUT_MAX)
    queue.flush()  # at the end the library does so again
    assert not first
    assert not queue.idle


def test_a_line_that_cannot_be_written_into_a_file_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = rotating(tmp_path / "log", 500, 3)
    queue, closed = queue_for(handler), io.StringIO()
    closed.close()
    monkeypatch.setattr(handler, "stream", closed)
    queue.emit(record("lost"))
    queue.flush()
    handler.close()
    assert queue.dropped == 1


def test_nothing_is_lost_at_an_end_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        subprocess.run([sys.executable, "-c", QUEUED], stderr=file, check=True)
    assert [line.split('msg="line ')[1].split(" ")[0] for line in log.read_text().splitlines()] == [
        str(number) for number in range(LINES)
    ]


# The event loop itself writes ten thousand characters again and again, as many as a pipe holds within a second.
FLOODED: Final = """
import anyio, logging
import exporter.daemon, exporter.system.log_queue

async def flood(*_):
    for _ in range(ROUNDS):
        for _ in range(100):
            logging.getLogger("exporter").info("x" * 100)
        await anyio.sleep(0.05)
    raise KeyError("defect")

exporter.system.log_queue.MOST_WAITING = 10_000
exporter.daemon.Notifier.keep_reporting = flood
"""


@pytest.mark.usefixtures("uncounted")
@pytest.mark.skipif(sys.platform == "win32", reason="it is ended by a signal")
def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    with alone(tmp_path, before=FLOODED.replace("ROUNDS", "10**9")) as exporter:
        eventually("lines are dropped", lambda: exporter.value(DROPPED) > 0, within=300)
        probes = exporter.value("configmgr_exporter_probes_total")
        eventually("probes go on", lambda: exporter.value("configmgr_exporter_probes_total") > probes + 2)
        healthy = exporter.get("/-/healthy")
        exporter.says("dropped, since the log")
        exporter.process.send_signal(signal.SIGTERM)
        ended = exporter.process.wait(60)
    assert healthy
    assert ended == 0


@pytest.mark.skipif(sys.platform == "win32", reason="it is ended by a signal")
def test_it_ends_in_order_though_its_log_is_stuck(tmp_path: Path) -> None:
    with alone(tmp_path, before=FLOODED.replace("ROUNDS", "10**9")) as exporter:
        eventually("lines are dropped", lambda: exporter.value(DROPPED) > 0, within=300)
        exporter.process.send_signal(signal.SIGTERM)
        ended = exporter.process.wait(60)
    assert ended == 0


def test_the_last_words_of_a_crash_come_out_below_the_log(tmp_path: Path) -> None:
    with alone(tmp_path, before=FLOODED.replace("ROUNDS", "2")) as exporter:
        assert exporter.process.stderr
        said = exporter.process.stderr.read().decode().splitlines()
        ended = exporter.process.wait(60)
    assert ended == INTERNAL_ERROR
    assert said[-1].startswith("internal error: KeyError: 'defect' (")
    assert "Traceback" not in "".join(said)


@pytest.mark.usefixtures("uncounted")
def test_a_crash_ends_though_its_log_is_stuck(tmp_path: Path) -> None:
    with alone(tmp_path, before=FLOODED.replace("ROUNDS", "100")) as exporter:
        ended = exporter.process.wait(120)
    assert ended == INTERNAL_ERROR


# ---------------------------------------------------------------- errors

ERRORS: Final = """
import asyncio, logging
import structlog
from exporter.system.log import LogFormat, LogLevel, configure

configure(LogLevel.LEVEL, LogFormat.FORM)

def fail():
    raise ValueError("line\\nbreak")

async def forgotten():
    async def fails():
        fail()
    asyncio.get_running_loop().create_task(fails())
    await asyncio.sleep(0)

try:
    fail()
except ValueError as error:
    structlog.get_logger("exporter").exception("ours")
    logging.getLogger("library").error("given", exc_info=error)
    try:
        raise ExceptionGroup("parts", [error, KeyError("other")])
    except ExceptionGroup:
        logging.getLogger("library").exception("group")
asyncio.run(forgotten())
"""


@pytest.mark.parametrize("form", ["LOGFMT", "JSON"])
def test_an_error_is_one_line_wherever_it_is_logged(form: str) -> None:
    script = ERRORS.replace("FORM", form)
    done = [
        subprocess.run(
            [sys.executable, "-c", script.replace("LEVEL", level)], capture_output=True, text=True, check=True
        )
        for level in ("INFO", "DEBUG")
    ]
    lines = done[0].stderr.splitlines()
    ours, given, group, task = lines
    assert "Traceback" not in done[0].stderr
    assert all("ValueError: line" in line and "(<string>:" in line for line in (ours, given, group, task))
    assert "KeyError: 'other'" in group
    assert done[1].stderr.count("Traceback") >= len(lines)
