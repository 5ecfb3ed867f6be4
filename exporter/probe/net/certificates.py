"""Read the chain that a server sent and the path that its verification took: DER certificates -> facts. Pure.

A stranger made both, so their number, their size and the signatures that are checked are limited, and whatever the
library raises is contained. It takes 9 MB and 50 ms, so this is imported when the first chain is to be read.
"""

from __future__ import annotations

import hashlib
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from itertools import islice
from typing import Final, TypeVar

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID

from exporter.model.authorities import Authorities
from exporter.model.vocabulary import Certificate, Root, TlsFacts
from exporter.text.printable import escaped

T = TypeVar("T")
Chain = Sequence[x509.Certificate]
Roots = Mapping[x509.Name, Sequence[x509.Certificate]]  # by subject

MOST: Final = 10  # certificates that are read of a chain, and of a path; four or five are usual
LARGEST: Final = 32 * 1024  # bytes of one; that of a host with hundreds of names has eight
MOST_CHECKS: Final = 48  # signatures that are checked for one chain: more than ten certificates of one name ask for
KEPT: Final = 256  # chains whose facts are remembered, of up to about 30 KB each

_PEM: Final = re.compile("-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_NOT_ISSUED: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)  # another name, key or signature
_TEXT: Final = 300  # characters of a name that are kept; a certificate may hold 100 KiB of it
_URL: Final = 300  # the same of a URL, which is of no use when it is cut
_RSA_BITS: Final = 2048  # the least that OpenSSL's security level 2 takes; of SHA-1 and MD5 it takes nothing
_RSA_BITS_AT_MOST: Final = 8192
_EXPONENT_BITS: Final = 32  # authorities use 65537; one as long as the key makes a check hundreds of times as slow
_PATHS: Final = 16  # paths that are compared
_OLD_HASHES: Final = frozenset({"sha1", "md5"})


@dataclass(frozen=True, slots=True)
class Shown:
    """What a handshake showed: certificates in DER, the server's own first.

    `path`: the one that the verification took, as far as it came. Where the system does not give it, it is built of
    what was presented and of the roots that are `known`; of several, the one that lasts longest. `authorities`: whose
    names and keys are known beside these and the public roots.
    """

    presented: tuple[bytes, ...]
    protocol: str | None = None
    path: tuple[bytes, ...] = ()
    verified: bool = False
    known: tuple[bytes, ...] = ()
    authorities: Authorities = field(default_factory=Authorities)

    @property
    def key(self) -> bytes:
        """A hash of it."""
        digest = hashlib.sha256(f"{self.protocol} {self.verified} {hash((self.known, self.authorities))}".encode())
        for chain in (self.presented, self.path):
            digest.update(b"%d " % len(chain))
            for der in chain:
                digest.update(b"%d " % len(der))
                digest.update(der)
        return digest.digest()


def facts(shown: Shown) -> TlsFacts:
    """What a chain says of itself. Never raises.

    A chain may be made to take long, so call it from a thread; `remembered` gives at once what was read before.
    """
    found = remembered(shown)
    if found is None:
        with _one_at_a_time:
            read = _contained(partial(_facts, shown))
        found = _remembered.put(shown.key, read or _unreadable(shown))
    return found


def _unreadable(shown: Shown) -> TlsFacts:
    root = Root.PRIVATE if shown.verified else None
    unread = len({*shown.presented, *shown.path})
    return TlsFacts(shown.protocol, leads_to=root, verified=shown.verified, unread=unread)


def remembered(shown: Shown) -> TlsFacts | None:
    """What `facts` gave of late for the same; None where it has to be read."""
    return _remembered.get(shown.key)


def forget() -> None:
    """Read every chain anew, and the public roots."""
    _remembered.clear()
    public_roots.cache_clear()
    public_by_name.cache_clear()


class _Remembered:
    """The facts of the last chains, by a hash of each: what strangers send is not kept itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[bytes, TlsFacts] = {}  # the one that was asked for last at the end

    def get(self, key: bytes) -> TlsFacts | None:
        with self._lock:
            found = self._found.pop(key, None)
            if found is not None:
                self._found[key] = found
            return found

    def put(self, key: bytes, facts: TlsFacts) -> TlsFacts:
        with self._lock:
            self._found[key] = facts
            if len(self._found) > KEPT:
                del self._found[next(iter(self._found))]
        return facts

    def clear(self) -> None:
        with self._lock:
            self._found.clear()


_remembered: Final = _Remembered()
_one_at_a_time: Final = threading.Lock()  # filters of warnings are the whole process's


def _facts(shown: Shown) -> TlsFacts:
    presented, path = shown.presented, shown.path
    with warnings.catch_warnings():
        # Of a serial number that the standard forbids, for example; cryptography will refuse it some day.
        warnings.simplefilter("ignore")
        shortened = path if len(path) <= MOST else (*path[: MOST - 1], path[-1])
        read = {der: _read(der) for der in dict.fromkeys((*presented[:MOST], *shortened))}
        checks = _Checks()
        sent = tuple(read[der] for der in presented[:MOST])
        known = _known(shown.known) if shown.known else {}
        taken = tuple(read[der] for der in shortened) or _built(sent, known, checks)
        left_out = len(presented) - len(sent) + len(path) - len(shortened)
        unread = left_out + sum(one.parsed is None for one in read.values())
        if not taken:
            return TlsFacts(shown.protocol, unread=unread)
        # One that was built and stops below a root is not what the system took, which fetches what was not sent.
        whole = bool(path) or _self_signed([taken[-1].parsed]) is not None
        if shown.verified:
            root, missing = _verified(taken, checks, shown.authorities, whole=whole)
        else:
            root, missing = _not_verified(taken, sent, checks, shown.authorities)
    chain, way = (tuple(one.shown for one in ones) for ones in (sent, taken))
    return TlsFacts(shown.protocol, chain, root, way, shown.verified, missing, unread)


# ---------------------------------------------------------------- one certificate


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A certificate as it is shown, and as it can be reckoned with; None where its names cannot be read."""

    shown: Certificate
    parsed: x509.Certificate | None


def _read(der: bytes) -> _Read:
    """Read one certificate. Never raises: what its library refuses is shown by size and hash, the rest is kept."""
    sha256, size = hashlib.sha256(der).hexdigest(), len(der)
    parsed = _contained(lambda: x509.load_der_x509_certificate(der)) if size <= LARGEST else None
    if parsed is None:
        return _Read(Certificate(None, None, None, None, sha256, size), None)
    subject, issuer = _contained(partial(_subject, parsed)), _contained(partial(_issuer, parsed))
    shown = Certificate(
        subject,
        issuer,
        _contained(partial(_begins, parsed)),
        _contained(partial(_ends, parsed)),
        sha256,
        size,
        _contained(partial(_weakness, parsed)),
        _contained(partial(_ca_issuers, parsed)),
    )
    return _Read(shown, None if subject is None or issuer is None else parsed)


def _contained(read: Callable[[], T]) -> T | None:
    """What can be read of what a stranger made; None where the library stumbles over it, in whatever way."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - it raises whatever its parsers do: ValueError, InvalidVersion, TypeError ...
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what its part in Rust gives up with is no Exception
            raise
        return None


def _subject(certificate: x509.Certificate) -> str:
    return _text(certificate.subject)


def _issuer(certificate: x509.Certificate) -> str:
    return _text(certificate.issuer)


def _begins(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def _ends(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _text(name: x509.Name) -> str:
    """A name, its beginning at least, as something that prints wherever it is shown."""
    text = name.rfc4514_string()
    shown = escaped(text[:_TEXT])
    return shown if len(shown) <= _TEXT and len(text) <= _TEXT else f"{shown[:_TEXT]}..."


def _weakness(certificate: x509.Certificate) -> str | None:
    hashed = certificate.signature_hash_algorithm
    if hashed is not None and hashed.name in _OLD_HASHES and certificate.subject != certificate.issuer:
        return f"signed with {hashed.name.upper().replace('SHA1', 'SHA-1')}"
    key = certificate.public_key()
    return (
        f"an RSA key of {key.key_size} bits" if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS else None
    )


def _ca_issuers(certificate: x509.Certificate) -> str | None:
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    found = (
        str(one.access_location.value)
        for one in access
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )
    url = next(found, None)
    return escaped(url) if url is not None and len(url) <= _URL else None


# ---------------------------------------------------------------- who signed whom


class _Checks:
    """Checks of signatures for one chain: so many at most, and by no key that makes one long."""

    def __init__(self) -> None:
        self._left = MOST_CHECKS
        self._known: dict[tuple[int, int], bool] = {}  # by the objects, which outlive this

    def issued(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        """Whether a certificate is signed by the key of an issuer of that name; not, where that would take long."""
        if certificate.issuer != issuer.subject:
            return False
        pair = id(certificate), id(issuer)
        if pair not in self._known:
            self._known[pair] = self._left > 0 and _is_usual(issuer) and self._check(certificate, issuer)
        return self._known[pair]

    def _check(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        self._left -= 1
        try:
            certificate.verify_directly_issued_by(issuer)
        except _NOT_ISSUED:
            return False
        return True


def _is_usual(issuer: x509.Certificate) -> bool:
    """Whether its key is one by which authorities sign."""
    try:
        key = issuer.public_key()
    except _NOT_ISSUED:
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size <= _RSA_BITS_AT_MOST and key.public_numbers().e.bit_length() <= _EXPONENT_BITS
    return isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether it says that it may issue others: who has any certificate can else sign by its key, in its name."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1 and certificate.subject == certificate.issuer
    except Exception:  # noqa: BLE001 - as above
        return False


@dataclass(frozen=True, slots=True)
class _Reached:
    """A certificate above the first one, and whether all on the way to it may issue others."""

    certificate: x509.Certificate
    sound: bool


def _above(chain: Sequence[x509.Certificate | None], checks: _Checks) -> list[_Reached]:
    """The first certificate and every one that can be reached from it by signature; none where it cannot be read."""
    reached, at = [_Reached(one, sound=True) for one in chain[:1] if one is not None], 0
    remaining = [one for one in dict.fromkeys(chain[1:]) if one is not None]
    while at < len(reached):
        child = reached[at]
        issuers = [candidate for candidate in remaining if checks.issued(child.certificate, candidate)]
        remaining = [candidate for candidate in remaining if candidate not in issuers]
        reached += [_Reached(issuer, child.sound and _is_authority(issuer)) for issuer in issuers]
        at += 1
    return reached


# ---------------------------------------------------------------- whose root it is


def _verified(
    taken: Sequence[_Read], checks: _Checks, authorities: Authorities, *, whole: bool
) -> tuple[Root | None, str | None]:
    """Whose root the path leads to that verified, and the name of the issuer that it lacks.

    Nothing but the path counts: whatever else was sent may have been sent to mislead. What cannot be read there is no
    public root, of which all can be read. `whole`: it is the path that the system took, and not just a part of it.
    """
    if any(one.parsed is not None and _is_below(one.parsed, public_by_name(), checks) for one in taken):
        return Root.PUBLIC, None
    if not whole:
        return None, taken[-1].shown.issuer
    top = taken[-1].parsed
    return Root.MICROSOFT_PRODUCT if top is not None and _is_product(top, authorities) else Root.PRIVATE, None


def _not_verified(
    taken: Sequence[_Read], sent: Sequence[_Read], checks: _Checks, authorities: Authorities
) -> tuple[Root | None, str | None]:
    """Whose root a path leads to that did not verify, and the name of the issuer that it lacks.

    By signature. Where the path stops at an issuer that is not at hand, nothing is proved: the names of Microsoft's
    and of public authorities are believed then, for what such a chain opens is nothing, and others prove nothing.
    """
    above = _above([one.parsed for one in (*taken, *sent)], checks)
    if any(one.sound and _is_below(one.certificate, public_by_name(), checks) for one in above):
        return Root.PUBLIC, None
    certificates = [one.certificate for one in above]
    end = _self_signed(certificates or [taken[-1].parsed])
    if end is not None:
        return Root.MICROSOFT_PRODUCT if _is_product(end, authorities) else Root.PRIVATE, None
    named = {name for certificate in certificates for name in _common_names(certificate.issuer)}
    missing = taken[-1].shown.issuer
    if named & authorities.product_issuers:
        return Root.MICROSOFT_PRODUCT, missing
    return Root.PUBLIC if any(map(authorities.is_public, named)) else None, missing


def _is_product(root: x509.Certificate, authorities: Authorities) -> bool:
    """Whether it is one of Microsoft's product roots, by its key."""
    try:
        key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _NOT_ISSUED:
        return False
    return hashlib.sha256(key).hexdigest() in authorities.product_keys


def _common_names(name: x509.Name) -> Iterator[str]:
    return (str(attribute.value) for attribute in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME))


