"""Run the exporter until a signal ends it: sockets to listen on, the HTTP server, the schedule, the signals."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NoReturn, TypeVar

import anyio
import structlog
import uvicorn
from anyio.abc import TaskGroup
from starlette.types import ASGIApp

from exporter.door import LONGEST_HEAD, Connection, Gate, Guard, Keys, welcome
from exporter.probe.runner import Network
from exporter.service.exporter import Exporter
from exporter.service.load import Deployment, Source, network_of
from exporter.system.control import Control, Request
from exporter.system.descriptors import claim
from exporter.system.loop import run_on_loop
from exporter.system.systemd import Notifier
from exporter.web.routes import create_app

log = structlog.get_logger("exporter")
T = TypeVar("T")

INTERNAL_ERROR: Final = 70  # EX_SOFTWARE of sysexits.h, which Windows lacks
GRACE: Final = 2  # seconds that answers under way have to finish
LOOK_UP: Final = 0.5  # seconds between two looks whether to end
BACKLOG: Final = 2048  # connections that wait to be taken; beyond, the system lets a Prometheus, too, try again later
M_ARENA_MAX: Final = -8  # <malloc.h>


class ListenError(Exception):
    """An address that cannot be listened on."""


def listen(address: str) -> socket.socket:
    """A listening socket for `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for all addresses. Raises ListenError."""
    host, port = parted(address)
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error


def parted(address: str) -> tuple[str, int]:
    """Host, empty for all addresses, and port. Raises ListenError."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port there is
        raise ListenError(f"{address!r} is not HOST:PORT, for example :10965 or 127.0.0.1:10965")
    return host.removeprefix("[").removesuffix("]"), int(port)


@dataclass(frozen=True)
class Host:
    """Who runs the exporter, where that is neither a person nor systemd: what it asks, and what it wants to know."""

    control: Control = field(default_factory=Control)
    listening: Callable[[str], None] = lambda addresses: None  # noqa: ARG005 - nobody wants to know
    log: logging.Handler | None = None  # in place of stderr
    leave: Callable[[int], object] = os._exit  # ends the process at once, with a status


@dataclass(frozen=True)
class Front:
    """What stands between the exporter and those who ask it."""

    sockets: Sequence[socket.socket]
    keys: Keys
    closed: frozenset[str] = frozenset()  # paths that are switched off


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
    logging.shutdown()
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
    outcome = Future[T]()

    def work() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - carried over, whatever it is
            outcome.set_exception(error)

    threading.Thread(target=work, name="reader", daemon=True).start()
    while not outcome.done():  # Windows ends no wait for a signal, so it is a short one
        wait([outcome], LOOK_UP)
    return outcome.result()


def run(source: Source, deployment: Deployment, front: Front, host: Host) -> None:
    """Serve until the host, or else SIGTERM or SIGINT, ends it."""
    network = interruptibly(lambda: network_of(deployment))
    if run_on_loop(_serve, source, deployment, network, front, host):
        logging.shutdown()
        host.leave(0)  # the interpreter would wait for what a thread holds that hangs in a file, and then abort


def share_one_heap() -> None:
    """Let all threads allocate from one heap, as Python's lock lets one run at a time.

    glibc has up to eight for each core, and hands a new thread, such as each look-up has, the next of them: what is
    freed in one is of no use in another. After four minutes of `make soak` 151 MB were held so, now 133 MB.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has but one
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


async def _serve(source: Source, deployment: Deployment, network: Network, front: Front, host: Host) -> bool:
    """Until it is asked to end; whether a thread hangs in a file then."""
    notifier = Notifier(os.environ)
    exporter = Exporter(source, deployment, network, notifier.reloading)
    server = server_of(create_app(exporter), front)
    # What lives as long as the process is not looked through again: a full collection held up all for 60 ms, now for 3.
    gc.collect()
    gc.freeze()
    doors = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        exporter.start(group)
        await group.start(_receive_signals, host.control)
        group.start_soon(_obey, host.control, exporter, server, doors, notifier)
        group.start_soon(open_doors, front, server, doors, group)
        addresses = ",".join(map(_shown, front.sockets))
        log.info(
            "listening",
            addresses=addresses,
            checks=len(deployment.plan.checks),
            **front.keys.config.demands,
        )
        notifier.tell("READY=1")
        host.listening(addresses)
        group.start_soon(notifier.keep_telling, exporter.board.status)
        await server.serve(sockets=[])  # it speaks on the connections that the doors give it
        group.cancel_scope.cancel()
    return exporter.hangs or front.keys.hang


def server_of(app: ASGIApp, front: Front) -> uvicorn.Server:
    """What speaks HTTP, and only that, on the connections that it is given."""
    config = uvicorn.Config(
        Guard(app, front.keys, front.closed),
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=LONGEST_HEAD,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE,
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """A server that leaves signals to us, and looks twice a second whether to end.

    Ten times, as it does by itself, cost 0.2 % of a core; and signals that it receives it raises again when it is done.
    """

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Capture none."""
        return nullcontext()

    async def main_loop(self) -> None:
        """Until it shall end."""
        while not await self.on_tick(0):  # noqa: ASYNC110 - whoever tells it to end knows of no event
            await anyio.sleep(LOOK_UP)


async def open_doors(front: Front, server: uvicorn.Server, doors: anyio.CancelScope, connections: TaskGroup) -> None:
    """Take connections on all addresses until the doors close."""

    def make() -> Connection:
        return Connection(server.config, server.server_state, {})

    gate = Gate()
    with doors, ExitStack() as open_sockets:
        async with anyio.create_task_group() as group:
            for listener in map(open_sockets.enter_context, front.sockets):
                group.start_soon(welcome, listener, gate, front.keys, make, connections)


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"


async def _obey(
    control: Control, exporter: Exporter, server: uvicorn.Server, doors: anyio.CancelScope, notifier: Notifier
) -> None:
    """Reload as often as that is asked, until it is asked to end."""
    async with aclosing(control.requests()) as requests:
        async for request in requests:
            if request is Request.END:
                break
            exporter.ask_for_reload()
    notifier.stopping()
    exporter.end()
    doors.cancel()
    server.should_exit = True


async def _receive_signals(
    control: Control, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """SIGHUP asks for a reload, the others for the end. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        task_status.started()
        return
    if sys.platform == "win32":  # where no signal wakes the loop, which looks up twice a second
        for each in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(each, lambda *_: control.ask(Request.END))
        task_status.started()
        return
    try:
        with anyio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            if _reload_wanted.is_set():
                control.ask(Request.RELOAD)
            async for received in signals:
                control.ask(Request.RELOAD if received == signal.SIGHUP else Request.END)
    finally:
        _ignore_signals()  # which the receiver leaves deadly
