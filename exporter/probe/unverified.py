"""Name why a chain does not verify: (verify code, its words, what the chain shows) -> Failure. Pure."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Cause, Certificate, Failure, Phase, Reason, Root, TlsFacts

# OpenSSL's verification errors (x509_vfy.h), and those of Windows' chain policy (winerror.h), which truststore passes
# on.
WINDOWS_EXPIRED: Final = 0x800B0101  # CERT_E_EXPIRED, which is also not yet valid
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = frozenset({_NOT_YET_VALID, 10, WINDOWS_EXPIRED})
_MISMATCH: Final = frozenset({62, 64, 0x800B010F})  # host name, IP address, CERT_E_CN_NO_MATCH
_SELF_SIGNED_ROOT: Final = frozenset({18, 19, 0x800B0109})  # CERT_E_UNTRUSTEDROOT
_UNKNOWN_ISSUER: Final = frozenset({2, 20, 21, 0x800B010A})  # CERT_E_CHAINING

_CAUSES: Final[Mapping[int, Cause]] = MappingProxyType(
    {
        **dict.fromkeys((66, 67, 68), Cause.WEAK_CERTIFICATE),
        # purpose, key usages, CERT_E_WRONG_USAGE, CERT_E_PURPOSE
        **dict.fromkeys((26, 32, 39, 0x800B0110, 0x800B0106), Cause.WRONG_PURPOSE),
        **dict.fromkeys((47, 48, 49, 51, 52, 53, 0x800B0114), Cause.NAME_CONSTRAINTS),  # CERT_E_INVALID_NAME
        **dict.fromkeys((23, 0x800B010C, 0x80092010), Cause.REVOKED),  # CERT_E_REVOKED, CRYPT_E_REVOKED
    }
)
# What Windows calls its codes depends on the language that it speaks.
_WORDS: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x800B0101: "certificate has expired",
        0x800B0109: "the chain ends in a root that Windows does not trust",
        0x800B010A: "Windows finds no path to a root that it trusts",
        0x800B010C: "certificate is revoked",
        0x800B010F: "certificate is not valid for this name",
        0x800B0110: "certificate is not for this use",
        0x800B0114: "a name in the certificate is not permitted",
        0x80092010: "certificate is revoked",
        0x80092012: "Windows could not ask whether the certificate is revoked",
        0x80092013: "Windows could not ask whether the certificate is revoked: the list is offline",
        0x80096004: "the signature of a certificate is wrong",
    }
)
NOT_YET_VALID: Final = (
    _NOT_YET_VALID,
    "certificate is not yet valid",
)  # OpenSSL's code and words; Windows has none of its own
_LIBRARY: Final = re.compile(r"^\[[^]]*\]\s*|\s*\(_ssl\.c:\d+\)$")  # "[SSL: NAME]", and a line of Python's source


def without_source(words: str) -> str:
    """What OpenSSL says, without the names that Python's source puts before and behind it."""
    return _LIBRARY.sub("", words)


def verify_code(error: ssl.SSLCertVerificationError) -> int:
    """OpenSSL's code, or that of Windows, which may come signed."""
    return int(getattr(error, "verify_code", 0)) & 0xFFFFFFFF


def is_of_unknown_root(error: ssl.SSLCertVerificationError) -> bool:
    """Whether a chain was seen up to its root, and that is not trusted."""
    return verify_code(error) in _SELF_SIGNED_ROOT


def failure_of(code: int, words: str, tls: TlsFacts | None) -> Failure:
    """What a verification that failed stands for. The message is the library's words and what they are about."""
    tls = tls or TlsFacts()
    words = f"{_WORDS[code]} (0x{code:08x})" if code in _WORDS else without_source(words)
    if code in _EXPIRED:
        return _of_time(code, words, tls)
    if code in _MISMATCH:
        return Failure(Phase.TLS, Reason.TLS_HOSTNAME_MISMATCH, words)
    if code in _SELF_SIGNED_ROOT | _UNKNOWN_ISSUER:
        return _of_issuer(words, tls)
    cause = _CAUSES.get(code, Cause.UNFIT_CERTIFICATE)
    if cause is Cause.WEAK_CERTIFICATE:
        weak = next((one for one in tls.path if one.weak), None)
        words = f"{words}: {weak.subject}, {weak.weak}" if weak else words
    return Failure(Phase.TLS, Reason.TLS_UNTRUSTED, words, cause)


def _of_time(code: int, words: str, tls: TlsFacts) -> Failure:
    """The certificate whose time it is not is the one that begins last, or ends first."""
    readable = [one for one in tls.path or tls.chain if one.not_after is not None]
    if not readable:
        return Failure(Phase.TLS, Reason.TLS_EXPIRED, words, Cause.NOT_YET_VALID if code == _NOT_YET_VALID else None)
    if code == _NOT_YET_VALID:
        late = max(readable, key=_begins)
        return Failure(Phase.TLS, Reason.TLS_EXPIRED, f"{words}: {_place(late, tls)}", Cause.NOT_YET_VALID)
    early = min(readable, key=_ends)
    outdated = tls.chain and not tls.was_sent(early)
    cause = Cause.OUTDATED_ROOTS if outdated else None
    return Failure(Phase.TLS, Reason.TLS_EXPIRED, f"{words}: {_place(early, tls)}", cause)


def _begins(certificate: Certificate) -> float:
    return certificate.not_before or 0.0


def _ends(certificate: Certificate) -> float:
    return certificate.not_after or 0.0


def _place(certificate: Certificate, tls: TlsFacts) -> str:
    """Which certificate it is, and where in the chain."""
    name = certificate.subject or "a certificate without a name"
    if not tls.chain or certificate.sha256 == tls.chain[0].sha256:
        return name
    depth = f" at depth {tls.path.index(certificate)}" if certificate in tls.path else ""
    if tls.was_sent(certificate):
        return f"{name},{depth or ' further up'}"
    return f"{name},{depth}, from this machine's trust and not sent by the server"


def _of_issuer(words: str, tls: TlsFacts) -> Failure:
    """The root or an issuer on the way to it is not known here."""
    if tls.leads_to is Root.MICROSOFT_PRODUCT or (tls.leads_to is Root.PUBLIC and tls.missing is None):
        top = tls.path[-1]
        words = f"{words}: {top.issuer or 'its root'} is not among this machine's roots"
        return Failure(Phase.TLS, Reason.TLS_UNTRUSTED, words, Cause.MISSING_ROOT)
    if tls.missing is None:
        return Failure(Phase.TLS, Reason.TLS_UNTRUSTED, words)
    url = tls.path[-1].ca_issuers if tls.path else None
    fetched = f", to be fetched at {url}" if url else ""
    words = f"{words}: {tls.missing or 'an issuer without a name'} was not sent{fetched}"
    return Failure(Phase.TLS, Reason.TLS_UNTRUSTED, words, Cause.MISSING_INTERMEDIATE)