def _self_signed(certificates: Iterable[x509.Certificate | None]) -> x509.Certificate | None:
    return next((one for one in certificates if one is not None and one.subject == one.issuer), None)


def _is_below(certificate: x509.Certificate, roots: Roots, checks: _Checks) -> bool:
    """Whether it is one of the roots, or issued by one."""
    return any(certificate == root or checks.issued(certificate, root) for root in roots.get(certificate.issuer, ()))


def _by_name(roots: Iterable[x509.Certificate]) -> Roots:
    by_name: dict[x509.Name, list[x509.Certificate]] = {}
    for root in roots:
        by_name.setdefault(root.subject, []).append(root)
    return by_name


@cache
def public_by_name() -> Roots:
    """The same by their names."""
    return _by_name(public_roots())


@cache
def public_roots() -> tuple[x509.Certificate, ...]:
    """Mozilla's list: what browsers accept, whatever an organisation added to its own machines."""
    return tuple(_readable(_PEM.findall(certifi.contents())))


def _readable(certificates: Iterable[str]) -> Iterator[x509.Certificate]:
    # An old root has a serial number that the standard forbids; cryptography warns of it and will refuse it some day.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for pem in certificates:
            with suppress(ValueError):
                yield x509.load_pem_x509_certificate(pem.encode())


