"""Sign in to a proxy as Windows networks do: by Basic, NTLM or Negotiate. The words of the dialogue, not its carrier.

The proxy says in `Proxy-Authenticate` what it takes, and gets in `Proxy-Authorization` who asks. NTLM and Negotiate
are pyspnego's work, an optional extra: SSPI on Windows; elsewhere NTLM in Python, and Kerberos by the system's library,
which may ask a KDC.
"""

from __future__ import annotations

import base64
import re
import struct
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from exporter.model.vocabulary import Auth, Proxy
from exporter.probe.errors import SignInBroken, SignInFailed
from exporter.system.extras import NAMES, missing_extra
from exporter.text.secrets import BETWEEN_COMMAS, Hiding

if TYPE_CHECKING:
    from spnego import ContextProxy

Tokens: TypeAlias = Generator[bytes, bytes, None]  # what we say, for what we hear


# What shows least of the password comes first.
_NAMES: Final = {auth: NAMES[auth] for auth in (Auth.NEGOTIATE, Auth.NTLM, Auth.BASIC)}
_WINDOWS: Final = sys.platform == "win32"
_WITHOUT_USERNAME: Final = frozenset({Auth.NEGOTIATE, Auth.NTLM} if _WINDOWS else {Auth.NEGOTIATE})
_MOST_TOKENS: Final = 4  # NTLM takes two; Negotiate one, or three where it comes down to NTLM


# ---------------------------------------------------------------- what the proxy says

_TOKEN: Final = r"[\w!#$%&'*+.^`|~-]+"  # noqa: S105 - the token of RFC 9110, 5.6.2
_PARAMETER: Final = re.compile(rf"{_TOKEN}[ \t]*=", re.ASCII)
_CHALLENGE: Final = re.compile(rf"({_TOKEN})(?:[ \t]+([\w.~+/-]+=*)$|[ \t]|$)", re.ASCII)


def offers(challenges: Iterable[str]) -> dict[str, str]:
    """The schemes in the values of `Proxy-Authenticate`, in lower case, each with its token or "". Total.

    A value may hold several challenges, and parameters of challenges: RFC 9110, 11.6.1.
    """
    found: dict[str, str] = {}
    for part in (part.strip() for value in challenges for part in BETWEEN_COMMAS.findall(value)):
        if _PARAMETER.match(part) is None and (challenge := _CHALLENGE.match(part)):
            scheme = challenge[1].lower()
            found[scheme] = found.get(scheme) or challenge[2] or ""
    return found


# ---------------------------------------------------------------- what is sent to it


