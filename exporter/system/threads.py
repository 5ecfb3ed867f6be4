"""Blocking functions in daemon threads: nobody's end waits for them, and whoever waits may stop doing so."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

T = TypeVar("T")
_Task: TypeAlias = Callable[[], None]

_LINGERING: Final = 10.0  # seconds that a thread waits for the next function
_idle: Final[list[SimpleQueue[_Task]]] = []  # what waiting threads wait for


class NoThread(RuntimeError):
    """The system gives no thread any more: too many, or too little memory."""


def begin(function: Callable[[], T]) -> Future[T]:
    """Start a blocking function in a daemon thread; what will come of it. Raises NoThread.

    A thread that is done waits for more, since to start one costs more than what most of them do.
    """
    outcome = Future[T]()
    tasks = _waiting_thread()

    def work() -> None:
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 - carried over to whoever waits, whatever it is
            _idle.append(tasks)
            outcome.set_exception(error)
        else:
            _idle.append(tasks)
            outcome.set_result(value)

    tasks.put(work)
    return outcome


class Job(Generic[T]):
    """A blocking function under way in a daemon thread that does nothing else meanwhile, for a task to wait for.

    A resolver that hangs holds up neither other lookups nor the end of the process.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._done = anyio.Event()
        self._outcome = begin(function)
        self._outcome.add_done_callback(_setting(self._done))

    @property
    def ended(self) -> bool:
        """Whether it has come to something."""
        return self._outcome.done()

    async def wait(self) -> None:
        """Until it has ended; cancelled, the function goes on and nobody minds."""
        await self._done.wait()

    def value(self) -> T:
        """What the function that has ended gave; raises what it raised."""
        return self._outcome.result()


async def in_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread, so that nothing waits for it; at once, where the system gives no thread any more."""
    begun = False

    def work() -> T:
        nonlocal begun
        begun = True
        return function()

    try:
        return await anyio.to_thread.run_sync(work)
    except RuntimeError:
        if begun:
            raise
    return function()


class Few:
    """So many daemon threads at most, for what others may make heavy: the event loop and the rest of the work go on.

    What is cancelled before its turn is not begun; what is cancelled later keeps its thread until it has ended.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._under_way = 0
        self._waiting: deque[_Task] = deque()

    async def run(self, function: Callable[[], T]) -> T:
        """What a function gives, in its turn; raises what it raises."""
        outcome, done = Future[T](), anyio.Event()
        outcome.add_done_callback(_setting(done))

        def work() -> None:
            if outcome.set_running_or_notify_cancel():
                try:
                    value = function()
                except BaseException as error:  # noqa: BLE001 - as above
                    outcome.set_exception(error)
                else:
                    outcome.set_result(value)

        self._add(work)
        try:
            await done.wait()
        finally:
            outcome.cancel()
        return outcome.result()

    def _add(self, task: _Task) -> None:
        with self._lock:
            self._waiting.append(task)
            if self._under_way == self._most:
                return
            self._under_way += 1
        try:
            begin(self._work)
        except RuntimeError:  # the system gives no thread
            with self._lock:
                self._under_way -= 1
                self._waiting.remove(task)
            raise

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._under_way -= 1
                    return
                task = self._waiting.popleft()
            task()


def _setting(done: anyio.Event) -> Callable[[Future[T]], None]:
    """What sets an event of this loop from another thread."""
    token = anyio.lowlevel.current_token()

    def notify(_: Future[T]) -> None:
        with suppress(anyio.RunFinishedError):  # meanwhile: nobody waits any more
            # Not by `anyio.from_thread`, which waits until that is done.
            token.backend_class.run_sync_soon(done.set, (), token.native_token)

    return notify


async def in_daemon_thread(function: Callable[[], T], given_up: list[Job[T]] | None = None) -> T:
    """Run a blocking function and stop waiting for it when cancelled; it is then added to `given_up`.

    Raises NoThread.
    """
    job = Job(function)
    try:
        await job.wait()
    finally:
        if given_up is not None and not job.ended:
            given_up.append(job)
    return job.value()


def _waiting_thread() -> SimpleQueue[_Task]:
    """Where to put what an idle thread shall do; a new thread's, if none is."""
    with suppress(IndexError):
        return _idle.pop()
    tasks = SimpleQueue[_Task]()
    try:
        threading.Thread(target=_work, args=(tasks,), name="resolver", daemon=True).start()
    except RuntimeError as error:
        raise NoThread(str(error)) from None
    return tasks


def _work(tasks: SimpleQueue[_Task]) -> None:
    """Do what comes, until nothing has come for a while."""
    while True:
        try:
            tasks.get(timeout=_LINGERING)()
        except Empty:
            with suppress(ValueError):  # somebody has just taken us from the idle, to give us something
                _idle.remove(tasks)
                return
