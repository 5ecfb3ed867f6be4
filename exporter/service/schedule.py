"""When each check is due: a fixed place in the interval (pure), and the timetable that keeps to it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from typing import Any, Final, NoReturn, Protocol, TypeAlias

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled

from exporter.model.vocabulary import CheckKey, OutOfTurn, Result
from exporter.plan.checks import order
from exporter.probe.classify import defect
from exporter.probe.retry import Attempts, Next, noticing
from exporter.service.path_watch import LOOK, Asked, PathWatch
from exporter.system.lag import Pulse

log = structlog.get_logger("exporter")

FIRST_ROUND: Final = 5.0  # seconds over which first probes are spread,
FIRST_RATE: Final = 100.0  # or as many as take that long with so many of them a second: faster, each waits for others
PATIENCE: Final = (
    1.0  # seconds that a probe counts against the limit; what it waits for after that costs nobody anything
)
EARLY: Final = 0.001  # seconds that uvloop may wake us too soon
PAUSE: Final = (1.0, 3.0)  # seconds between two attempts: what a lost packet or a restart of a proxy may take
CONFIRMING: Final = 0.1  # what attempts to confirm failures may add to an interval's probes, and those beside others
AT_LEAST: Final = 10.0  # of them, where that would be less
SILENCE: Final = 2.0  # seconds without an answer, or twice what it took before, until another attempt begins beside it
SPARE: Final = 0.01  # of the interval: for what the loop takes to get round to what is due
RESTART: Final = 1.0  # seconds until a timetable that broke down goes on


def offset(key: CheckKey, interval: float) -> float:
    """A check's place in the interval, in seconds: spread by hash, the same whenever it is asked."""
    return fraction(key) * interval


