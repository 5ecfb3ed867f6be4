"""Signing in to a proxy: nobody is called down for another's sake, and no account is locked."""

from __future__ import annotations

import math
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exporter.model.vocabulary import (
    Answer,
    Auth,
    Cause,
    CheckKey,
    Phase,
    Probing,
    Proxy,
    Reason,
    Result,
    Target,
    TlsSettings,
)
from exporter.probe.errors import SignInBroken, SignInFailed
from exporter.probe.net import SignIn, sign_ins_of, signin, verifying
from exporter.probe.net.authentication import Account
from exporter.probe.net.signin import MOST, PAUSE, QUIET, SHORT_PAUSE, SILENCE
from exporter.probe.runner import Network, run_check
from exporter.report.reasons import words_of
from exporter.service.load import Source, deploy, network_of
from tests.proxies import HANGING, HELD, OTHER, PASSWORD, USERNAME, AskingProxy
from tests.running import in_a_quiet_moment_of_the_loop
from tests.servers import Server, answer, head, serving

TIMEOUT = 10.0
SIGNED = [(Auth.BASIC, Auth.BASIC), (Auth.BASIC, Auth.AUTO), (Auth.NTLM, Auth.NTLM), (Auth.NTLM, Auth.AUTO)]


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
def test_a_refused_password_is_tried_once_or_as_often_as_refusals_are_slow(targets: int, after: float) -> None:
    world = Directory(takes=lambda _: False, after=after)

    async def play() -> None:
        await world.many(*[0.0] * targets)
        await world.many(*[0.0] * targets)

    simulate(play)
    assert len(world.tries) <= min(1 + after // QUIET, MOST)
    assert len(world.told) == 2 * targets - len(world.tries)


@given(st.lists(st.sampled_from([0.0, 0.2, 3.0, math.inf]), min_size=1, max_size=200))
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


def test_after_a_proxy_was_away_one_probe_signs_in_before_the_others_do() -> None:
    """It is back before the directory behind it: a hundred probes at once would lock the account that it had taken."""
    directory = Directory(takes=lambda now: now < 10.0)

    async def play() -> None:
        await directory.probe()
        await anyio.sleep(20.0)
        directory.sign_in.begin_anew()
        with anyio.move_on_after(5.0):
            await directory.many(*[0.0] * 100)

    simulate(play)
    assert len(directory.tries) == 2


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


def down_of(results: Mapping[str, Result]) -> set[str]:
    return {url for url, result in results.items() if not result.up}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exporter waits for takes a tenth of the time."""
    for name in ("QUIET", "SILENCE", "SHORT_PAUSE"):
        monkeypatch.setattr(signin, name, getattr(signin, name) / 10)


@pytest.mark.no_cover  # others take the same branches, and counting them takes more time than the test
@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("scheme", "auth", "hanging", "attempts"),
    [
        (Auth.BASIC, Auth.BASIC, 1, 1),
        (Auth.BASIC, Auth.AUTO, 100, 1),
        (Auth.NTLM, Auth.NTLM, 100, 1),
        (Auth.BASIC, Auth.BASIC, 6, 2),
        (Auth.NTLM, Auth.AUTO, 6, 2),
    ],
)
async def test_targets_that_hang_call_no_other_down(scheme: Auth, auth: Auth, hanging: int, attempts: int) -> None:
    async def ask() -> tuple[AskingProxy, dict[str, Result]]:
        proxy = AskingProxy(scheme)
        with serving(proxy) as server:
            network = network_through(server, auth)
            return proxy, await probe_all(network, targets(hanging, 20), Probing(timeout=3.0, attempts=attempts))

    proxy, results = await in_a_quiet_moment_of_the_loop(ask, lambda seen: down_of(seen[1]) == set(targets(hanging, 0)))
    down = down_of(results)
    assert down == set(targets(hanging, 0))
    assert all(attempt.taken for attempt in proxy.tries)
    assert Reason.PROXY_AUTH_REQUIRED not in {reason_of(results[url]) for url in down}


@pytest.mark.anyio
@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.AUTO])
async def test_the_wait_for_another_is_in_no_phase_and_in_no_timeout(
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


@pytest.mark.anyio
@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.AUTO])
async def test_who_may_not_wait_longer_is_told_what_is_waited_for(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "QUIET", math.inf)
    asking = AskingProxy()
    with serving(asking) as server:
        network = network_through(server, auth)
        async with anyio.create_task_group() as group:
            group.start_soon(run_check, CheckKey(Target(f"http://{HELD}.example/"), "p"), network, PATIENT)
            await anyio.to_thread.run_sync(asking.tried.wait)
            key = CheckKey(Target("https://fine.example/"), "p")
            result = await run_check(key, network, Probing(timeout=0.5, attempts=1), patience=0.0)
            asking.release.set()
    assert reason_of(result) == Reason.PROXY_ERROR
    assert result.failure
    assert result.failure.message == "the proxy has not yet answered another probe that signs in"


PATIENT = Probing(timeout=20.0, attempts=1)


# ---------------------------------------------------------------- the account


@pytest.mark.anyio
@pytest.mark.parametrize(("scheme", "auth"), SIGNED)
async def test_a_wrong_password_is_tried_once_by_a_hundred_probes(scheme: Auth, auth: Auth) -> None:
    asking = AskingProxy(scheme)
    with serving(asking) as server:
        network = network_through(server, auth, OTHER)
        for _ in range(2):
            results = await probe_all(network, targets(50, 50), Probing(timeout=10.0, attempts=3))
            assert {reason_of(result) for result in results.values()} == {Reason.PROXY_AUTH_REQUIRED}
    assert len(asking.tries) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("scheme", "auth"), SIGNED)
async def test_slow_refusals_are_few(scheme: Auth, auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "QUIET", QUIET / 10)
    asking = AskingProxy(scheme, refuses_after=1.0)
    with serving(asking) as server:
        network = network_through(server, auth, OTHER)
        results = await probe_all(network, targets(50, 50), Probing(timeout=10.0, attempts=2))
    assert {reason_of(result) for result in results.values()} == {Reason.PROXY_AUTH_REQUIRED}
    assert 1 <= len(asking.tries) <= MOST


@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("scheme", "auth"), SIGNED)
async def test_one_stray_refusal_calls_nobody_down(scheme: Auth, auth: Auth) -> None:
    asking = AskingProxy(scheme, refuses=lambda number: number == 1)
    with serving(asking) as server:
        network = network_through(server, auth)
        results = [await fetch(network, f"http://{host}.example/", Probing(timeout=5.0, attempts=2)) for host in "abc"]
        more = await probe_all(network, targets(0, 20), Probing(timeout=5.0, attempts=1))
    assert all(result.up for result in [*results, *more.values()])
    assert results[1].attempts == 2
    assert results[1].recovered_from
    assert results[1].recovered_from.cause is Cause.ACCOUNT_LAPSED
    assert results[1].recovered_from.message.endswith("; it took the account before")
    assert [attempt.taken for attempt in asking.tries] == [number != 1 for number in range(24)]


@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("scheme", "auth"), SIGNED)
async def test_an_account_that_lapses_is_tried_twice(scheme: Auth, auth: Auth) -> None:
    asking = AskingProxy(scheme, refuses=lambda number: number > 0)
    with serving(asking) as server:
        network = network_through(server, auth)
        first = await fetch(network, "http://fine.example/", Probing(timeout=5.0, attempts=1))
        results = await probe_all(network, targets(0, 30), Probing(timeout=5.0, attempts=1))
        await fetch(network, "http://fine.example/", Probing(timeout=5.0, attempts=1))  # the second try
        tried = len(asking.tries)
        later = await probe_all(network, targets(0, 30), Probing(timeout=5.0, attempts=3))
    assert first.up
    assert len(asking.tries) == tried
    assert {reason_of(result) for result in [*results.values(), *later.values()]} == {Reason.PROXY_AUTH_REQUIRED}


async def fetch(network: Network, url: str, probing: Probing) -> Result:
    return await run_check(CheckKey(Target(url), "p"), network, probing)


# ---------------------------------------------------------------- a reload


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Source]:
    """Writes a configuration with one proxy."""

    def write(url: str, password: str = OTHER, name: str = "p", *, used: bool = True) -> Source:
        (tmp_path / "password").write_text(password)
        proxy = f"{name}: {{url: '{url}', username: 'CORP\\svc', password_file: password, auth: basic}}"
        (tmp_path / "exporter.yaml").write_text(
            f"site: {{roles: [client], features: [mine]}}\nproxies: {{{proxy if used else ''}}}\n"
            f"via: {{{f'client: {name}' if used else ''}}}\n"
            "groups: [{feature: mine, endpoints: [{pattern: 'http://fine.example/'}]}]\n"
        )
        return Source(tmp_path / "exporter.yaml")

    return write


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_reload_tries_a_refused_password_anew(configuration: Callable[..., Source]) -> None:
    asking, once = AskingProxy(), Probing(timeout=5.0, attempts=1)
    with serving(asking) as server:
        url = server.url(path="")
        network = network_of(deploy(configuration(url)))
        key = CheckKey(Target("http://fine.example/"), "p")
        assert reason_of(await run_check(key, network, once)) == Reason.PROXY_AUTH_REQUIRED
        for source in (
            partial(configuration, url),
            partial(configuration, url, used=False),
            partial(configuration, url, name="renamed"),
            partial(configuration, url, "a-third-password"),
            partial(configuration, url),
        ):
            network = network_of(deploy(source()), network)
        told = await run_check(key, network, once)
        assert told.failure
        assert "another password is tried at once" in told.failure.message
        assert len(asking.tries) == 1

        network = network_of(deploy(configuration(url, PASSWORD)), network)
        assert (await run_check(key, network, once)).up
    assert len(asking.tries) == 2


@pytest.mark.anyio
async def test_a_reload_keeps_what_is_known_of_a_good_account(configuration: Callable[..., Source]) -> None:
    asking = AskingProxy()
    with serving(asking) as server:
        source = configuration(server.url(path=""), PASSWORD)
        network = network_of(deploy(source))
        assert (await fetch(network, "http://fine.example/", PATIENT)).up
        network = network_of(deploy(source), network)
        async with anyio.create_task_group() as group:
            group.start_soon(fetch, network, f"http://{HELD}.example/", PATIENT)
            results = await probe_all(network, targets(0, 10), Probing(timeout=5.0, attempts=1))
            asking.release.set()
    assert all(result.up for result in results.values())


def test_proxies_with_the_same_account_at_the_same_url_share_its_guard() -> None:
    one = Proxy("one", "http://p:1", "svc", PASSWORD)
    found = sign_ins_of({"one": one, "two": replace(one, name="two", no_proxy=(".corp.example",))}, ())
    assert found["one"] is found["two"]
    for other in (
        replace(one, url="http://p:2"),
        replace(one, username="other"),
        replace(one, password=OTHER),
        replace(one, auth=Auth.BASIC),
    ):
        assert sign_ins_of({"one": other}, found.values())["one"] is not found["one"]


# ---------------------------------------------------------------- connections

KEEP_ALIVE = "Proxy-Connection: keep-alive"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "manner",
    [
        {},
        {"version": "HTTP/1.0", "extra": KEEP_ALIVE},
        {"version": "HTTP/1.0", "extra": "Connection: Keep-Alive"},
        {"page": "x" * 200_000},
        {"page": "x" * 8192, "page_takes": 1.5},
    ],
    ids=["HTTP/1.1", "HTTP/1.0 as of old", "HTTP/1.0", "a long page", "a slow page"],
)
@pytest.mark.parametrize("auth", [Auth.NTLM, Auth.AUTO])
async def test_ntlm_goes_on_where_it_began(manner: dict[str, Any], auth: Auth) -> None:
    asking = AskingProxy(Auth.NTLM, **manner)
    with serving(asking) as server:
        result = await fetch(network_through(server, auth), "http://fine.example/", PATIENT)
    assert result.up
    said_on = [number for number, scheme in asking.heard if scheme]
    assert len(said_on) == 2
    assert len(set(said_on)) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("url", ["http://fine.example/", "https://fine.example/"])
@pytest.mark.parametrize(
    "manner",
    [
        {"closes": True},
        {"closes": True, "extra": "Connection: close"},
        {"closes": True, "extra": "Proxy-Connection: close"},
        {"closes": True, "version": "HTTP/1.0"},
    ],
    ids=["says nothing", "Connection", "Proxy-Connection", "HTTP/1.0"],
)
@pytest.mark.parametrize("auth", [Auth.NTLM, Auth.AUTO])
async def test_a_proxy_that_closes_in_the_midst_of_ntlm_refuses_nobody(
    manner: dict[str, Any], auth: Auth, url: str
) -> None:
    asking = AskingProxy(Auth.NTLM, **manner)
    with serving(asking) as server:
        network = network_through(server, auth)
        results = [await fetch(network, url, PATIENT) for _ in range(2)]
    for result in results:
        assert result.failure
        assert result.failure.reason == Reason.PROXY_ERROR
        assert result.failure.message == "the proxy closed the connection while signing in"
    assert asking.tries == []


@pytest.mark.anyio
@pytest.mark.parametrize("extra", ["", "Connection: close", "Proxy-Connection: close", "Connection: Close, x"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("tunnel", [False, True], ids=["relay", "tunnel"])
async def test_a_proxy_may_close_after_its_407_however_it_says_so(extra: str, version: str, tunnel: bool) -> None:
    asking = AskingProxy(closes=True, extra=extra, version=version)
    with serving(asking) as server, serving(lambda connection: connection.close()) as origin:
        url = origin.url("https", host="localhost") if tunnel else "http://fine.example/"
        result = await fetch(network_through(server, Auth.AUTO), url, PATIENT)
    tunnels = 2 if tunnel else 1  # where the origin hangs up in TLS, it is asked once more without TLS 1.3
    assert [scheme for _, scheme in asking.heard] == tunnels * ["", "Basic"]
    assert result.up or (result.failure and result.failure.phase is Phase.TLS)  # of an origin that hangs up
    assert tunnel is not result.up


@pytest.mark.anyio
async def test_a_proxy_that_always_closes_is_asked_once_more_and_not_for_ever() -> None:
    heard: list[bytes] = []
    ask = b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n'

    def talk(connection: socket.socket) -> None:
        heard.append(head(connection))
        if len(heard) == 1:
            connection.sendall(ask)

    with serving(talk) as server:
        result = await fetch(network_through(server, Auth.AUTO), "http://fine.example/", PATIENT)
    assert reason_of(result) == Reason.PROXY_ERROR
    assert len(heard) == 2


@pytest.mark.anyio
async def test_a_connection_that_idled_while_another_signed_in_may_be_closed() -> None:
    """Some proxies do not wait long for a first request."""
    asking = AskingProxy()
    numbers: list[int] = []

    def talk(connection: socket.socket) -> None:
        numbers.append(len(numbers))
        if numbers[-1] == 1:
            connection.settimeout(0.1)
        asking(connection)

    with serving(talk) as server:
        network = network_through(server, Auth.BASIC)
        async with anyio.create_task_group() as group:
            group.start_soon(fetch, network, f"http://{HELD}.example/", PATIENT)
            await anyio.to_thread.run_sync(asking.tried.wait)
            result = await fetch(network, "http://fine.example/", PATIENT)  # when the other makes way
            asking.release.set()
    assert result.up
    assert len(numbers) == 3


# ---------------------------------------------------------------- logins that do not say how


@pytest.mark.anyio
@pytest.mark.parametrize("account", [None, USERNAME], ids=["nobody", "an account"])
@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("401 Unauthorized\nContent-Length: 0", "https://fine.example/"),
        ('401 Unauthorized\nWWW-Authenticate: Basic realm="p"\nContent-Length: 0', "https://fine.example/"),
        ("407 No\nContent-Length: 0", "https://fine.example/"),
        ("407 No\nContent-Length: 0", "http://fine.example/"),
        ("407 No\nProxy-Authenticate:\nContent-Length: 0", "https://fine.example/"),
        ("407 No\nProxy-Authenticate: realm=x\nContent-Length: 0", "http://fine.example/"),
    ],
)
async def test_a_login_without_a_scheme_is_told_with_what_to_do(said: str, url: str, account: str | None) -> None:
    heard: list[bytes] = []
    with serving(answer(f"HTTP/1.1 {said}\n\n", heard=heard)) as server:
        proxy = Proxy("p", server.url(), account, account and PASSWORD, auth=Auth.AUTO if account else Auth.NONE)
        network = Network(verifying(TlsSettings()), {"p": proxy}, {"p": SignIn(Account(proxy))})
        results = [await fetch(network, url, PATIENT) for _ in range(2)]
    for result in results:
        assert result.failure
        assert result.failure.reason == Reason.PROXY_AUTH_REQUIRED
        assert result.failure.cause is Cause.NO_SCHEME_OFFERED
        assert "auth: basic" in result.failure.message
        assert "auth: basic" in words_of(result.failure).remedy
    assert not any(b"Proxy-Authorization" in request for request in heard)


@pytest.mark.anyio
async def test_an_account_that_is_refused_by_401_is_guarded_as_well() -> None:
    heard: list[bytes] = []
    with serving(answer("HTTP/1.1 401 Unauthorized\nContent-Length: 0\n\n", heard=heard)) as server:
        network = network_through(server, Auth.BASIC)
        results = [await fetch(network, f"https://fine{number}.example/", PATIENT) for number in range(5)]
    assert {reason_of(result) for result in results} == {Reason.PROXY_AUTH_REQUIRED}
    assert len(list(filter(None, heard))) == 1


@pytest.mark.anyio
async def test_a_401_of_a_target_is_the_targets() -> None:
    asking = AskingProxy(status=401)
    with serving(asking) as server:
        network = network_through(server, Auth.BASIC)
        results = [await fetch(network, f"http://fine{number}.example/", PATIENT) for number in range(3)]
    assert all(result.up for result in results)
