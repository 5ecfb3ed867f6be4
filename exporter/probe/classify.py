"""Name what went wrong: (phase, exception or answer) -> Failure. Pure."""

from __future__ import annotations

import re
import ssl
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from http import HTTPStatus
from pathlib import PurePath
from types import MappingProxyType
from typing import Final

from exporter.model.fingerprints import Fingerprint, Kind
from exporter.model.vocabulary import Answer, Cause, Evidence, Failure, Phase, Reason, Target, TlsFacts
from exporter.probe.block_pages import leads_astray, recognise
from exporter.probe.connecting import NO_ANSWER, OUR_OWN, unconnected, unresolved, unresolved_proxy, words_of_proxy
from exporter.probe.errors import (
    NotHttp,
    NotTls,
    ProxyRefused,
    SignInBroken,
    SignInFailed,
    TooStrict,
    Unverifiable,
    is_tls_record,
    quoted,
)
from exporter.probe.net.authentication import offers
from exporter.probe.unverified import failure_of, is_of_unknown_root, verify_code, without_source

# Statuses that Configuration Manager's own endpoint check (version 2010 and later) counts as failed; any other answer
# counts as reachable. Source: "About the service connection point", Validate internet access.
REFUSED: Final[Mapping[int, str]] = MappingProxyType(
    {
        407: "proxy authentication required",
        408: "request timeout",
        426: "upgrade required",
        451: "unavailable for legal reasons",
        502: "bad gateway",
        511: "network authentication required",
        598: "network read timeout",
        599: "network connect timeout",
    }
)
_BLOCKED: Final = frozenset({451, 511})
# A proxy's policy says no to CONNECT by these: forbidden, or sent on to a page that says so; 470 is Azure Firewall's.
# Any other status (405, 501, 502 ...) says that it cannot, or is no proxy at all.
_DENIALS: Final = frozenset({301, 302, 303, 307, 308, 403, 451, 470})
# 401 is a web server's word for it, which some proxies take for their own.
_LOGINS: Final = frozenset({401, 407})

_OLD_TLS: Final = frozenset({"SSLv3", "TLSv1", "TLSv1.1"})
_ALERT: Final = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(.+)")  # OpenSSL's names for what the other side said

