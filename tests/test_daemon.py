from __future__ import annotations

import subprocess
import sys
from typing import Final, NoReturn

import pytest

from exporter.cli import main
from exporter.daemon import INTERNAL_ERROR

THREADS: Final = 8
GROWN: Final = f"""
import re, threading
from pathlib import Path
from exporter.daemon import share_one_heap

def size():
    return int(re.findall(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])

share_one_heap()
threading.stack_size(1 << 20)
before, all_there = size(), threading.Barrier({THREADS})

def allocate():
    kept = bytes(10_000)  # larger than what Python allocates by itself
    all_there.wait()

threads = [threading.Thread(target=allocate) for _ in range({THREADS})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print((size() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_threads_have_no_heaps_of_their_own() -> None:
    megabytes = int(subprocess.run([sys.executable, "-c", GROWN], check=True, capture_output=True, text=True).stdout)
    assert megabytes < 64  # what glibc reserves for one


HELD: Final = """
import re
from pathlib import Path
from exporter.daemon import share_one_heap

def held():
    return int(re.findall(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])

share_one_heap()
metrics = bytes(int('8000000'))
del metrics
before, texts, pins = held(), [], []
for _ in range(200):
    texts.append(b"x" * 200_000)
    pins.append(bytes(20_000))
del texts
print((held() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heaps")
def test_what_is_large_and_over_is_not_held_by_small_things_behind_it() -> None:
    megabytes = int(subprocess.run([sys.executable, "-c", HELD], check=True, capture_output=True, text=True).stdout)
    assert megabytes < 20  # of forty


def test_a_defect_is_told_as_what_it_is_also_where_it_ends_a_group_of_tasks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect(**_: object) -> NoReturn:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [OSError(5, "Input/output error")])

    monkeypatch.setattr("exporter.cli.app", defect)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == INTERNAL_ERROR
    assert capsys.readouterr().err.startswith("internal error: OSError: [Errno 5] Input/output error (")


ENDED: Final = """
import threading

from exporter import daemon

daemon.prepare(daemon.Host())
threading.Thread(target=lambda: [][0]).start()
threading.Event().wait(60)
"""


def test_a_thread_that_ends_by_an_error_ends_the_exporter_which_would_wait_for_it_for_ever() -> None:
    done = subprocess.run([sys.executable, "-c", ENDED], check=False, capture_output=True, text=True)
    assert done.returncode == INTERNAL_ERROR
    assert "a thread has ended, and so does the exporter" in done.stdout + done.stderr
    assert "IndexError: list index out of range" in done.stdout + done.stderr
