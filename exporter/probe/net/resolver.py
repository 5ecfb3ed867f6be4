"""Names to addresses, as the system resolves them, and why where it does not."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import anyio

from exporter.model.addresses import Whose, filter_at, is_possible
from exporter.model.patterns import address_of
from exporter.model.vocabulary import NameServer, Question
from exporter.probe.connecting import NO_SUCH_NAME
from exporter.probe.errors import Sinkholed, Unanswered, Unfound
from exporter.probe.net.clock import Arrival, now
from exporter.probe.net.local import local_address_towards
from exporter.probe.net.system_names import Resolver, is_listed, resolver_in_force
from exporter.probe.net.trace import Trace
from exporter.system.descriptors import leave_reserve
from exporter.system.threads import Job
from exporter.system.words import words_of
from exporter.text.numbers import plural

AddressInfo: TypeAlias = tuple[int, int, int, str, Any]  # as socket.getaddrinfo gives it

MOST_ADDRESSES: Final = 16  # of a family; nobody waits until more have been tried
HANGING: Final = 2  # lookups of one name that may hang without a pause before the next
PAUSE: Final = 60.0  # seconds before that; twice as long before each further one
_given_up: Final[dict[str, list[_GivenUp]]] = {}  # by the host, the last one at the end
_LONG: Final = 1.0  # seconds after which it is asked which of the two questions hangs
_APART: Final = 8  # lookups that are taken apart so at a time: where all hang, it is the same with each
_ELSE: Final = 1.0  # seconds to find out whether the search list knows a name that does not exist
_SPARE: Final = 0.05  # seconds that this leaves of the attempt, whose verdict is known already
_NO_DATA: Final = getattr(socket, "EAI_NODATA", None)  # the name exists, and has no address
_CLOSE: Final = 0.02  # seconds by which the resolver's patience may seem shorter than it is
_DNS_PORT: Final = 53
_FAMILIES: Final = {Question.A: socket.AF_INET, Question.AAAA: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class _LookUp:
    """What a resolver said, and between which moments it was thinking."""

    addresses: list[AddressInfo]
    begun: float
    ended: float
    listed: bool  # in the hosts file


@dataclass(frozen=True, slots=True)
class _GivenUp:
    """A lookup that nobody waits for any more, and since when."""

    job: Job[_LookUp]
    since: float


async def resolve(host: str, port: int, trace: Trace, whose: Whose) -> list[AddressInfo]:
    """The addresses of a host that can be meant.

    A name with a dot in it is asked for as it stands, as Windows does: the search list would make another name of it.
    Names of the hosts file, short names and those of proxies are looked up just as the system does it.

    Raises socket.gaierror, UnicodeError for a name that cannot be put on the wire, Unfound, Unanswered where the
    system's resolver lost its patience before we did, or Sinkholed.
    """
    literal = _is_written_as_address(host)
    trace.seen = replace(trace.seen, by_dns=not literal)
    asked = now()
    question = _Question(host, port, absolute=not literal and whose is not Whose.PROXY and "." in host)
    try:
        leave_reserve()
        found = await question.answer()
    except BaseException as error:
        trace.waited(asked, Arrival(now()))
        trace.seen = replace(trace.seen, unanswered=question.unanswered(), servers=_asked(question.resolver))
        if isinstance(error, socket.gaierror):
            await _raise_if_another(error, question)
        raise
    trace.waited(found.begun, Arrival(found.ended))
    trace.seen = replace(trace.seen, unanswered=question.left_out_of(found))
    if literal:
        return found.addresses
    trace.seen = replace(trace.seen, by_dns=not found.listed)
    if _is_localhost(host):
        return found.addresses
    return _possible(found, whose, trace)


def _is_written_as_address(host: str) -> bool:
    """Whether a host is an address in any notation that the system takes for one, such as 127.1 or 0x7f.1."""
    last = host.rpartition(".")[2].lower()
    return address_of(host) is not None or last.isdecimal() or last.startswith("0x")


def _is_localhost(host: str) -> bool:
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")  # RFC 6761, 6.3


def _possible(found: _LookUp, whose: Whose, trace: Trace) -> list[AddressInfo]:
    """The addresses that can be meant, if there are any. Raises Sinkholed."""
    possible = [info for info in found.addresses if is_possible(str(info[4][0]), whose, listed=found.listed)]
    if possible or not found.addresses:
        return possible
    texts = tuple(dict.fromkeys(str(info[4][0]) for info in found.addresses))
    trace.seen = replace(trace.seen, addresses=texts)
    product = filter_at(texts[0])
    if found.listed:
        hidden = "this machine's hosts file hides it"
    else:
        hidden = f"{product} hides it" if product else "a DNS filter or a hosts file hides it"
    raise Sinkholed(f"resolves to {', '.join(texts)}: {hidden}")


# ---------------------------------------------------------------- asking


class _Question:
    """A lookup under way; one that takes long is asked for again by each family of addresses, to see which hangs."""

    def __init__(self, host: str, port: int, *, absolute: bool) -> None:
        self._host = host
        self._port = port
        self._absolute = absolute
        self._apart: dict[Question, Job[_LookUp]] = {}
        self.resolver = Resolver()  # before anything is known of it

    @property
    def bare(self) -> str:
        """The name that the search list would be added to; empty where it was out of the question."""
        return "" if self._host.endswith(".") or not self._absolute else self._host

    async def answer(self) -> _LookUp:
        """What the system says. Raises Unanswered where too many lookups of this name hang already."""
        _raise_if_too_many_hang(self._host)
        job = Job(self._look_up)
        try:
            with anyio.move_on_after(_LONG):
                await job.wait()
            if not job.ended:
                self._take_apart()
                await job.wait()
        finally:
            if not job.ended:
                _given_up.setdefault(self._host, []).append(_GivenUp(job, anyio.current_time()))
        try:
            return job.value()
        except socket.gaierror as error:
            if error.errno == _NO_DATA:
                await self._raise_if_unknown()
            raise

    async def _raise_if_unknown(self) -> None:
        """Raise what one of the two questions failed of, where only the other one found that there is no address.

        glibc says "no address" then, though nobody knows.
        """
        if not self._apart:
            self._take_apart()
        with anyio.move_on_after(_ELSE):
            for job in self._apart.values():
                await job.wait()
        for kind, job in self._apart.items():
            try:
                if job.ended:
                    job.value()
            except socket.gaierror as error:
                if error.errno == socket.EAI_AGAIN:
                    raise socket.gaierror(error.errno, f"{error.strerror}: {kind.words}") from error
            except Unanswered as error:
                raise Unanswered(f"{error} to {kind.words}") from error

    def _look_up(self, family: int = socket.AF_UNSPEC) -> _LookUp:
        """In a thread of its own."""
        bare = self._host.removesuffix(".")
        listed = is_listed(bare)
        self.resolver = resolver_in_force()
        name = bare if listed or _is_localhost(bare) else f"{bare}." if self._absolute else self._host
        begun = now()
        try:
            addresses = few(socket.getaddrinfo(name, self._port, family=family, type=socket.SOCK_STREAM))
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise _in_words(error, self.resolver, now() - begun) from error
            if sys.platform == "win32":  # where Python says no more than "getaddrinfo failed"
                raise socket.gaierror(error.errno, words_of(error.errno or 0)) from error
            raise
        return _LookUp(addresses, begun, now(), listed)

    def _take_apart(self) -> None:
        _being_taken_apart[:] = [job for job in _being_taken_apart if not job.ended]
        if len(_being_taken_apart) < _APART * len(_FAMILIES):
            self._apart = {kind: Job(lambda f=family: self._look_up(f)) for kind, family in _FAMILIES.items()}  # type: ignore[misc]
            _being_taken_apart.extend(self._apart.values())

    def unanswered(self) -> Question | None:
        """The kind of question that finds no answer, where the other does."""
        without = [kind for kind, job in self._apart.items() if not job.ended or _is_unanswered(job)]
        return without[0] if len(without) == 1 else None

    def left_out_of(self, found: _LookUp) -> Question | None:
        """The same where the system gave up waiting for that kind, and came back with the other."""
        kind = self.unanswered()
        gave_up = found.ended - found.begun >= self.resolver.timeout - _CLOSE
        came = {info[0] for info in found.addresses}
        return kind if kind and gave_up and _FAMILIES[kind] not in came else None


def few(addresses: Iterable[AddressInfo]) -> list[AddressInfo]:
    """The first addresses of each family, in the order of all: an answer of DNS may hold thousands."""
    counts = Counter[int]()
    found = []
    for info in addresses:
        counts[info[0]] += 1
        if counts[info[0]] <= MOST_ADDRESSES:
            found.append(info)
    return found


def _is_unanswered(job: Job[_LookUp]) -> bool:
    try:
        job.value()
    except Unanswered:
        return True
    except (OSError, UnicodeError):
        return False
    return False


_being_taken_apart: Final[list[Job[_LookUp]]] = []


def _raise_if_too_many_hang(host: str) -> None:
    """Raise Unanswered where too many lookups of a name were given up and still hang, the last one not long ago.

    A resolver that hangs for minutes would otherwise get a thread for each probe. But it may hang for ever, as glibc
    does by TCP with a server that vanishes, and the next question finds an answer: after a day, a dozen hang.
    """
    hanging = [lookup for lookup in _given_up.pop(host, ()) if not lookup.job.ended]
    if not hanging:
        return
    _given_up[host] = hanging
    pause = PAUSE * 2 ** (len(hanging) - HANGING) if len(hanging) >= HANGING else 0.0
    if anyio.current_time() < hanging[-1].since + pause:
        raise Unanswered(f"the resolver has not answered {plural(len(hanging), 'earlier question')} for this name")


# ---------------------------------------------------------------- what is wrong


def _in_words(error: socket.gaierror, resolver: Resolver, seconds: float) -> OSError:
    """What "try again" means after so long: that nobody answered, or that somebody could not."""
    servers = _servers(resolver)
    if seconds >= resolver.patience - _CLOSE:
        return Unanswered(f"no answer from {servers}")
    return socket.gaierror(error.errno, f"{servers} answered with an error, or could not be asked")


async def _raise_if_another(error: socket.gaierror, question: _Question) -> None:
    """Raise Unfound where the name does not exist, but the search list makes one of it that does."""
    resolver = question.resolver
    if error.errno in NO_SUCH_NAME and question.bare and resolver.search:
        addresses = ", ".join(await _by_search_list(question.bare))
        if addresses:
            domains = ", ".join(resolver.search)
            raise Unfound(
                f"{error.strerror}; only the search list of this machine ({domains}) makes a name of it that exists, "
                f"another one, at {addresses}"
            ) from error


def _asked(resolver: Resolver) -> tuple[NameServer, ...]:
    return tuple(NameServer(address, local_address_towards(address, _DNS_PORT)) for address in resolver.servers)


def _servers(resolver: Resolver) -> str:
    match resolver.servers:
        case ():
            return "the resolver"
        case (server,):
            return f"the DNS server {server}"
    return f"the DNS servers {', '.join(resolver.servers)}"


_being_searched: Final[list[Job[Sequence[AddressInfo]]]] = []  # by the search list; each that hangs keeps a thread


async def _by_search_list(name: str) -> tuple[str, ...]:
    """The addresses of what the search list makes of a name that does not exist, if it comes soon."""
    left = anyio.current_effective_deadline() - anyio.current_time() - _SPARE
    if left <= 0:
        return ()
    _being_searched[:] = [job for job in _being_searched if not job.ended]
    if len(_being_searched) >= _APART:
        return ()
    job = Job[Sequence[AddressInfo]](lambda: socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM))
    _being_searched.append(job)
    with anyio.move_on_after(min(_ELSE, left)):
        await job.wait()
    if job.ended:
        with suppress(OSError, UnicodeError):
            return tuple(dict.fromkeys(str(info[4][0]) for info in job.value()))
    return ()