# ---------------------------------------------------------------- a path, where the system does not give its own

_Candidates = Mapping[x509.Name, Sequence[_Read]]  # by subject


@lru_cache(maxsize=2)
def _known(roots: tuple[bytes, ...]) -> _Candidates:
    """The roots that this machine trusts."""
    return _candidates(map(_read, roots))


def _candidates(certificates: Iterable[_Read]) -> _Candidates:
    by_name: dict[x509.Name, list[_Read]] = {}
    for one in certificates:
        if one.parsed is not None and _is_authority(one.parsed):
            by_name.setdefault(one.parsed.subject, []).append(one)
    return by_name


def _built(sent: Sequence[_Read], known: _Candidates, checks: _Checks) -> tuple[_Read, ...]:
    """The path from the first certificate that comes to a root; of several the one that lasts longest."""
    if not sent:
        return ()
    candidates = (_candidates(sent[1:]), known)
    return max(islice(_paths((sent[0],), candidates, checks), _PATHS), key=_worth)


def _worth(path: Sequence[_Read]) -> tuple[bool, float]:
    ends = (one.shown.not_after for one in path if one.shown.not_after is not None)
    return _self_signed([path[-1].parsed]) is not None, min(ends, default=-math.inf)


def _paths(path: tuple[_Read, ...], candidates: Sequence[_Candidates], checks: _Checks) -> Iterator[tuple[_Read, ...]]:
    last = path[-1].parsed
    issuers: list[_Read] = []
    if last is not None and last.subject != last.issuer and len(path) < MOST:
        hashes = {one.shown.sha256 for one in path}
        named = (one for found in candidates for one in found.get(last.issuer, ()))
        issuers = [
            one for one in named if one.shown.sha256 not in hashes and one.parsed and checks.issued(last, one.parsed)
        ]
    if not issuers:
        yield path
    for issuer in issuers:
        yield from _paths((*path, issuer), candidates, checks)