def fraction(key: CheckKey) -> float:
    """A number in [0, 1) that a check always has."""
    digest = blake2b(repr(order(key)).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def next_slot(now: float, place: float, interval: float) -> int:
    """The number of the first slot that is still to come; slot n begins at `n * interval + place`."""
    slot = math.floor((now - place) / interval)
    while starts_at(slot, place, interval) <= now:  # floating point: a slot is never taken twice
        slot += 1
    return slot


def starts_at(slot: int, place: float, interval: float) -> float:
    """When a slot begins, on the clock that `next_slot` was asked with."""
    return slot * interval + place


def pause(left: float) -> float:
    """Seconds until the next attempt; a tenth at most of what is `left` of the interval. Drawn anew each time.

    Never negative, though nothing may be left: the machine may have stood still.
    """
    return min(random.uniform(*PAUSE), max(0.0, left) / 10)  # noqa: S311 - it spreads load and guards no secret


class Allowance:
    """How many attempts of one kind may still be made: so many in an interval, and no more at once."""

    def __init__(self) -> None:
        self._most, self._interval = AT_LEAST, 1.0
        self._left, self._at = math.inf, 0.0

    def adopt(self, checks: int, interval: float) -> None:
        """Allow what so many checks, each due once in an interval, may cost. What was spent stays spent."""
        self._most, self._interval = max(CONFIRMING * checks, AT_LEAST), interval
        self._left = min(self._left, self._most)

    def take(self, now: float) -> bool:
        """Whether one more may be made now."""
        earned = (now - self._at) * self._most / self._interval
        self._left, self._at = min(self._left + earned, self._most), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Observer(Protocol):
    """Is notified of probes."""

    def started(self, lag: float) -> None:
        """A probe started, `lag` seconds after it was due."""

    def finished(self, result: Result) -> None:
        """A probe ended with this result."""


class Watcher(Observer, Protocol):
    """Is notified of what the schedule does."""

    def started_out_of_turn(self, why: OutOfTurn) -> None:
        """A probe started that has no place in the interval."""

    def finished_out_of_turn(self, result: Result) -> None:
        """That probe ended with this result."""

    def missed(self, slots: int) -> None:
        """Slots passed while a check was still under way, or waiting for its turn."""

    def unconfirmed(self, result: Result) -> None:
        """An attempt failed, and another will show whether that counts."""

    def accepted(self, result: Result) -> None:
        """A failed attempt counts without another, since too many fail at once."""


Probe: TypeAlias = Callable[[CheckKey], Awaitable[Result]]
Attempt: TypeAlias = Callable[[CheckKey, float], Awaitable[Result]]  # within so many seconds, or its own timeout


@dataclass(frozen=True, slots=True)
class Pace:
    """How often each check is due, in seconds, how many run at once, not counting those that hang, and its attempts."""

    interval: float
    concurrency: int
    attempts: int = 1


class Places:
    """Room for so many probes at once, each of which counts for PATIENCE at most: who hangs longer makes way.

    So a hundred targets that accept and stay silent hold up none of the others. Nothing is done about a probe's
    patience until another waits for its place: a timer for each would be 3 % of what a probe costs.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._until: dict[object, float] = {}  # when the patience with each taken place ends, the first first
        self._next = anyio.Lock()
        self._change = anyio.Event()

    async def take(self) -> object:
        """A place, in the order in which it was asked for; whoever has it gives it back."""
        if (place := self.take_at_once()) is None:
            async with self._next:
                while self._full:
                    await self._wait()
            place = self._taken()
        return place

    def take_at_once(self) -> object | None:
        """A place, if one is free or its owner has had its time, and nobody waits for it."""
        if self._full and self._until[longest := next(iter(self._until))] <= anyio.current_time():
            self._until.pop(longest)
        return None if self._full or self._next.locked() else self._taken()

    def _taken(self) -> object:
        place = object()
        self._until[place] = anyio.current_time() + PATIENCE
        return place

    @property
    def _full(self) -> bool:
        return len(self._until) >= self._number

    def give_back(self, place: object) -> None:
        """Make room for the next; once is enough, twice does no harm."""
        self._until.pop(place, None)
        self._change.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A place until the block ends."""
        place = await self.take()
        try:
            yield
        finally:
            self.give_back(place)

    async def _wait(self) -> None:
        """Until a place is given back, or the longest taken one has had its time."""
        self._change = anyio.Event()
        longest, until = next(iter(self._until.items()))
        with anyio.CancelScope(deadline=until):
            await self._change.wait()
        if anyio.current_time() >= until:
            self._until.pop(longest, None)


async def attempted(attempt: Awaitable[Result], key: CheckKey) -> Result:
    """What comes of an attempt; of one that raises, an internal error: a defect is the result of one check only."""
    started = time.time()
    try:
        return await attempt
    except Exception as error:  # noqa: BLE001 - as said
        return Result(key, started, failure=defect(error))


async def probe_once(
    keys: Iterable[CheckKey], concurrency: int, probe: Probe, observer: Observer, pulse: Pulse
) -> None:
    """One round of all checks as fast as the limit allows; one that hangs gives its place to the next.

    `pulse` beats meanwhile.
    """
    places = Places(concurrency)

    async def run(key: CheckKey) -> None:
        async with places.turn():
            observer.started(0.0)
            observer.finished(await attempted(probe(key), key))

    async with anyio.create_task_group() as beating:
        beating.start_soon(pulse.beat)
        async with anyio.create_task_group() as group:
            for key in keys:
                group.start_soon(run, key)
        beating.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Second:
    """An attempt that is made beside another one."""

    begun: float
    place: object
    task: anyio.TaskHandle[Result, Any]


@dataclass(slots=True, eq=False)
class Appointment:
    """When a check is due, and while its probe is under way, that."""

    due: float
    key: CheckKey
    in_place: bool  # the first round comes out of turn, and a slot that it runs into is not missed
    down: bool = False
    why: OutOfTurn | None = None  # where it is none of its slots
    asked: bool = False  # because others fail or work again, also where its slot comes sooner or it is under way
    begun: float = math.inf  # of the attempt under way
    took: float = math.inf  # seconds that its latest success took
    second: Second | None = None
    place: object = None
    task: anyio.TaskHandle[None, Any] | None = None
    defect: str = ""  # of the probe before

    def __lt__(self, other: Appointment) -> bool:
        return self.due < other.due

    @property
    def silent_at(self) -> float:
        """When the attempt under way has had no answer for longer than is usual for its target."""
        return self.begun + max(SILENCE, 2 * self.took)


class Timetable:
    """Probes each check in every slot; one without a result goes first, if all can before an interval is over.

    A slot that begins while the check is under way, or waits for its turn, is missed and not made up for. Only a check
    that is under way has a task: ten thousand that wait would take 30 MB, and the collector 150 ms to look through.
    """

    def __init__(
        self,
        group: TaskGroup,
        pace: Pace,
        allowances: tuple[Allowance, Allowance],  # to confirm failures, and beside what is silent
        pulse: Pulse,
        attempt: Attempt,
        watcher: Watcher,
        paths: PathWatch,
    ) -> None:
        self.pace = pace
        self._paths = paths
        self._defect = ""  # in watching them, as it is logged
        self._pulse = pulse
        self._group = group
        self._allowance, self._beside = allowances
        self._attempt = attempt
        self._watcher = watcher
        self._places = Places(pace.concurrency)
        self._appointments: dict[CheckKey, Appointment] = {}
        self._waiting: list[Appointment] = []  # a heap
        self._asleep = anyio.CancelScope()
        self._unanswered: set[Appointment] = set()  # whose first attempts may yet be silent for too long
        self._begun = anyio.Event()
        self._keepers = [group.create_task(self._keep(step)) for step in (self._start_next, self._find_silent)]

    def adopt(self, known: Mapping[CheckKey, bool]) -> None:
        """Probe exactly these; the value says whether a result is there already. Who stays is not disturbed."""
        self._end(self._appointments.keys() - known.keys())
        new = known.keys() - self._appointments.keys()
        first_round = max(FIRST_ROUND, sum(not known[key] for key in new) / FIRST_RATE)
        for key in new:
            self._appointments[key] = self._first(key, math.inf if known[key] else first_round)
        self._gather()
        self._asleep.cancel()

    def ask(self, asked: Asked) -> None:
        """Probe these out of turn, one after the other, where their slots do not come sooner.

        So fast that those among them that hang, and what is made beside them, leave a third of the room to all others.
        """
        due = anyio.current_time()
        for key, why in asked.items():
            appointment = self._appointments.get(key)
            if appointment is None:
                continue
            appointment.asked = True
            if appointment.task is None and due < appointment.due:
                appointment.due, appointment.in_place, appointment.why = due, False, why
                due += 3 * PATIENCE / self.pace.concurrency
        if asked:
            heapify(self._waiting)
            self._asleep.cancel()

    def ask_for(self, found: Callable[[float], Asked]) -> None:
        """Probe out of turn what is found at this moment; a defect in that is logged, and probing goes on."""
        try:
            self.ask(found(anyio.current_time()))
            self._defect = ""
        except Exception as error:
            if self._defect != (message := defect(error).message):
                self._defect = message
                log.exception("paths cannot be watched")

    @property
    def asked(self) -> Asked:
        """What is to be probed out of turn, or is being probed, and is broken off by the end."""
        return {key: appointment.why for key, appointment in self._appointments.items() if appointment.why}

    def end(self) -> None:
        """Probe no more."""
        for keeper in self._keepers:
            keeper.cancel()
        self._end(self._appointments.keys())

    def _end(self, keys: Iterable[CheckKey]) -> None:
        for appointment in map(self._appointments.pop, tuple(keys)):
            if appointment.task is not None:
                appointment.task.cancel()
                self._places.give_back(appointment.place)  # itself, it does so only if it has begun

    def _first(self, key: CheckKey, within: float) -> Appointment:
        """Its place in a round of so many seconds, unless its slot comes no later."""
        now, interval = anyio.current_time(), self.pace.interval
        place = offset(key, interval)
        slot = starts_at(next_slot(now, place, interval), place, interval)
        early = now + fraction(key) * within if within < interval else math.inf
        return Appointment(min(early, slot), key, in_place=slot <= early)

    async def _keep(self, step: Callable[[], Awaitable[None]]) -> NoReturn:
        """Do this for ever. What breaks down in here is logged and costs a second; probing goes on."""
        logged = ""
        while True:
            try:
                await step()
                logged = ""
            except Exception as error:
                if logged != (logged := defect(error).message):
                    log.exception("the timetable broke down", goes_on_in=RESTART)
                await anyio.sleep(RESTART)
                self._gather()

    async def _start_next(self) -> None:
        """Start one check when it is due and there is room."""
        with anyio.CancelScope() as self._asleep:
            await anyio.sleep_until(self._waiting[0].due if self._waiting else math.inf)
        place = await self._places.take()
        if self._waiting and self._waiting[0].due <= anyio.current_time() + EARLY:
            appointment = heappop(self._waiting)
            appointment.place = place
            appointment.task = self._group.create_task(self._meet(appointment))
        else:  # woken for something else, or that has left meanwhile
            self._places.give_back(place)

    async def _find_silent(self) -> None:
        """Wait for attempts that are silent for too long, or for the first that may be."""
        if not self._unanswered:
            self._begun = anyio.Event()
            await self._begun.wait()
        now = anyio.current_time()  # one that begins meanwhile is not silent before this is over
        await anyio.sleep_until(min(now + SILENCE, *(appointment.silent_at for appointment in self._unanswered)))
        now = anyio.current_time() + EARLY
        for appointment in [one for one in self._unanswered if one.silent_at <= now]:
            self._unanswered.discard(appointment)
            if now < appointment.silent_at + SILENCE:  # else it was the exporter that stood still
                self._begin_second(appointment)

    def _begin_second(self, appointment: Appointment) -> None:
        """Ask what the silence gives rise to; make another attempt beside, where there is room and it is allowed."""
        key, begun, now = appointment.key, appointment.begun, anyio.current_time()
        self.ask_for(lambda at: self._paths.fall_silent(key, begun, at))
        if not appointment.asked and not self._beside.take(now):
            return
        if (place := self._places.take_at_once()) is None:
            return
        within = begun + (1 - SPARE) * self.pace.interval - now
        appointment.second = Second(now, place, self._group.create_task(self._made_beside(key, place, within)))

    async def _made_beside(self, key: CheckKey, place: object, within: float) -> Result:
        try:
            return await noticing(self._pulse, attempted(self._attempt(key, within), key))
        finally:
            self._places.give_back(place)

    def _gather(self) -> None:
        """Let all wait that are not under way, also those that got lost."""
        self._waiting = [appointment for appointment in self._appointments.values() if appointment.task is None]
        for appointment in self._waiting:
            self._places.give_back(appointment.place)
        heapify(self._waiting)

    async def _meet(self, appointment: Appointment) -> None:
        """One probe, and the appointment for the next one, whatever comes of this one."""
        if self._appointments.get(appointment.key) is not appointment:
            return  # it has left before this began, which is when a task cannot be cancelled yet
        following, result = Appointment(math.inf, appointment.key, in_place=True, down=True), None
        try:
            result = await self._probe(appointment)
            self._report(appointment, result)
            following.down = not result.up
            following.took = result.duration if result.up else appointment.took
        except Exception as error:  # noqa: BLE001 - a defect is the result of one check only
            following.defect = self._report_defect(appointment, error)
        finally:
            self._places.give_back(appointment.place)
            self._end_second(appointment)
            if self._appointments.get(appointment.key) is appointment:
                following.due = self._slot(appointment.key, max(anyio.current_time(), appointment.due))
                self._meet_again(following)
        if result is not None:
            self._hear(appointment, result)

    async def _probe(self, appointment: Appointment) -> Result:
        """A probe with all its attempts. What it waited for its turn is not in the time that it has."""
        begun = anyio.current_time()
        try:
            if appointment.why is None:
                self._watcher.started(max(0.0, begun - appointment.due))
            else:
                self._watcher.started_out_of_turn(appointment.why)
            result = await self._attempted_first(appointment)
        finally:
            self._places.give_back(appointment.place)
        if result.up or appointment.down:  # what is down already needs no confirmation
            return result
        since = begun if appointment.why is None else appointment.due  # it may run into its slot, but into no other
        return await self._confirmed(appointment, result, since + self.pace.interval)

    async def _attempted_first(self, appointment: Appointment) -> Result:
        """The first attempt, which may be silent for so long that another begins beside it."""
        confirmable = self.pace.attempts > 1 and not appointment.down and appointment.took < math.inf
        if not confirmable:
            return await self._attempted(appointment, math.inf)
        appointment.begun = anyio.current_time()
        self._unanswered.add(appointment)
        self._begun.set()
        try:
            return await self._attempted(appointment, math.inf)
        finally:
            self._unanswered.discard(appointment)

    def _end_second(self, appointment: Appointment) -> None:
        """Break off what is made beside, if it is still under way."""
        if appointment.second is not None:
            appointment.second.task.cancel()
            self._places.give_back(appointment.second.place)  # itself, it does so only if it has begun

    async def _attempted(self, appointment: Appointment, within: float) -> Result:
        """One attempt, and whether the exporter itself stood still meanwhile."""
        key, appointment.begun = appointment.key, anyio.current_time()
        return await noticing(self._pulse, attempted(self._attempt(key, within), key))

    def _report(self, appointment: Appointment, result: Result) -> None:
        """The result, and which slots it missed."""
        passed = self._passed(appointment)
        if appointment.why is None:
            if appointment.in_place:
                self._watcher.missed(passed)
            self._watcher.finished(result)
        elif passed:  # it took a slot
            self._watcher.missed(passed - 1)
            self._watcher.finished(result)
        else:
            self._watcher.finished_out_of_turn(result)

    def _passed(self, appointment: Appointment) -> int:
        """How many slots have begun since it was due."""
        now = max(anyio.current_time(), appointment.due)
        passed = self._slot(appointment.key, now) - self._slot(appointment.key, appointment.due)
        return round(passed / self.pace.interval)

    def _hear(self, appointment: Appointment, result: Result) -> None:
        """Ask what an attempt gives rise to."""
        self.ask_for(lambda now: self._paths.hear(result, appointment.begun, now))

    def _suspect(self, appointment: Appointment, following: Next, result: Result) -> None:
        """Show a failure that is not confirmed, and ask what it gives rise to."""
        self._watcher.unconfirmed(result)
        if following is Next.CONFIRM:
            self.ask_for(lambda now: self._paths.fail_once(result, appointment.begun, now))
            if anyio.current_time() - appointment.begun >= PAUSE[1]:
                self._hear(appointment, result)  # what is silent for longer than a pause may last has no need of one

    def _report_defect(self, appointment: Appointment, error: Exception) -> str:
        """Report a defect as the result of its check; if that fails too, log it once. Returns its message."""
        key, failure = appointment.key, defect(error)
        try:
            self._watcher.finished(Result(key, time.time(), failure=failure))
        except Exception:
            if failure.message != appointment.defect:
                log.exception("a result cannot be reported", target=key.target.url, path=key.path)
        return failure.message

    def _slot(self, key: CheckKey, moment: float) -> float:
        """When the first slot of a check begins that comes after a moment."""
        interval = self.pace.interval
        place = offset(key, interval)
        return starts_at(next_slot(moment, place, interval), place, interval)

    def _meet_again(self, appointment: Appointment) -> None:
        self._appointments[appointment.key] = appointment
        heappush(self._waiting, appointment)
        if self._waiting[0] is appointment:
            self._asleep.cancel()

    async def _confirmed(self, appointment: Appointment, first: Result, end: float) -> Result:
        """What a probe comes to after its first attempt: the first success, or the failure of the last attempt.

        Each is made after a pause, but for the one that was begun beside the first, and all are over before `end`, so
        that no slot is missed for them; what the exporter itself holds up, by standing still or for want of room, is
        added to that. When so many fail at once that the allowance is spent, they confirm each other; but for those
        that are asked because others fail.
        """
        attempts, result = Attempts(self.pace.attempts), first
        while (following := attempts.next(result)) is not Next.NONE:
            now = anyio.current_time()
            if (second := appointment.second) is not None:
                self._suspect(appointment, following, result)
                appointment.begun = second.begun
                result = (await second.task).after(result)
                appointment.second = None
                continue
            if following is Next.REPEAT:
                end = max(end, now + self.pace.interval)
            elif end - now <= 2 * SPARE * self.pace.interval:
                break
            elif not appointment.asked and not self._allowance.take(now):
                self._watcher.accepted(result)
                break
            self._suspect(appointment, following, result)
            rest = pause(end - now)
            await anyio.sleep(rest)
            async with self._places.turn():
                begun = anyio.current_time()
                end += begun - (now + rest)
                await checkpoint_if_cancelled()  # it may have left just when it was woken
                again = await self._attempted(appointment, end - begun - SPARE * self.pace.interval)
            result = again.after(result)
        return result


class Schedule:
    """What is probed, and by which timetable. Given what should be probed, it starts and ends only what differs."""

    def __init__(self, group: TaskGroup, attempt: Attempt, watcher: Watcher, pulse: Pulse | None = None) -> None:
        self._group = group
        self._attempt = attempt
        self._watcher = watcher
        self._allowances = Allowance(), Allowance()
        self._pulse = pulse or Pulse()
        self._paths = PathWatch()
        self._timetable: Timetable | None = None
        group.start_soon(self._pulse.beat)
        group.start_soon(self._look)

    async def _look(self) -> NoReturn:
        """Look at paths that are down, for ever."""
        while True:
            await anyio.sleep(LOOK)
            if self._timetable is not None:
                self._timetable.ask_for(self._paths.look)

    def adopt(self, known: Mapping[CheckKey, bool], pace: Pace) -> None:
        """Run exactly these checks; the value says whether a result is there already. Does not wait."""
        for allowance in self._allowances:
            allowance.adopt(len(known), pace.interval)
        self._paths.keep(known)
        if self._timetable is not None and self._timetable.pace == pace:
            self._timetable.adopt(known)
            return
        before, self._timetable = (
            self._timetable,
            Timetable(self._group, pace, self._allowances, self._pulse, self._attempt, self._watcher, self._paths),
        )
        self._timetable.adopt(known)
        if before is not None:
            self._timetable.ask({key: why for key, why in before.asked.items() if key in known})
            self._timetable.ask_for(self._paths.ask_again)
            before.end()
