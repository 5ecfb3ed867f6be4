"""What systemd is told, on a socket like its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import pytest
import trio
import trio.testing

from exporter.system.systemd import STATUS_EVERY, Notifier
from tests.lab import Lab
from tests.running import ACTING, ADDRESS, COMMAND, eventually, http, program

ALL_UP: Final = re.compile(r"WATCHDOG=1\nSTATUS=\w[A-Z ]+: (\d+) of \1 targets? up")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd's socket is none of Windows")


class Systemd:
    """Receives what a service sends, as it comes: its queue holds ten messages, and the next would be lost."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.messages: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):  # shut down, it gives none
            self.messages.append(message.decode())

    def told(self, begin: str = "") -> list[str]:
        """All messages so far that begin so."""
        return [message for message in self.messages if message.startswith(begin)]

    def close(self) -> None:
        """Read what was sent, and no more."""
        with suppress(OSError):  # of a socket without connection, which it shuts down all the same
            self._socket.shutdown(socket.SHUT_RD)
        self._reading.join()
        self._socket.close()


@pytest.fixture
def listening() -> Iterator[Callable[[str], Systemd]]:
    opened: list[Systemd] = []

    def open_at(address: str) -> Systemd:
        opened.append(Systemd(address))
        return opened[-1]

    yield open_at
    for each in opened:
        each.close()


@pytest.mark.lab
def test_systemd_is_told_of_start_state_reload_life_and_end(
    lab: Lab, tmp_path: Path, listening: Callable[[str], Systemd]
) -> None:
    systemd = listening(str(tmp_path / "notify"))
    config = tmp_path / "exporter.yaml"
    config.write_text("site: {features: [tenant-attach]}\n")
    environment = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "WATCHDOG_USEC=200000"]
    serve = [*COMMAND, "serve", "--web.listen-address", ADDRESS, *ACTING, "--config.file", str(config)]
    with program(lab, tmp_path / "log", [*environment, *serve]) as process:
        eventually("ready", lambda: systemd.told("READY"))
        eventually("all is up", lambda: any(map(ALL_UP.fullmatch, systemd.told("WATCHDOG"))))
        process.send_signal(signal.SIGHUP)
        eventually("reloaded", lambda: len(systemd.told("READY")) == 2)
        config.write_text("site: {featurs: [tenant-attach]}\n")
        refused = http(lab, f"http://{ADDRESS}/-/reload", "--request", "POST")
        eventually("the bad file refused", lambda: len(systemd.told("READY")) == 3)
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    systemd.close()
    steps = [message.partition("=")[0] for message in systemd.messages if not message.startswith("WATCHDOG")]
    assert (refused.status, status) == (500, 0)
    assert steps == ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]
    assert all("\nMONOTONIC_USEC=" in message for message in systemd.told("RELOADING"))


def test_a_watchdog_is_told_twice_in_its_time_and_only_by_whom_it_watches() -> None:
    def interval(**environment: str) -> float:
        return Notifier(environment).interval

    assert interval(WATCHDOG_USEC="3000000") == 1.5
    assert interval(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid())) == 1.5
    assert interval(WATCHDOG_USEC="3000000", WATCHDOG_PID="1") == STATUS_EVERY
    assert interval(WATCHDOG_USEC="3600000000") == STATUS_EVERY
    assert interval(WATCHDOG_USEC="0") == interval(WATCHDOG_USEC="soon") == interval() == STATUS_EVERY


def test_the_loop_itself_says_that_it_turns(tmp_path: Path, listening: Callable[[str], Systemd]) -> None:
    systemd = listening(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"})

    async def turn() -> None:
        with anyio.move_on_after(4.5):
            await notifier.keep_reporting(lambda: "well")

    trio.run(turn, clock=trio.testing.MockClock(autojump_threshold=0))
    systemd.close()
    assert systemd.told() == ["WATCHDOG=1\nSTATUS=well"] * 5


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_a_socket_without_a_file_is_reached_too(listening: Callable[[str], Systemd]) -> None:
    name = f"configmgr-test-{os.getpid()}"
    systemd = listening(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).send("READY=1", "STATUS=here")
    systemd.close()
    assert systemd.told() == ["READY=1\nSTATUS=here"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    Notifier(environment).send("READY=1")
