"""Run the exporter until a signal, or who else runs it, ends it: the schedule, the HTTP server, the signals."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Final, NoReturn, TypeVar

import anyio
import structlog

from exporter.probe.runner import Network
from exporter.report.counting import counted
from exporter.service.by_hand import by_hand, program_here
from exporter.service.exporter import Exporter
from exporter.service.load import Deployment, Source, network_of
from exporter.system.control import Control, Request
from exporter.system.descriptors import claim
from exporter.system.log_queue import flush
from exporter.system.loop import run_on_loop
from exporter.system.systemd import Notifier
from exporter.system.threads import begin
from exporter.web.routes import create_app
from exporter.web.server import ServerConfig, WebServer

log = structlog.get_logger("exporter")
T = TypeVar("T")

INTERNAL_ERROR: Final = 70  # EX_SOFTWARE of sysexits.h, which Windows lacks
LOOK_UP: Final = 0.5  # seconds between two looks whether to end
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # <malloc.h>
LARGE: Final = 128 * 1024  # bytes


@dataclass(frozen=True)
class Host:
    """Who runs the exporter, where that is neither a person nor systemd: what it asks, and what it wants to know."""

    control: Control = field(default_factory=Control)
    listening: Callable[[str], None] = lambda addresses: None  # noqa: ARG005 - nobody wants to know
    log: logging.Handler | None = None  # in place of stderr
    leave: Callable[[int], object] = os._exit  # ends the process at once, with a status


def prepare(host: Host) -> None:
    """What has to be done before anything is read: a file may hang, and signals may come."""
    threading.excepthook = partial(_end_with_a_thread, host)
    claim()
    share_one_heap()
    if threading.current_thread() is not threading.main_thread():
        return  # no signal comes to others
    signal.signal(signal.SIGTERM, _end)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, lambda *_: signal.raise_signal(signal.SIGINT))  # Ctrl+Break is Ctrl+C
    else:
        signal.signal(signal.SIGHUP, lambda *_: _reload_wanted.set())


def _end_with_a_thread(host: Host, ended: threading.ExceptHookArgs) -> None:
    """End when a thread has: whoever waits for it would wait for ever, and call everything down."""
    error = ended.exc_value
    log.critical("a thread has ended, and so does the exporter", error=f"{ended.exc_type.__name__}: {error}")
    log.debug("internal error", exc_info=error)
    flush()
    host.leave(INTERNAL_ERROR)


_reload_wanted: Final = threading.Event()  # before there was anything to reload


def _end(*_: object) -> NoReturn:
    """End before there is anything to end."""
    os._exit(0)


def _ignore_signals() -> None:
    """Let no signal hasten an end that has begun, or spoil its status."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def interruptibly(function: Callable[[], T]) -> T:
    """What a function gives that may hang in a file: a signal may end the wait, and nothing waits for its thread."""
    outcome = begin(function)
    while not outcome.done():  # Windows ends no wait for a signal, so it is a short one
        wait([outcome], LOOK_UP)
    return outcome.result()


def run(source: Source, deployment: Deployment, web: ServerConfig, host: Host) -> None:
    """Serve until the host, or else SIGTERM or SIGINT, ends it."""
    network = interruptibly(lambda: network_of(deployment))
    hangs = run_on_loop(_serve, source, deployment, network, web, host)
    if not flush() or hangs:
        host.leave(0)  # the interpreter would wait for what a thread holds that hangs in a file, and then abort


def share_one_heap() -> None:
    """Let all threads allocate from one heap, as Python's lock lets one run at a time.

    glibc has up to eight for each core, and hands a new thread, such as each lookup has, the next of them: what is
    freed in one is of no use in another. After four minutes of `make soak` 151 MB were held so, now 133 MB.

    What is large goes back to the system at once. By default glibc takes for large only what is larger than what
    was ever freed, such as a text of all metrics, and what lies above a hole is held: 118 MB beside a hostile proxy,
    now 95 MB.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has but one
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_ARENA_MAX, 1)
            mallopt(M_MMAP_THRESHOLD, LARGE)
            mallopt(M_TRIM_THRESHOLD, LARGE)


async def _serve(source: Source, deployment: Deployment, network: Network, web: ServerConfig, host: Host) -> bool:
    """Until it is asked to end; whether a thread hangs in a file then."""
    notifier = Notifier(os.environ)
    exporter = Exporter(source, deployment, network, notifier.reloading)
    server = WebServer(create_app(exporter, by_hand(source, program_here())), web)
    # What lives as long as the process is not looked through again: a full collection held up all for 60 ms, now for 3.
    gc.collect()
    gc.freeze()
    ending = anyio.Event()
    async with anyio.create_task_group() as group:
        exporter.start(group)
        await group.start(_receive_signals, host.control)
        group.start_soon(_obey, host.control, exporter, ending, notifier)
        group.start_soon(web.credentials.watch)
        group.start_soon(server.serve)
        log.info(
            "listening",
            addresses=web.addresses,
            **asdict(counted(deployment.plan)),
            **web.credentials.config.demands,
        )
        notifier.send("READY=1")
        host.listening(web.addresses)
        group.start_soon(notifier.keep_reporting, exporter.store.status)
        await ending.wait()
        await server.stop()
        group.cancel_scope.cancel()
    return exporter.hangs or web.credentials.hang


async def _obey(control: Control, exporter: Exporter, ending: anyio.Event, notifier: Notifier) -> None:
    """Reload as often as that is asked, until it is asked to end."""
    async with aclosing(control.requests()) as requests:
        async for request in requests:
            if request is Request.END:
                break
            exporter.ask_for_reload()
    notifier.stopping()
    exporter.end()
    ending.set()


async def _receive_signals(
    control: Control, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """SIGHUP asks for a reload, the others for the end. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        task_status.started()
        return
    if sys.platform == "win32":
        for each in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(each, lambda *_: control.ask(Request.END))
        task_status.started()
        while True:  # noqa: ASYNC110 - no signal wakes the loop there: handlers run when it has something else to do
            await anyio.sleep(LOOK_UP)
    try:
        with anyio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            if _reload_wanted.is_set():
                control.ask(Request.RELOAD)
            async for received in signals:
                control.ask(Request.RELOAD if received == signal.SIGHUP else Request.END)
    finally:
        _ignore_signals()  # which the receiver leaves deadly