class Account:
    r"""Who signs in to a proxy. It lives as long as the proxy does, and keeps the tickets it got with its password.

    The username may be `DOMAIN\user` or `user@REALM`. Without one, Negotiate signs in as what the process runs as: the
    Windows account, or whom the Kerberos cache (KRB5CCNAME) or the keytab (KRB5_CLIENT_KTNAME) is for.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.auth = proxy.auth
        self._proxy = proxy
        self._host = urlsplit(proxy.url).hostname or ""
        self._username = proxy.username
        self._password = proxy.password
        self._started: dict[str, ContextProxy] = {}  # by protocol
        self._hide = Hiding(proxy.username or "", proxy.password or "")

    def belongs_to(self, proxy: Proxy) -> bool:
        """Whether a proxy asks at the same URL for the same account, by the same way to sign in."""
        ours = self._proxy
        return (ours.url, ours.username, ours.password, ours.auth) == (
            proxy.url,
            proxy.username,
            proxy.password,
            proxy.auth,
        )

    def dialogue(self) -> Dialogue:
        """The dialogue for one connection."""
        return Dialogue(self)

    def conceal(self, text: str) -> str:
        """What a proxy says, less the password: some give it back, as it is or as it was sent to them."""
        return self._hide(text)

    def concealing(self) -> Callable[[str], str]:
        """The same for everything that was seen in one probe, for which together there is an end of looking."""
        return self._hide.altogether()

    def tokens(self, scheme: Auth) -> Tokens:
        """What a scheme has to say, one token after another. Raises whatever the libraries beneath do."""
        if self._username is None and scheme not in _WITHOUT_USERNAME:
            raise SignInFailed(f"{_NAMES[scheme]} needs a username")
        if lacking := missing_extra(scheme):
            raise SignInFailed(lacking)
        match scheme:
            case Auth.BASIC:
                yield f"{self._username}:{self._password or ''}".encode()
            case Auth.NEGOTIATE if not _WINDOWS:
                _, token = self._start("kerberos", self._username and _principal(self._username))
                yield _spnego(token or b"")
            case _:
                yield from _rest(*self._start(scheme, self._username))

    def _start(self, protocol: str, username: str | None) -> tuple[ContextProxy, bytes | None]:
        """A context and its first token. It has the tickets of the one before for as long as they hold."""
        import spnego  # noqa: PLC0415 - an optional extra

        if protocol in self._started:
            with suppress(Exception):  # they hold no longer; what is wrong shows below
                context = self._started[protocol].new_context()
                return context, context.step()
        context = spnego.client(username, self._password, hostname=self._host, service="HTTP", protocol=protocol)
        token = context.step()
        self._started[protocol] = context
        return context, token


class Dialogue:
    """What is said to a proxy on one connection.

    NTLM signs in the connection, not the request: every step, and the request itself, must travel on the same one. Only
    the first offer may be answered on another. What Negotiate says may need a KDC and its time: call from a thread.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._talk: tuple[Auth, Tokens] | None = None
        self._said = 0

    @property
    def shown(self) -> bool:
        """Whether what was said puts the password to the test: NTLM's first message does not yet."""
        if self._talk is None:
            return False
        scheme, _ = self._talk
        return self._said > 1 or scheme is Auth.BASIC or (scheme is Auth.NEGOTIATE and not _WINDOWS)

    @property
    def bound(self) -> bool:
        """Whether the dialogue can only go on, or be over, on the connection where it began."""
        return self._said > 1

    def awaits(self, challenges: Iterable[str]) -> bool:
        """Whether these `Proxy-Authenticate` hold the challenge that what was said asked for."""
        return self._talk is not None and not self.shown and bool(offers(challenges).get(self._talk[0]))

    def opening(self) -> str | None:
        """The value of `Proxy-Authorization` to begin with; None: none, for the proxy has to ask. Raises SignInFailed.

        A scheme that was chosen by name speaks at once, which saves a round trip.
        """
        if self._account.auth in {Auth.AUTO, Auth.NONE}:
            return None
        return self._begin(self._account.auth)

    def answer(self, challenges: Iterable[str], *, connected: bool = True) -> str | None:
        """The value for the next request after a 407 with these `Proxy-Authenticate`; None: its 407 is the last word.

        `connected`: the connection lives on. Raises SignInFailed when the fault is not the proxy's refusal, and
        SignInBroken where the dialogue would go on, but cannot on another connection.
        """
        offered = offers(challenges)
        if self._talk is None:
            return self._choose(offered)
        scheme, tokens = self._talk
        if offered and scheme not in offered:
            raise SignInFailed(
                f"the proxy does not take {_NAMES[scheme]}, but {self._account.conceal(', '.join(offered))}"
            )
        heard = offered.get(scheme)
        value = _say(scheme, lambda: tokens.send(base64.b64decode(heard, validate=True))) if heard else None
        if value is not None and not connected:
            raise SignInBroken("the proxy closed the connection while signing in")
        return self._count(value)

    def _choose(self, offered: Mapping[str, str]) -> str | None:
        if self._account.auth is Auth.NONE or not offered:
            return None
        failures = []
        for scheme in _NAMES:
            if scheme in offered:
                try:
                    return self._begin(scheme)
                except SignInFailed as failure:
                    if failure.refused:  # another try would only bring the account nearer to being locked
                        raise
                    failures.append(str(failure))
        wanted = self._account.conceal(", ".join(offered))
        raise SignInFailed("; ".join(failures) or f"the proxy wants {wanted}, which is not known here")

    def _begin(self, scheme: Auth) -> str | None:
        tokens = self._account.tokens(scheme)
        value = _say(scheme, lambda: next(tokens))
        self._talk = scheme, tokens
        return self._count(value)

    def _count(self, value: str | None) -> str | None:
        self._said += value is not None
        return value


