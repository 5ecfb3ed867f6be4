from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

THREADS: Final = 8
GROWN: Final = f"""
import re, threading
from pathlib import Path
from exporter.serve import share_one_heap

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