# What a server says about the certificate of a client that shows none (RFC 8446, 6.2).
_ALERTS_FOR_A_CERTIFICATE: Final = frozenset(
    {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_NO_CERTIFICATE", "SSLV3_ALERT_BAD_CERTIFICATE"}
)
# A web server answers CONNECT so; a proxy that cannot open a tunnel says 502, 503 or 504, and puts its name beside it.
_NO_METHOD_OF_OURS: Final = frozenset({400, 404, 405, 501})
_OF_PROXIES: Final = (
    "Via",
    "X-Cache",
    "Proxy-Agent",
    "Proxy-Authenticate",
    "Proxy-Connection",
    "Proxy-Status",
    "X-Squid-Error",
)

_PAGE: Final[Mapping[Kind, Reason]] = MappingProxyType(
    {
        Kind.BLOCK: Reason.HTTP_BLOCKED,
        Kind.ERROR: Reason.PROXY_ERROR,
        Kind.AUTHENTICATION: Reason.PROXY_AUTH_REQUIRED,
        Kind.PORTAL: Reason.HTTP_BLOCKED,
        Kind.EXPECTS_TLS: Reason.HTTP_PROTOCOL,
    }
)


_REFUSAL: Final[Mapping[Kind, Reason]] = MappingProxyType(  # of CONNECT
    {
        Kind.BLOCK: Reason.PROXY_DENIED,
        Kind.ERROR: Reason.PROXY_ERROR,
        Kind.AUTHENTICATION: Reason.PROXY_AUTH_REQUIRED,
        Kind.PORTAL: Reason.PROXY_DENIED,
        Kind.EXPECTS_TLS: Reason.PROXY_UNREACHABLE,
    }
)


def _no_scheme(answer: Answer) -> str:
    """What has to be said of an answer that wants a login, and does not say by what scheme."""
    return f", {_UNNAMED}" if _cause_of(answer) is Cause.NO_SCHEME_OFFERED else ""


def _phrase(answer: Answer) -> str:
    """What stands behind a status, where it is not what always does."""
    said = answer.phrase.strip(" ().")
    return f": {said}" if " " in said and said.lower() not in _USUAL else ""


_USUAL: Final = frozenset({status.phrase.lower() for status in HTTPStatus} | {"proxy error"})
_UNNAMED: Final = "and does not say how to sign in: choose the way by name (auth: basic)"


def _cause_of(answer: Answer) -> Cause | None:
    wanted = answer.status in _LOGINS and not offers(answer.values("Proxy-Authenticate"))
    return Cause.NO_SCHEME_OFFERED if wanted else None


class Way(Enum):
    """Who is at the other end of the connection."""

    DIRECT = auto()  # the target
    TUNNEL = auto()  # a proxy, and the target behind its tunnel
    RELAY = auto()  # a proxy that is asked in plain text for the target's answer


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of answers that are not the target's own."""

    fingerprints: tuple[Fingerprint, ...] = ()
    domains: frozenset[str] = frozenset()  # where documented hosts may lead to
    shared: frozenset[str] = frozenset()  # suffixes under which anybody may have a name


_NOTHING: Final = Evidence()
_NO_SIGNS: Final = Signs()


def classify(
    phase: Phase, error: BaseException, way: Way, seen: Evidence = _NOTHING, signs: Signs = _NO_SIGNS
) -> Failure:
    """The failure that an exception in `phase` stands for, after what was `seen`.

    Total: whatever is not known is an internal error.
    """
    cause = specific(error)
    failure = (
        _in_any_phase(phase, cause) or _of_the_proxy(phase, cause, way, seen) or _in_phase(phase, cause, seen, signs)
    )
    if seen.gap and isinstance(cause, TimeoutError):
        message = "no answer within the timeout, but for its end: packets of full size are lost on the way"
        return replace(failure, message=message, cause=Cause.FULL_SIZE_PACKETS)
    return failure


def _in_phase(phase: Phase, cause: BaseException, seen: Evidence, signs: Signs) -> Failure:
    """What means something else in each phase."""
    match phase:
        case Phase.RESOLVE:
            return unresolved(cause, _words(cause), seen)
        case Phase.CONNECT:
            return unconnected(cause, _words(cause), seen)
        case Phase.PROXY if isinstance(cause, ProxyRefused) and (page := recognise(cause.answer, signs.fingerprints)):
            return _refused_with(page, cause)
        case Phase.PROXY:
            reason = _proxy_reason(cause)
        case Phase.TLS:
            return _tls_failure(cause, seen.tls)
        case Phase.PROCESSING:
            reason = _http_reason(cause)
    return Failure(phase, reason, _words(cause), _cause(cause))


def _of_the_proxy(phase: Phase, cause: BaseException, way: Way, seen: Evidence) -> Failure | None:
    """What is the proxy's own fault, and not that of the target or of the resolver; None: nothing of the kind."""
    if way is Way.DIRECT:
        return None
    match phase:
        case Phase.RESOLVE:
            return unresolved_proxy(cause, _words(cause))
        case Phase.CONNECT if isinstance(cause, OSError | NotTls):
            return _no_connection_to_the_proxy(phase, cause, seen)
        case Phase.PROXY | Phase.PROCESSING if _speaks_tls(phase, cause, way):
            return _asked_in_plain_text(phase)
        case Phase.PROCESSING if way is Way.RELAY and _is_breakdown(cause):
            # it would have answered for the target if the target had broken down
            return Failure(phase, Reason.PROXY_ERROR, f"the proxy: {_words(cause)}")
        case _:
            return None


def _cause(error: BaseException) -> Cause | None:
    """What is known of a failure beyond its reason."""
    match error:
        case NotTls():
            return Cause.PLAIN_TEXT
        case NotHttp() if is_tls_record(error.said):
            return Cause.EXPECTS_TLS
        case ProxyRefused():
            return Cause.NOT_A_PROXY if _is_no_proxy(error.answer) else _cause_of(error.answer)
        case TooStrict():
            return Cause.OLD_TLS if error.version in _OLD_TLS else Cause.STRICTER_CLIENT
        case ssl.SSLError() if getattr(error, "reason", None) in _ALERTS_FOR_A_CERTIFICATE:
            return Cause.CLIENT_CERTIFICATE
        case _:
            return None


def judge(target: Target, answer: Answer, signs: Signs, way: Way, *, forgeable: bool) -> Failure | None:
    """What an answer means: None where the target is usable.

    `forgeable`: anybody on the way may have given it, because it came in plain text or under a certificate that is not
    the service's.
    """
    if forgeable and (failure := foreign(target, answer, signs, way)):
        return failure
    usable = answer.status not in REFUSED if target.accept is None else answer.status in target.accept
    if usable:
        return None
    if target.accept is None:
        message = f"status {answer.status}, {REFUSED[answer.status]}"
    else:
        message = f"status {answer.status}, expected {', '.join(map(str, sorted(target.accept)))}"
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and way is Way.RELAY:
        message += _no_scheme(answer)
        return Failure(Phase.PROCESSING, Reason.PROXY_AUTH_REQUIRED, message, _cause_of(answer))
    reason = Reason.HTTP_BLOCKED if answer.status in _BLOCKED else Reason.HTTP_STATUS
    return Failure(Phase.PROCESSING, reason, message)


def foreign(target: Target, answer: Answer, signs: Signs, way: Way) -> Failure | None:
    """Whether somebody else answered in the target's place: a proxy, a filter, a portal."""
    if answer.values("X-Transformed-From"):  # Squid makes an answer of whatever a server says
        return Failure(Phase.PROCESSING, Reason.HTTP_PROTOCOL, "what the server said is not HTTP/1")
    page = recognise(answer, signs.fingerprints)
    if page is not None and page.kind is Kind.EXPECTS_TLS and way is Way.RELAY and not _is_of_proxy(answer):
        return _asked_in_plain_text(Phase.PROCESSING)  # a proxy puts its name beside what it passes on
    if page is not None:
        # An error with a proxy's mark is that of the proxy which was asked; who was not asked redirects, or smiles.
        own = answer.status >= HTTPStatus.BAD_REQUEST or answer.values("X-Squid-Error")
        asked = way is Way.RELAY and own
        reason = Reason.PROXY_DENIED if page.kind is Kind.BLOCK and asked else _PAGE[page.kind]
        message = f"status {answer.status}, answered by {page.product}: {page.meaning}"
        return Failure(Phase.PROCESSING, reason, message, _page_cause(page, answer), page.product)
    return _astray(target, answer, signs)


def _astray(target: Target, answer: Answer, signs: Signs) -> Failure | None:
    """Whether an answer leads to where none for this target should."""
    if target.own and target.scheme == "https":
        return None  # the operator trusts whoever signed for this host, and nobody else named it
    host = leads_astray(target.url, answer, signs.domains, target.leads_to, shared=signs.shared, intranet=target.own)
    if host is None:
        return None
    sent_on = f"status {answer.status}, sent on to {host}, which"
    if target.own:
        message = f"{sent_on} the configuration does not name under leads_to"
        return Failure(Phase.PROCESSING, Reason.HTTP_BLOCKED, message, Cause.OWN_REDIRECT, host)
    message = f"{sent_on} the documents do not name"
    return Failure(Phase.PROCESSING, Reason.HTTP_BLOCKED, message, answered_by=host)


def _refused_with(page: Fingerprint, refusal: ProxyRefused) -> Failure:
    """What a proxy means by the page that it answers CONNECT with."""
    if page.kind is Kind.EXPECTS_TLS:
        return _asked_in_plain_text(Phase.PROXY)
    wanted = refusal.answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    reason = Reason.PROXY_AUTH_REQUIRED if wanted else _REFUSAL[page.kind]
    message = f"{refusal}{_no_scheme(refusal.answer)}, {page.product}: {page.meaning}"
    return Failure(Phase.PROXY, reason, message, _page_cause(page, refusal.answer), page.product)


def _asked_in_plain_text(phase: Phase) -> Failure:
    """What becomes of a proxy that expects TLS."""
    message = "the proxy speaks TLS and not plain HTTP: write https:// in its url"
    return Failure(phase, Reason.PROXY_UNREACHABLE, message, Cause.PROXY_SCHEME)


def _page_cause(page: Fingerprint, answer: Answer) -> Cause | None:
    """That a page is one to log in at, and not the question for credentials that a client can answer; or by whom."""
    if page.kind is Kind.EXPECTS_TLS:
        return Cause.EXPECTS_TLS
    asks = answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    return Cause.LOGIN_PAGE if page.kind is Kind.AUTHENTICATION and not asks else None


def defect(error: Exception, phase: Phase = Phase.RESOLVE) -> Failure:
    """The failure that an exception stands for which no probe, and nothing about it, should have let out. Total."""
    return Failure(phase, Reason.INTERNAL_ERROR, _described(error))


def _described(error: Exception) -> str:
    """What went wrong, and in which line; of a group, which only says that something did, each of its parts."""
    if isinstance(error, ExceptionGroup):
        return ", ".join(map(_described, error.exceptions))
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - whose words fail, too
        words = ""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{where}"


def unknown_root(error: BaseException) -> bool:
    """Whether a verification failed because the chain ends in a root that is not trusted."""
    cause = specific(error)
    return isinstance(cause, ssl.SSLCertVerificationError) and is_of_unknown_root(cause)


def specific(error: BaseException) -> BaseException:
    """The first exception from the outside in that says something; wrappers and groups do not."""
    found = _unwrapped(error)
    return next(filter(_is_informative, found), found[0])


def _unwrapped(error: BaseException) -> list[BaseException]:
    """An exception and its causes, outermost first, without the groups. A chain can be long, or a circle."""
    found: dict[int, BaseException] = {}
    pending = [error]
    while pending:
        outer = pending.pop()
        if isinstance(outer, BaseExceptionGroup):
            pending += reversed(outer.exceptions)
        elif id(outer) not in found:
            found[id(outer)] = outer
            deeper = outer.__cause__ or outer.__context__
            pending += [deeper] if deeper is not None else []
    return list(found.values())


def _is_informative(error: BaseException) -> bool:
    if isinstance(error, OSError):  # a bare OSError without a number is a wrapper; TimeoutError and ours need none
        return error.errno is not None or type(error) is not OSError
    return isinstance(
        error, UnicodeError | ProxyRefused | SignInFailed | SignInBroken | NotHttp | NotTls | Unverifiable
    )


def _in_any_phase(phase: Phase, cause: BaseException) -> Failure | None:
    """What means the same wherever it happens."""
    if isinstance(cause, OSError) and cause.errno in OUR_OWN:
        return Failure(phase, Reason.INTERNAL_ERROR, f"this machine: {cause}")
    if isinstance(cause, SignInFailed):
        return Failure(phase, Reason.PROXY_AUTH_REQUIRED, _words(cause), cause.cause)
    if isinstance(cause, SignInBroken):
        return Failure(phase, Reason.PROXY_ERROR, _words(cause))
    return None


def _proxy_reason(cause: BaseException) -> Reason:
    if isinstance(cause, ProxyRefused):
        if cause.answer.status in _LOGINS:
            return Reason.PROXY_AUTH_REQUIRED
        return Reason.PROXY_DENIED if cause.answer.status in _DENIALS else Reason.PROXY_ERROR
    return Reason.PROXY_ERROR if isinstance(cause, OSError | NotHttp) else Reason.INTERNAL_ERROR


def _tls_failure(cause: BaseException, tls: TlsFacts | None) -> Failure:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return failure_of(verify_code(cause), _words(cause), tls)
    if isinstance(cause, TimeoutError):
        reason = Reason.TLS_TIMEOUT
    else:
        reason = Reason.TLS_HANDSHAKE if isinstance(cause, OSError | NotTls) else Reason.INTERNAL_ERROR
    return Failure(Phase.TLS, reason, _words(cause), _cause(cause))


def _is_no_proxy(answer: Answer) -> bool:
    """Whether what answered CONNECT is rather a web server."""
    no_tunnel = answer.status in _NO_METHOD_OF_OURS or answer.status < HTTPStatus.MULTIPLE_CHOICES
    return no_tunnel and not _is_of_proxy(answer)


def _is_of_proxy(answer: Answer) -> bool:
    """Whether a proxy has put its name on an answer."""
    return any(map(answer.values, _OF_PROXIES))


def _speaks_tls(phase: Phase, error: BaseException, way: Way) -> bool:
    """Whether a proxy that is asked in plain text answers by TLS."""
    to_proxy = phase is Phase.PROXY or way is Way.RELAY
    return to_proxy and isinstance(error, NotHttp) and is_tls_record(error.said)


def _no_connection_to_the_proxy(phase: Phase, error: OSError | NotTls, seen: Evidence) -> Failure:
    """What TCP to the proxy fails of, or TLS to the proxy itself."""
    match error:
        case NotTls():
            message = f"the proxy does not speak TLS: write http:// in its url; it says {quoted(error.said)}"
            return Failure(phase, Reason.PROXY_UNREACHABLE, message, Cause.PROXY_SCHEME)
        case ssl.SSLCertVerificationError():
            message = f"the proxy's own certificate: {_words(error)}"
            return Failure(phase, Reason.PROXY_UNREACHABLE, message, Cause.PROXY_CERTIFICATE)
        case ssl.SSLError():
            return Failure(phase, Reason.PROXY_UNREACHABLE, f"no TLS to the proxy: {_words(error)}", _cause(error))
        case _:
            message = f"no connection to the proxy: {words_of_proxy(_words(error), seen)}"
            return Failure(phase, Reason.PROXY_UNREACHABLE, message)


def _is_breakdown(cause: BaseException) -> bool:
    """Whether the other side hung up or stammered, and was not just slow."""
    return isinstance(cause, OSError | NotHttp) and not isinstance(cause, TimeoutError)


def _http_reason(cause: BaseException) -> Reason:
    if isinstance(cause, ssl.SSLError):
        # In TLS 1.3 the client has finished before the server refuses, for want of a client certificate for example.
        return Reason.TLS_HANDSHAKE
    if isinstance(cause, TimeoutError):
        return Reason.HTTP_TIMEOUT
    if isinstance(cause, OSError):
        return Reason.HTTP_RESET
    return Reason.HTTP_PROTOCOL if isinstance(cause, NotHttp) else Reason.INTERNAL_ERROR


def _words(cause: BaseException) -> str:
    """An exception in words, without the class names and the doubled texts that `str` gives."""
    match cause:
        case ssl.SSLCertVerificationError():
            words = without_source(str(getattr(cause, "verify_message", None) or cause))
        case TooStrict():
            agreed = f"agrees on {cause.version} with {cause.cipher}"
            words = f"{_words(cause.error)}; a client that refuses nothing, and offers no TLS 1.3, {agreed}"
        case ssl.SSLError():
            alert = _ALERT.fullmatch(getattr(cause, "reason", None) or "")
            said = alert.group(1).lower().replace("_", " ") if alert else ""
            words = f"the other side refuses: {said}" if said else without_source(cause.strerror or str(cause))
        case ProxyRefused():
            words = f"{cause}{_no_scheme(cause.answer)}{_phrase(cause.answer)}"
        case TimeoutError() if not str(cause):
            words = NO_ANSWER
        case OSError() if cause.strerror:
            words = cause.strerror
        case Exception() if not isinstance(cause, OSError) and not _is_informative(cause):
            words = _described(cause)  # a defect of ours
        case _:
            words = str(cause) or type(cause).__name__
    return words
