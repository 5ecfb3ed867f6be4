"""What became of a name and of a connection: (exception, what was tried) -> Failure. Pure."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from exporter.model.addresses import is_private
from exporter.model.patterns import address_of
from exporter.model.vocabulary import Cause, Contact, Evidence, Failure, Phase, Reason, Target, Tried
from exporter.probe.errors import Sinkholed, Unfound

NO_SUCH_NAME: Final = frozenset(
    {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME), 11001, 11004}  # the last two are Windows'
)
OUR_OWN: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # out of sockets: not the target
NO_ANSWER: Final = "no answer within the timeout"


# ---------------------------------------------------------------- names


def unresolved(cause: BaseException, words: str, seen: Evidence) -> Failure:
    """What became of a target's name."""
    if isinstance(cause, Sinkholed):
        return Failure(Phase.RESOLVE, Reason.DNS_ERROR, f"the name {words}", Cause.SINKHOLE)
    if seen.unanswered and isinstance(cause, TimeoutError):
        words = f"{words} to {seen.unanswered.words}"
    return Failure(Phase.RESOLVE, resolve_reason(cause), words)


def unresolved_proxy(cause: BaseException, words: str) -> Failure | None:
    """What became of a proxy's name, where that is the name's own fault and not the resolver's."""
    if isinstance(cause, Sinkholed):
        return Failure(Phase.RESOLVE, Reason.DNS_ERROR, f"the proxy's name {words}", Cause.SINKHOLE)
    if resolve_reason(cause) is Reason.DNS_NOT_FOUND:
        return Failure(Phase.RESOLVE, Reason.PROXY_UNREACHABLE, f"the proxy's name: {words}")
    return None


def resolve_reason(cause: BaseException) -> Reason:
    """Why a name came to no address."""
    match cause:
        case socket.gaierror():
            return Reason.DNS_NOT_FOUND if cause.errno in NO_SUCH_NAME else Reason.DNS_ERROR
        case TimeoutError():
            return Reason.DNS_TIMEOUT
        case Sinkholed():
            return Reason.DNS_ERROR
        case Unfound() | UnicodeError():  # a name that cannot be put on the wire (63 characters a label) exists nowhere
            return Reason.DNS_NOT_FOUND
    return Reason.INTERNAL_ERROR


# ---------------------------------------------------------------- connecting

_CONTACTS: Final[Mapping[int, Contact]] = MappingProxyType(
    {
        errno.ECONNREFUSED: Contact.REFUSED,
        errno.ECONNRESET: Contact.REFUSED,
        errno.EACCES: Contact.FORBIDDEN,  # Linux', also for what ICMPv6 calls prohibited
        errno.EPERM: Contact.FORBIDDEN,
        errno.ETIMEDOUT: Contact.SILENT,
        errno.EHOSTUNREACH: Contact.UNREACHABLE,
        errno.EHOSTDOWN: Contact.UNREACHABLE,
        errno.ENETUNREACH: Contact.NO_WAY,
        errno.ENETDOWN: Contact.NO_WAY,
        errno.EADDRNOTAVAIL: Contact.NO_WAY,  # no address of our own to come from
        errno.EAFNOSUPPORT: Contact.NO_WAY,
    }
)
_ORDER: Final = {contact: place for place, contact in enumerate(Contact)}
_CONNECT_REASON: Final[Mapping[Contact, Reason]] = MappingProxyType(
    {Contact.REFUSED: Reason.CONNECT_REFUSED, Contact.SILENT: Reason.CONNECT_TIMEOUT}
)
_NAMED: Final = 4  # addresses of each kind, at most


def contact_of(error: OSError) -> Contact:
    """What came of asking an address for a connection, where that failed."""
    if isinstance(error, TimeoutError):
        return Contact.SILENT
    return _CONTACTS.get(error.errno or 0, Contact.FAILED)


def telling_most(errors: Iterable[OSError]) -> OSError:
    """The error of several addresses that leads to a remedy; the first of those that are alike.

    What this machine lacks comes first: nobody knows how it would have gone. Then whoever answered before whoever was
    silent, and that before an address that this machine has no way to, as it often has none to IPv6.
    """
    return min(errors, key=lambda error: -1 if error.errno in OUR_OWN else _ORDER[contact_of(error)])


def unconnected(cause: BaseException, words: str, seen: Evidence) -> Failure:
    """What became of a connection, by the most informative address: one that is silent hides no other's refusal."""
    failed = _failed(seen.tried)
    if failed:
        contact, words = failed[0].contact, _of_each(failed) if len(failed) > 1 else _of_one(failed[0])
    elif isinstance(cause, TimeoutError) or (isinstance(cause, OSError) and cause.errno):
        contact = contact_of(cause)
    else:
        return Failure(Phase.CONNECT, Reason.INTERNAL_ERROR, words)
    return Failure(Phase.CONNECT, _CONNECT_REASON.get(contact, Reason.CONNECT_UNREACHABLE), words)


def words_of_proxy(words: str, seen: Evidence) -> str:
    """Why a proxy's addresses took no connection, without them: they are not everybody's business."""
    failed = _failed(seen.tried)
    return failed[0].error or NO_ANSWER if failed else words


def _failed(tried: Sequence[Tried]) -> list[Tried]:
    """The addresses that did not open, the most informative first; none where one did."""
    if any(one.contact is Contact.OPENED for one in tried):
        return []
    return sorted(tried, key=lambda one: _ORDER[one.contact])


def _of_one(tried: Tried) -> str:
    """What one address came to: what is found in the log of a firewall."""
    at = f"{tried.address} port {tried.port}" if tried.port else tried.address
    return f"{tried.error} ({at})" if tried.error else f"no answer from {at} within {tried.seconds:.3g} s"


def _of_each(failed: Sequence[Tried]) -> str:
    """What several addresses came to, the most informative first: `Connection refused (192.0.2.1, 192.0.2.2)`."""
    addresses: dict[str, list[str]] = {}
    for one in failed:
        addresses.setdefault(one.error or NO_ANSWER, []).append(one.address)
    return "; ".join(f"{words} ({_some(found)})" for words, found in addresses.items())


def _some(addresses: Sequence[str]) -> str:
    more = len(addresses) - _NAMED
    return ", ".join(addresses[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def at_private_address(failure: Failure, target: Target, seen: Evidence) -> Failure:
    """A failed connection, with a reason of its own where a public name led to private addresses."""
    private = bool(seen.addresses) and all(map(is_private, seen.addresses))
    if failure.phase is not Phase.CONNECT or not private or target.own or address_of(target.host) is not None:
        return failure
    message = f"{failure.message}; {seen.addresses[0]} is a private address"
    return replace(failure, message=message, cause=Cause.PRIVATE_ADDRESS)
