"""What holds of the command from its first moment, before all of it is imported."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.alone import CONFIG
from tests.running import COMMAND, ROOT, eventually, in_a_quiet_moment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

IMPORTED_LATER: Final = "pydantic_core"


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process handles a signal."""
    found = re.search(r"^SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1], 16) & 1 << (number - 1))


def child_of(pid: int) -> int:
    """The first process that another has started."""
    children = eventually("it has a child", Path(f"/proc/{pid}/task/{pid}/children").read_text)
    return int(children.split()[0])


@pytest.mark.parametrize("first", [False, pytest.param(True, marks=pytest.mark.lab)])  # which needs root
def test_a_sigterm_at_the_start_ends_it_in_order_also_as_process_1(tmp_path: Path, *, first: bool) -> None:
    (tmp_path / "exporter.yaml").write_text(CONFIG)
    argv = [*COMMAND, "serve", "--web.listen-address", "127.0.0.1:0", "--config.file", str(tmp_path / "exporter.yaml")]
    alone = ["unshare", "--pid", "--fork", "--kill-child"] if first else []

    def measure() -> tuple[bool, int]:
        with subprocess.Popen([*alone, *argv], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            pid = child_of(process.pid) if first else process.pid
            eventually("it handles the signal", lambda: catches(pid, signal.SIGTERM))
            early = IMPORTED_LATER not in Path(f"/proc/{pid}/maps").read_text()
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGTERM)
            return early, process.wait(60)

    assert in_a_quiet_moment(measure, lambda measured: measured[0]) == (True, 0)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_with_closed_outputs_it_serves_and_ends_in_order_and_no_socket_takes_their_place(
    tmp_path: Path, loop: str
) -> None:
    (tmp_path / "exporter.yaml").write_text(CONFIG)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    script = f"import exporter.system.loop as loop; loop.UVLOOP &= {loop == 'uvloop'}\n"
    script += "from exporter.__main__ import main\nmain()"
    argv = [sys.executable, "-c", script, "serve", "--web.listen-address", address]
    argv += ["--config.file", str(tmp_path / "exporter.yaml")]
    with subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv], cwd=ROOT) as process:
        eventually("it answers", lambda: healthy(address))
        standard = {str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)}
        process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
    assert standard == {os.devnull}
    assert ended == 0


def healthy(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/healthy", trust_env=False).is_success
    except httpx.TransportError:
        return False


INTERRUPTED: Final = """
import builtins, sys

def interrupted(name, *rest, real=builtins.__import__):
    if name == "exporter" and rest[2] == ("cli",):
        raise KeyboardInterrupt
    return real(name, *rest)

from exporter.__main__ import main
builtins.__import__ = interrupted
main()
"""


def test_an_interrupt_while_modules_are_imported_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, "check"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
