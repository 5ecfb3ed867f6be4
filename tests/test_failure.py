"""Naming failures: every exception in every phase has a reason, however it is wrapped; every status a verdict."""

from __future__ import annotations

import builtins
import errno
import inspect
import socket
import ssl
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import Answer, Phase, Reason, Target
from exporter.probe.classify import REFUSED, Signs, Way, classify, judge, specific, unknown_root
from exporter.probe.errors import NotHttp, PeerClosed, ProxyRefused, Unverifiable
from tests.strategies import PREFIX

Make = Callable[[], BaseException]


def not_verified(code: int) -> ssl.SSLCertVerificationError:
    """What OpenSSL, or truststore on Windows, raises for a chain that does not verify."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1000)")
    error.verify_code = code
    error.verify_message = "in words"
    return error


# Made anew each time, for raising leaves its traces on an exception.
TELLING: dict[str, Make] = {
    "timeout": TimeoutError,
    "refused": lambda: OSError(errno.ECONNREFUSED, "Connection refused"),
    "no route": lambda: OSError(errno.EHOSTUNREACH, "No route to host"),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "closed": lambda: PeerClosed("the connection was closed before the answer"),
    "no such name": lambda: socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "resolver in trouble": lambda: socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
    "no name at all": lambda: UnicodeError("label too long"),
    "untrusted": lambda: not_verified(20),
    "expired": lambda: not_verified(10),
    "no TLS": lambda: ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"),
    "proxy says no": lambda: ProxyRefused(Answer(403)),
    "no HTTP": lambda: NotHttp("the answer is not HTTP"),
    "no socket left": lambda: OSError(errno.EMFILE, "Too many open files"),
}


def _caused(wrapper: Exception) -> Callable[[BaseException], BaseException]:
    def wrap(error: BaseException) -> BaseException:
        wrapper.__cause__ = error
        return wrapper

    return wrap


def _while_handling(wrapper: Exception) -> Callable[[BaseException], BaseException]:
    def wrap(error: BaseException) -> BaseException:
        wrapper.__context__ = error
        wrapper.__suppress_context__ = True  # as `raise ... from None` leaves it
        return wrapper

    return wrap


# How the libraries beneath hand an exception on.
WRAPPERS: dict[str, Callable[[], Callable[[BaseException], BaseException]]] = {
    "httpcore": lambda: _caused(httpcore.ConnectError("all connection attempts failed")),
    "httpx": lambda: _caused(httpx.ConnectError("")),
    "from None": lambda: _while_handling(httpcore.ReadError("read")),
    "bare OSError": lambda: _caused(OSError("all connection attempts failed")),
    "group": lambda: lambda error: BaseExceptionGroup("unhandled errors in a TaskGroup", [error]),
    "group after another": lambda: lambda error: BaseExceptionGroup("two", [ValueError("side effect"), error]),
}
wrappings = st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=4)
phases = st.sampled_from(Phase)


def wrapped(error: BaseException, names: list[str]) -> BaseException:
    for name in names:
        error = WRAPPERS[name]()(error)
    return error


# ---------------------------------------------------------------- every exception has a reason


def exceptions() -> list[BaseException]:
    """One of every kind that Python and the libraries beneath can raise, as far as a text is enough to make it."""
    kinds = {
        kind
        for module in (builtins, socket, ssl, httpcore, httpx)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, BaseException)
    }
    made: list[BaseException] = [make() for make in TELLING.values()]
    for kind in sorted(kinds, key=lambda kind: kind.__qualname__):
        for arguments in ((), ("in words",), (errno.EPERM, "in words")):
            try:
                made.append(kind(*arguments))
            except TypeError:
                continue
    return made


def fits(reason: Reason, phase: Phase, way: Way) -> bool:
    """Whether a reason may stand for a failure of a phase: by its prefix, or by what else may stand behind."""
    behind = set()
    if way is not Way.DIRECT and phase in {Phase.RESOLVE, Phase.CONNECT}:
        behind.add(Reason.PROXY_UNREACHABLE)
    if phase is Phase.PROCESSING:
        behind |= {Reason.TLS_HANDSHAKE, Reason.PROXY_AUTH_REQUIRED}
        behind |= {Reason.PROXY_ERROR} if way is Way.RELAY else set()
    return reason is Reason.INTERNAL_ERROR or reason.startswith(PREFIX[phase]) or reason in behind


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("phase", Phase)
def test_every_exception_in_every_phase_has_a_reason_that_fits_the_phase(phase: Phase, way: Way) -> None:
    found = exceptions()
    assert len(found) > 200
    for error in found:
        failure = classify(phase, error, way)
        assert failure.phase == phase
        assert fits(failure.reason, phase, way), repr(error)
        assert failure.message


@given(st.sampled_from(sorted(TELLING)), wrappings, phases, st.sampled_from(Way))
def test_a_wrapped_exception_means_what_the_bare_one_does(name: str, names: list[str], phase: Phase, way: Way) -> None:
    bare = classify(phase, TELLING[name](), way)
    assert classify(phase, wrapped(TELLING[name](), names), way) == bare


def test_an_exception_that_says_nothing_is_told_without_its_group() -> None:
    bare = classify(Phase.TLS, ZeroDivisionError("division by zero"), Way.DIRECT)
    grouped = classify(Phase.TLS, ExceptionGroup("group", [ZeroDivisionError("division by zero")]), Way.DIRECT)
    assert bare.reason is Reason.INTERNAL_ERROR
    assert bare.message == "ZeroDivisionError: division by zero"
    assert grouped == bare


def test_the_outermost_exception_that_says_something_counts() -> None:
    late = TimeoutError()
    late.__context__ = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert specific(_caused(httpx.ConnectError(""))(late)) is late


def test_the_first_of_a_group_counts_with_all_that_is_behind_it() -> None:
    first, second = TimeoutError(), ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    behind = _caused(httpx.ConnectError(""))(first)
    assert specific(ExceptionGroup("two", [second, first])) is second
    assert specific(BaseExceptionGroup("two", [behind, second])) is first


def test_an_exception_that_is_its_own_cause_has_a_reason_too() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert classify(Phase.CONNECT, one, Way.DIRECT).reason is Reason.INTERNAL_ERROR


def test_a_long_chain_has_a_reason_too() -> None:
    error: BaseException = TimeoutError()
    for _ in range(3000):
        error = _caused(ValueError("retried"))(error)
    assert classify(Phase.CONNECT, error, Way.DIRECT).reason is Reason.CONNECT_TIMEOUT


def test_a_real_try_and_except_is_seen_through() -> None:
    def fail() -> None:
        try:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        except OSError:
            raise httpcore.ConnectError("no") from None

    with pytest.raises(httpcore.ConnectError) as caught:
        fail()
    assert classify(Phase.CONNECT, caught.value, Way.DIRECT).reason is Reason.CONNECT_REFUSED


# ---------------------------------------------------------------- which reason

MEANINGS: list[tuple[Phase, Make, Reason]] = [
    (Phase.RESOLVE, TELLING["no such name"], Reason.DNS_NOT_FOUND),
    (Phase.RESOLVE, lambda: socket.gaierror(11001, "Windows: host not found"), Reason.DNS_NOT_FOUND),
    (Phase.RESOLVE, lambda: socket.gaierror(11004, "Windows: no data"), Reason.DNS_NOT_FOUND),
    (Phase.RESOLVE, TELLING["no name at all"], Reason.DNS_NOT_FOUND),
    (Phase.RESOLVE, TELLING["resolver in trouble"], Reason.DNS_ERROR),
    (Phase.RESOLVE, TimeoutError, Reason.DNS_TIMEOUT),
    (Phase.CONNECT, TimeoutError, Reason.CONNECT_TIMEOUT),
    (Phase.CONNECT, lambda: OSError(errno.ETIMEDOUT, "Connection timed out"), Reason.CONNECT_TIMEOUT),
    (Phase.CONNECT, TELLING["refused"], Reason.CONNECT_REFUSED),
    (Phase.CONNECT, TELLING["reset"], Reason.CONNECT_REFUSED),
    (Phase.CONNECT, TELLING["no route"], Reason.CONNECT_UNREACHABLE),
    (Phase.CONNECT, lambda: OSError(errno.ENETUNREACH, "Network is unreachable"), Reason.CONNECT_UNREACHABLE),
    (Phase.CONNECT, lambda: OSError(errno.EPERM, "Operation not permitted"), Reason.CONNECT_UNREACHABLE),
    (Phase.PROXY, lambda: ProxyRefused(Answer(407)), Reason.PROXY_AUTH_REQUIRED),
    (Phase.PROXY, lambda: ProxyRefused(Answer(403)), Reason.PROXY_DENIED),
    (Phase.PROXY, lambda: ProxyRefused(Answer(302)), Reason.PROXY_DENIED),
    (Phase.PROXY, lambda: ProxyRefused(Answer(400)), Reason.PROXY_ERROR),
    (Phase.PROXY, lambda: ProxyRefused(Answer(405)), Reason.PROXY_ERROR),
    (Phase.PROXY, lambda: ProxyRefused(Answer(502)), Reason.PROXY_ERROR),
    (Phase.PROXY, TimeoutError, Reason.PROXY_ERROR),
    (Phase.PROXY, TELLING["no HTTP"], Reason.PROXY_ERROR),
    (Phase.TLS, TimeoutError, Reason.TLS_TIMEOUT),
    (Phase.TLS, TELLING["no TLS"], Reason.TLS_HANDSHAKE),
    (Phase.TLS, TELLING["reset"], Reason.TLS_HANDSHAKE),
    (Phase.TLS, TELLING["closed"], Reason.TLS_HANDSHAKE),
    (Phase.PROCESSING, TimeoutError, Reason.HTTP_TIMEOUT),
    (Phase.PROCESSING, TELLING["reset"], Reason.HTTP_RESET),
    (Phase.PROCESSING, TELLING["closed"], Reason.HTTP_RESET),
    (Phase.PROCESSING, TELLING["no HTTP"], Reason.HTTP_PROTOCOL),
    (Phase.PROCESSING, TELLING["no TLS"], Reason.TLS_HANDSHAKE),  # TLS 1.3 may refuse after the client has finished
    *((phase, TELLING["no socket left"], Reason.INTERNAL_ERROR) for phase in Phase),
]


@pytest.mark.parametrize(("phase", "make", "reason"), MEANINGS)
def test_an_exception_means(phase: Phase, make: Make, reason: Reason) -> None:
    assert classify(phase, make(), Way.TUNNEL if phase is Phase.PROXY else Way.DIRECT).reason == reason


def test_every_reason_but_those_of_an_answer_stands_for_some_exception() -> None:
    found = {reason for _, _, reason in MEANINGS}
    verified = {Reason.TLS_UNTRUSTED, Reason.TLS_EXPIRED, Reason.TLS_HOSTNAME_MISMATCH}
    answered = {Reason.HTTP_STATUS, Reason.HTTP_BLOCKED}
    assert found == set(Reason) - verified - answered - {Reason.PROXY_UNREACHABLE}


@pytest.mark.parametrize("way", [Way.TUNNEL, Way.RELAY])
@pytest.mark.parametrize(
    ("phase", "name", "reason"),
    [
        (Phase.RESOLVE, "no such name", Reason.PROXY_UNREACHABLE),
        (Phase.RESOLVE, "no name at all", Reason.PROXY_UNREACHABLE),
        (Phase.RESOLVE, "resolver in trouble", Reason.DNS_ERROR),  # whichever name it is asked for
        (Phase.RESOLVE, "timeout", Reason.DNS_TIMEOUT),
        (Phase.CONNECT, "refused", Reason.PROXY_UNREACHABLE),
        (Phase.CONNECT, "no route", Reason.PROXY_UNREACHABLE),
        (Phase.CONNECT, "timeout", Reason.PROXY_UNREACHABLE),
    ],
)
def test_what_fails_on_the_way_to_the_proxy(way: Way, phase: Phase, name: str, reason: Reason) -> None:
    assert classify(phase, TELLING[name](), way).reason is reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("reset", Reason.PROXY_ERROR),
        ("closed", Reason.PROXY_ERROR),
        ("no HTTP", Reason.PROXY_ERROR),
        ("timeout", Reason.HTTP_TIMEOUT),  # it may wait for the target
    ],
)
def test_a_proxy_that_breaks_down_over_a_plain_request_is_at_fault_itself(name: str, reason: Reason) -> None:
    assert classify(Phase.PROCESSING, TELLING[name](), Way.RELAY).reason is reason


# Codes of OpenSSL (x509_vfy.h) and of Windows (winerror.h), which come with and without a sign.
VERIFY_CODES = [
    (9, Reason.TLS_EXPIRED, False),
    (10, Reason.TLS_EXPIRED, False),
    (0x800B0101, Reason.TLS_EXPIRED, False),
    (62, Reason.TLS_HOSTNAME_MISMATCH, False),
    (64, Reason.TLS_HOSTNAME_MISMATCH, False),
    (0x800B010F, Reason.TLS_HOSTNAME_MISMATCH, False),
    (18, Reason.TLS_UNTRUSTED, True),
    (19, Reason.TLS_UNTRUSTED, True),
    (20, Reason.TLS_UNTRUSTED, False),
    (21, Reason.TLS_UNTRUSTED, False),
    (0x800B0109, Reason.TLS_UNTRUSTED, True),
    (0x800B010A, Reason.TLS_UNTRUSTED, False),
    (23, Reason.TLS_UNTRUSTED, False),  # revoked
    (0x800B010C, Reason.TLS_UNTRUSTED, False),  # revoked
]


def test_what_windows_says_of_a_chain_is_told_in_words_that_do_not_depend_on_its_language() -> None:
    error = not_verified(0x800B0109 - (1 << 32))
    error.verify_message = "Eine Zertifikatkette wurde zwar verarbeitet, endete jedoch mit einem Stammzertifikat."
    message = classify(Phase.TLS, error, Way.DIRECT).message
    assert message == "the chain ends in a root that Windows does not trust (0x800b0109)"


def test_a_system_that_cannot_verify_is_no_fault_of_the_target() -> None:
    found = classify(Phase.TLS, Unverifiable("this machine cannot verify certificates: Invalid parameter"), Way.DIRECT)
    assert found.reason is Reason.INTERNAL_ERROR
    assert found.message == "this machine cannot verify certificates: Invalid parameter"


@pytest.mark.parametrize(("code", "reason", "intercepted"), VERIFY_CODES)
def test_a_verify_code_means(code: int, reason: Reason, intercepted: bool) -> None:
    signed = code - (1 << 32) if code >> 31 else code
    for error in (not_verified(code), not_verified(signed), wrapped(not_verified(signed), ["group", "httpx"])):
        assert classify(Phase.TLS, error, Way.DIRECT).reason is reason
        assert unknown_root(error) == intercepted


def test_only_a_verification_tells_of_an_unknown_root() -> None:
    assert not [name for name, make in TELLING.items() if unknown_root(make()) and name != "untrusted"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (not_verified(20), "in words"),
        (TimeoutError(), "no answer within the timeout"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (ProxyRefused(Answer(403)), "the proxy answered CONNECT with 403"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_words_are_for_a_person(error: BaseException, message: str) -> None:
    assert classify(Phase.PROXY, error, Way.TUNNEL).message == message


# ---------------------------------------------------------------- what an answer means

PUBLISHED = {407, 408, 426, 451, 502, 511, 598, 599}
ALL = range(100, 600)


def reasons(target: Target, *, way: Way = Way.DIRECT) -> dict[int, Reason]:
    """The statuses that are not usable, and why."""
    verdicts = {status: judge(target, Answer(status), Signs(), way, forgeable=True) for status in ALL}
    return {status: failure.reason for status, failure in verdicts.items() if failure}


def test_an_answer_is_judged_by_the_published_table() -> None:
    found = reasons(Target("https://host.example/"))
    assert found == {
        status: Reason.HTTP_BLOCKED if status in {451, 511} else Reason.HTTP_STATUS for status in PUBLISHED
    }
    assert set(REFUSED) == PUBLISHED


def test_behind_a_proxy_407_is_the_proxys() -> None:
    plain = reasons(Target("http://host.example/"))
    assert reasons(Target("http://host.example/"), way=Way.RELAY) == {**plain, 407: Reason.PROXY_AUTH_REQUIRED}


@given(st.frozensets(st.integers(100, 599), min_size=1), st.sampled_from(Way))
def test_an_endpoint_may_name_the_statuses_that_count(accept: frozenset[int], way: Way) -> None:
    found = reasons(Target("http://host.example/", accept=accept), way=way)
    assert found.keys() == set(ALL) - accept


def test_a_refused_status_keeps_its_cause_where_the_endpoint_names_its_own() -> None:
    found = reasons(Target("http://host.example/", accept=frozenset({200})), way=Way.RELAY)
    assert (found[407], found[451], found[511], found[404]) == (
        Reason.PROXY_AUTH_REQUIRED,
        Reason.HTTP_BLOCKED,
        Reason.HTTP_BLOCKED,
        Reason.HTTP_STATUS,
    )


@pytest.mark.parametrize(
    ("accept", "status", "message"),
    [
        (None, 502, "status 502, bad gateway"),
        (frozenset({204, 200}), 404, "status 404, expected 200, 204"),
    ],
)
def test_a_verdict_says_what_came_and_what_was_wanted(accept: Any, status: int, message: str) -> None:
    failure = judge(Target("https://host.example/", accept=accept), Answer(status), Signs(), Way.DIRECT, forgeable=True)
    assert failure
    assert (failure.phase, failure.message) == (Phase.PROCESSING, message)