# ---------------------------------------------------------------- what the libraries say

_REFUSALS: Final[Mapping[int, str]] = MappingProxyType(  # krb5.h
    {
        -1765328366: "the account is locked or disabled",  # KRB5KDC_ERR_CLIENT_REVOKED
        -1765328361: "the password has expired",  # KRB5KDC_ERR_KEY_EXP
        -1765328360: "the password is wrong",  # KRB5KDC_ERR_PREAUTH_FAILED
    }
)


def _say(scheme: Auth, step: Callable[[], bytes]) -> str | None:
    try:
        token = step()
    except StopIteration:
        return None
    except SignInFailed:
        raise
    except Exception as error:  # pyspnego lets through what its parsers raise, and a proxy may send anything
        native = getattr(error, "base_error", None) or error
        refusal = _REFUSALS.get(getattr(native, "err_code", 0))
        words = f"{refusal} ({_words(native)})" if refusal else _words(native)
        raise SignInFailed(f"{_NAMES[scheme]}: {words}", refused=refusal is not None) from error
    return f"{_NAMES[scheme]} {base64.b64encode(token).decode()}"


def _words(native: Any) -> str:  # noqa: ANN401 - the libraries' exceptions have nothing in common
    """What a library says, without its class names, numbers and doubled texts."""
    if hasattr(native, "get_all_statuses"):  # GSSAPI; the minor status is Kerberos' own
        found = native.get_all_statuses(native.min_code, False) if native.min_code else []
        return " ".join(found or native.get_all_statuses(native.maj_code, True))
    if hasattr(native, "err_code"):  # krb5
        return str(native).removesuffix(f" {native.err_code}")
    if isinstance(native, OSError) and native.strerror:  # SSPI
        return native.strerror
    if isinstance(native, ValueError | LookupError | struct.error):
        return f"what was said makes no sense ({type(native).__name__}: {native})"
    return str(native) or type(native).__name__


# ---------------------------------------------------------------- the tokens


def _rest(context: ContextProxy, token: bytes | None) -> Tokens:
    """The tokens of a context from this one on."""
    for _ in range(_MOST_TOKENS):
        if not token:
            return
        heard = yield token
        token = None if context.complete else context.step(heard)


def _principal(username: str) -> str:
    r"""A Windows user name as Kerberos writes it. The realm of `DOMAIN\user`, a NetBIOS name, is left to krb5.conf."""
    if "\\" in username:
        domain, _, user = username.partition("\\")
        return f"{user}@{domain.upper()}" if "." in domain else user
    user, at, realm = username.rpartition("@")
    return f"{user}@{realm.upper()}" if at else realm


_KERBEROS: Final = bytes.fromhex("06092a864886f712010202")  # 1.2.840.113554.1.2.2, in DER
_SPNEGO: Final = bytes.fromhex("06062b0601050502")  # 1.3.6.1.5.5.2


def _spnego(token: bytes) -> bytes:
    """The first token of Negotiate (NegTokenInit, RFC 4178, 4.2.1): Kerberos, and nothing else, is offered."""
    mechanisms = _der(0xA0, _der(0x30, _KERBEROS))
    return _der(0x60, _SPNEGO + _der(0xA0, _der(0x30, mechanisms + _der(0xA2, _der(0x04, token)))))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:  # noqa: PLR2004 - the short form of X.690, 8.1.3.4
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content
