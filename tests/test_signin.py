"""Signing in to a proxy: nobody is called down for another's sake, and no account is locked."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exporter.authentication import Account, SignInBroken, SignInFailed
from exporter.model import Answer, Auth, CheckKey, Probing, Proxy, Reason, Result, Target, TlsSettings
from exporter.net import SignIn, signin, verifying
from exporter.net.signin import MOST, PAUSE, QUIET, SHORT_PAUSE, SILENCE
from exporter.probes import Network, run_check
from tests.proxies import HANGING, HELD, PASSWORD, USERNAME, AskingProxy
from tests.servers import Server, serving

TIMEOUT = 10.0


def reason_of(result: Result) -> Reason | None:
    return result.failure.reason if result.failure else None


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def ntlm_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NTLM's server knows the account."""
    (tmp_path / "users").write_text(f"{USERNAME.replace(chr(92), ':')}:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))


# ---------------------------------------------------------------- the laws, in virtual time


def simulate(play: Callable[[], Awaitable[None]]) -> None:
    anyio.run(play, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


@dataclass
class Directory:
    """What a proxy says to probes, in virtual time: 200, or 407 where the directory behind it does not take them."""

    takes: Callable[[float], bool] = lambda _: True  # at this time
    after: float = 0.1  # seconds that it looks at an account
    tries: list[float] = field(default_factory=list)
    sign_in: SignIn = field(default_factory=lambda: SignIn(Account(Proxy("p", "http://p:1", "svc", PASSWORD))))
    waits: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def probe(self, *, hangs: float = 0.0, status: int = 200, patience: float = math.inf) -> None:
        """One probe: its target takes these seconds, once the account is taken, and ten at most are waited."""
        began = anyio.current_time()
        try:
            turn = await self.sign_in.begin(patience)
        except (SignInFailed, SignInBroken) as failure:
            self.told.append(str(failure))
            return
        self.waits.append(anyio.current_time() - began)
        self.tries.append(anyio.current_time())
        with anyio.move_on_after(TIMEOUT):
            self.sign_in.said(turn, shown=True)
            await anyio.sleep(self.after)
            if self.takes(self.tries[-1]):
                await anyio.sleep(hangs)
                self.sign_in.let_through(turn, Answer(status), tunnel=True)
            else:
                self.sign_in.refused(turn)
        self.sign_in.end(turn)

    async def many(self, *hangs: float) -> None:
        """A probe for each of these targets, all at once, in this order."""
        async with anyio.create_task_group() as group:
            for seconds in hangs:
                group.start_soon(partial(self.probe, hangs=seconds))


@given(st.integers(1, 200), st.floats(0.0, 9.0))
@settings(deadline=None)
def test_a_refused_password_is_tried_once_or_as_often_as_refusals_are_slow(targets: int, after: float) -> None:
    world = Directory(takes=lambda _: False, after=after)

    async def play() -> None:
        await world.many(*[0.0] * targets)
        await world.many(*[0.0] * targets)

    simulate(play)
    assert len(world.tries) <= min(1 + after // QUIET, MOST)
    assert len(world.told) == 2 * targets - len(world.tries)


@given(st.lists(st.sampled_from([0.0, 0.2, 3.0, math.inf]), min_size=1, max_size=200))
@settings(deadline=None)
def test_whatever_hangs_nobody_waits_longer_than_the_silence_that_counts_as_leave(hangs: list[float]) -> None:
    world = Directory()
    simulate(lambda: world.many(*hangs))
    assert len(world.waits) == len(hangs)
    assert max(world.waits) <= max(SILENCE, MOST * QUIET) + 2 * world.after
    if max(hangs) <= 1:
        assert max(world.waits) <= max(hangs) + 2 * world.after


def test_the_order_of_the_plan_does_not_put_all_that_hangs_first() -> None:
    waited = []
    for _ in range(50):
        world = Directory()
        simulate(lambda world=world: world.many(*[math.inf] * 20, *[0.0] * 80))  # type: ignore[misc]
        waited.append(max(world.waits) >= SILENCE)
    assert waited.count(True) < 10  # all three that may try first hang in one case of a hundred


def test_the_account_is_tried_again_after_ten_minutes_and_by_one_probe() -> None:
    world = Directory(takes=lambda _: False)

    async def play() -> None:
        for _ in range(3):
            await world.many(*[0.0] * 100)
            await anyio.sleep(PAUSE)

    simulate(play)
    assert len(world.tries) == 3
    assert all(later - earlier >= PAUSE for earlier, later in pairwise(world.tries))


def hiccup(*periods: tuple[float, float]) -> Callable[[float], bool]:
    return lambda now: not any(begins <= now - START[0] < ends for begins, ends in periods)


START = [0.0]


@pytest.mark.parametrize("lasts", [0.01, 5.0, 25.0])
def test_a_refusal_of_an_account_that_was_taken_holds_the_others_for_a_moment(lasts: float) -> None:
    world = Directory(takes=hiccup((60.0, 60.0 + lasts)))

    async def play() -> None:
        START[0] = anyio.current_time()
        await world.probe()
        await anyio.sleep_until(START[0] + 60.0)
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(world.probe)
                await anyio.sleep(1.0)

    simulate(play)
    assert world.told == []
    assert len([at for at in world.tries if not world.takes(at)]) == 1
    assert max(world.waits) <= SHORT_PAUSE + 1


def test_the_second_refusal_in_a_row_is_that_of_a_wrong_password() -> None:
    world = Directory(takes=hiccup((60.0, 10_000.0)))

    async def play() -> None:
        START[0] = anyio.current_time()
        await world.probe()
        await anyio.sleep_until(START[0] + 60.0)
        async with anyio.create_task_group() as group:
            for _ in range(1200):
                group.start_soon(world.probe)
                await anyio.sleep(1.0)

    simulate(play)
    gaps = [later - earlier for earlier, later in pairwise(world.tries)]
    assert gaps == pytest.approx([60.0, SHORT_PAUSE, PAUSE], abs=2 * QUIET)


def test_all_that_are_refused_at_once_are_refused_once() -> None:
    world = Directory(takes=hiccup((60.0, 60.1)))

    async def play() -> None:
        START[0] = anyio.current_time()
        await world.probe()
        await anyio.sleep_until(START[0] + 60.0)
        await world.many(*[0.0] * 10)
        await world.many(*[0.0] * 10)

    simulate(play)
    assert world.told == []
    assert len(world.tries) == 1 + 10 + 10


def test_who_was_let_in_before_a_refusal_does_not_vouch_for_the_account_after_it() -> None:
    world = Directory(takes=hiccup((1.0, math.inf)))

    async def play() -> None:
        START[0] = anyio.current_time()
        await world.probe()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(world.probe, hangs=5.0))
            await anyio.sleep(2.0)
            await world.probe()
            await world.many(*[0.0] * 50)

    simulate(play)
    assert len([at for at in world.tries if not world.takes(at)]) == 2


@pytest.mark.parametrize("status", [400, 403, 405])
def test_a_denial_does_not_prove_the_account(status: int) -> None:
    world = Directory()

    async def play() -> None:
        await world.probe(status=status)
        world.takes = lambda _: False
        await world.many(*[0.0] * 100)

    simulate(play)
    assert len(world.tries) == 2


@pytest.mark.parametrize("status", [200, 204, 404, 500, 502, 503, 504])
def test_any_answer_behind_the_sign_in_proves_the_account(status: int) -> None:
    world = Directory(after=0.0)

    async def play() -> None:
        await world.probe(status=status)
        await world.many(*[math.inf] * 10, 0.0)

    simulate(play)
    assert max(world.waits) == 0


def test_whose_patience_ends_is_told_why() -> None:
    world = Directory()

    async def play() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(world.probe, hangs=math.inf))
            await anyio.sleep(0.1)
            await world.probe(patience=1.0)

    simulate(play)
    assert world.told == ["the proxy has not yet answered another probe that signs in"]


@given(st.integers(0, 2**32).map(random.Random))
@settings(deadline=None)
def test_a_turn_is_never_lost_whoever_is_cancelled(chance: random.Random) -> None:
    world = Directory()

    async def play() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(60):
                scope = anyio.CancelScope(deadline=anyio.current_time() + chance.uniform(0, 15))
                group.start_soon(cancelled, scope, chance.choice([0.0, math.inf]))
        waits = len(world.waits)
        await world.many(0.0)
        assert len(world.waits) == waits + 1

    async def cancelled(scope: anyio.CancelScope, hangs: float) -> None:
        with scope:
            turn = await world.sign_in.begin(math.inf)
            try:
                world.sign_in.said(turn, shown=True)
                await anyio.sleep(hangs)
                world.sign_in.let_through(turn, Answer(200), tunnel=True)
            finally:
                world.sign_in.end(turn)

    simulate(play)


# ---------------------------------------------------------------- real proxies


def network_through(server: Server, auth: Auth, password: str = PASSWORD) -> Network:
    proxy = Proxy("p", server.url(), USERNAME, password, auth=auth)
    return Network(verifying(TlsSettings()), {"p": proxy}, {"p": SignIn(Account(proxy))})


async def probe_all(network: Network, urls: Iterable[str], probing: Probing) -> dict[str, Result]:
    results = {}

    async def one(url: str) -> None:
        results[url] = await run_check(CheckKey(Target(url), "p"), network, probing)

    async with anyio.create_task_group() as group:
        for url in urls:
            group.start_soon(one, url)
    return results


def targets(hanging: int, healthy: int) -> list[str]:
    """The hanging ones come first, as they may in the order of a plan, every second by CONNECT."""
    schemes = ["http", "https"]
    return [
        *(f"{schemes[number % 2]}://{HANGING}{number}.example/" for number in range(hanging)),
        *(f"http://fine{number}.example/" for number in range(healthy)),
    ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exporter waits for takes a tenth of the time."""
    for name in ("QUIET", "SILENCE", "SHORT_PAUSE"):
        monkeypatch.setattr(signin, name, getattr(signin, name) / 10)


@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("hanging", [1, 6, 100])
@pytest.mark.parametrize(
    ("scheme", "auth"),
    [(Auth.BASIC, Auth.BASIC), (Auth.BASIC, Auth.AUTO), (Auth.NTLM, Auth.NTLM), (Auth.NTLM, Auth.AUTO)],
)
async def test_targets_that_hang_call_no_other_down(scheme: Auth, auth: Auth, hanging: int, attempts: int) -> None:
    proxy = AskingProxy(scheme)
    with serving(proxy) as server:
        network = network_through(server, auth)
        results = await probe_all(network, targets(hanging, 20), Probing(timeout=2.0, attempts=attempts))
    down = {url for url, result in results.items() if not result.up}
    assert down == set(targets(hanging, 0))
    assert all(attempt.taken for attempt in proxy.tries)
    assert Reason.PROXY_AUTH_REQUIRED not in {reason_of(results[url]) for url in down}


@pytest.mark.anyio
@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.AUTO])
async def test_the_wait_for_another_is_in_no_phase_and_in_no_time_out(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signin, "QUIET", math.inf)
    asking = AskingProxy()
    held, others = f"http://{HELD}.example/", [f"http://fine{number}.example/" for number in range(10)]
    results: dict[str, Result] = {}

    with serving(asking) as server:
        network = network_through(server, auth)

        async def one(url: str, timeout: float) -> None:  # noqa: ASYNC109 - the attempt's
            results[url] = await run_check(CheckKey(Target(url), "p"), network, Probing(timeout=timeout, attempts=1))

        async with anyio.create_task_group() as group:
            group.start_soon(one, held, 60.0)
            await anyio.to_thread.run_sync(asking.tried.wait)
            begun_at = time.time()
            for url in others:
                group.start_soon(one, url, 2.0)
            await anyio.sleep(3.0)
            ended, released_at = set(results), time.time()
            asking.release.set()
    assert not ended
    assert all(result.up for result in results.values())
    assert all(results[url].finished > (begun_at + released_at) / 2 for url in others)
    assert all(results[url].duration < results[held].duration for url in others)
