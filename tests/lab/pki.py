"""The tests' own certificates: authorities, and a leaf for each host, sound or flawed in one way, or odd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ssl import DER_cert_to_PEM_cert
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Lifetime = tuple[float, float]  # first and last day, counted from now
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Field = bytes  # a part of a certificate in DER, whole: tag, length and content

SOUND: Final[Lifetime] = (-1, 90)
OVER: Final[Lifetime] = (-91, -1)
TO_COME: Final[Lifetime] = (1, 90)
LONG: Final[Lifetime] = (-365, 3650)

ECDSA_WITH_SHA1: Final = bytes.fromhex("300906072a8648ce3d0401")  # an algorithm, whole
_LONGEST_COMMON_NAME: Final = 64
_LONG_FORM: Final = 0x80  # of a length in DER


class Flaw(StrEnum):
    """What can be wrong with a host's certificate, one thing at a time."""

    EXPIRED = "expired"
    EXPIRED_INTERMEDIATE = "expired_intermediate"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    UNKNOWN_ROOT = "unknown_root"
    SELF_SIGNED = "self_signed"
    MISSING_INTERMEDIATE = "missing_intermediate"


@dataclass(frozen=True)
class Shape:
    """What sets a certificate apart from those that everybody makes."""

    key: Key | None = None  # None: a new one, of an elliptic curve
    subject_identifier: bool = True
    authority_identifier: bool = True
    critical: bool = True  # what says whether it is an authority, and what its key is for
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH
    names: Sequence[x509.GeneralName] | None = None  # None: the host
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = ()  # more of them, and whether each is critical
    fields: Callable[[list[Field]], list[Field]] | None = None  # what becomes of its parts before it is signed
    serial: int | None = None
    lacks: tuple[type[x509.ExtensionType], ...] = ()  # kinds of extensions that others have


PLAIN: Final = Shape()


class Signer(Protocol):
    """Whose key signs, and whose name stands under it."""

    @property
    def key(self) -> Key:
        """Its private key."""

    @property
    def certificate(self) -> x509.Certificate:
        """Its own."""


@dataclass(frozen=True)
class Authority:
    """Who signs certificates, and by whom it is vouched for itself."""

    key: Key
    certificate: x509.Certificate
    above: Authority | None = None  # None: a root

    @property
    def pem(self) -> bytes:
        """Its certificate, as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def secret(self) -> bytes:
        """Its private key, as PEM."""
        return secret_of(self.key)

    @property
    def chain(self) -> bytes:
        """What a server sends after a certificate of this authority: all but the root."""
        return b"" if self.above is None else self.pem + self.above.chain


def authority(name: str, above: Authority | None = None, lifetime: Lifetime = LONG, shape: Shape = PLAIN) -> Authority:
    """Make an authority, a root unless another stands above it."""
    key = shape.key or ec.generate_private_key(ec.SECP256R1())
    certificate = signed(name, key, above, lifetime, shape, extensions_of_authority())
    return Authority(key, x509.load_der_x509_certificate(certificate), above)


def leaf(host: str, by: Authority | None, lifetime: Lifetime = SOUND, shape: Shape = PLAIN) -> bytes:
    """Make a server's certificate for the name `host`, self-signed if by nobody: key, certificate and chain as PEM."""
    key = shape.key or ec.generate_private_key(ec.SECP256R1())
    certificate = DER_cert_to_PEM_cert(signed(host, key, by, lifetime, shape, extensions_of_leaf(host, shape)))
    return secret_of(key) + certificate.encode() + (by.chain if by else b"")


def extensions_of_authority() -> tuple[x509.ExtensionType, ...]:
    """What makes it one."""
    return x509.BasicConstraints(ca=True, path_length=None), _usage(of_authority=True)


def extensions_of_leaf(host: str, shape: Shape) -> tuple[x509.ExtensionType, ...]:
    """What makes it a server's."""
    return (
        x509.BasicConstraints(ca=False, path_length=None),
        _usage(of_authority=False),
        x509.ExtendedKeyUsage([shape.usage]),
        x509.SubjectAlternativeName([x509.DNSName(host)] if shape.names is None else shape.names),
    )


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Make an RSA key."""
    return rsa.generate_private_key(65537, bits)


def flawed_leaf(host: str, by: Authority, flaw: Flaw) -> bytes:
    """Make a certificate for `host` that is wrong in this one way: key, certificate and chain as PEM."""
    make: Mapping[Flaw, Callable[[], bytes]] = {
        Flaw.EXPIRED: lambda: leaf(host, by, OVER),
        Flaw.EXPIRED_INTERMEDIATE: lambda: leaf(host, authority("Expired Issuing CA", by.above, OVER)),
        Flaw.NOT_YET_VALID: lambda: leaf(host, by, TO_COME),
        Flaw.WRONG_NAME: lambda: leaf("another.host.example", by),
        Flaw.UNKNOWN_ROOT: lambda: leaf(host, authority("Unknown Issuing CA", authority("Unknown Root CA"))),
        Flaw.SELF_SIGNED: lambda: leaf(host, None),
        Flaw.MISSING_INTERMEDIATE: lambda: leaf(host, by).removesuffix(by.chain),
    }
    return make[flaw]()


def secret_of(key: Key) -> bytes:
    """Write a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signed(
    name: str,
    key: Key,
    by: Signer | None,
    lifetime: Lifetime,
    shape: Shape,
    extensions: tuple[x509.ExtensionType, ...],
) -> bytes:
    """Make a certificate (DER) by somebody, or by itself."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_LONGEST_COMMON_NAME])])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(shape.serial or x509.random_serial_number())
        .not_valid_before(now + timedelta(days=lifetime[0]))
        .not_valid_after(now + timedelta(days=lifetime[1]))
    )
    # OpenSSL's strict checks, which Python 3.13 switches on, ask for both identifiers.
    if shape.subject_identifier:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if shape.authority_identifier:
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(above, critical=False)
    for extension in (one for one in extensions if not isinstance(one, shape.lacks)):
        critical = shape.critical and isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=critical)
    for extension, critical in shape.extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer, hashes.SHA256())
    while _is_short(certificate.signature, signer):
        certificate = builder.sign(signer, hashes.SHA256())
    return (
        certificate.public_bytes(Encoding.DER) if shape.fields is None else _remade(certificate, signer, shape.fields)
    )


def _remade(certificate: x509.Certificate, signer: Key, change: Callable[[list[Field]], list[Field]]) -> bytes:
    """Change its parts, as no library would write them, and sign it anew."""
    before = certificate.tbs_certificate_bytes
    body = der(0x30, *change(fields(before)))
    assert body != before, "nothing was changed"
    named = fields(certificate.public_bytes(Encoding.DER))[1]
    algorithm = ECDSA_WITH_SHA1 if ECDSA_WITH_SHA1 in body else named
    hashed: Any = hashes.SHA1() if algorithm != named else hashes.SHA256()  # noqa: S303 - as old ones are
    signature = _signature(body, signer, hashed)
    while _is_short(signature, signer):
        signature = _signature(body, signer, hashed)
    return der(0x30, body, algorithm, der(0x03, b"\0", signature))


def _signature(body: Field, signer: Key, hashed: Any) -> bytes:
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        return signer.sign(body, ec.ECDSA(hashed))
    return signer.sign(body, padding.PKCS1v15(), hashed)


def _is_short(signature: bytes, signer: Key) -> bool:
    """Whether one of its numbers is shorter than the curve's, as in one of 128: wine's crypt32 takes that for wrong."""
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        return False
    size = (signer.key_size + 7) // 8
    return any((number.bit_length() + 7) // 8 < size for number in decode_dss_signature(signature))


def fields(sequence: Field) -> list[Field]:
    """Give the parts of a sequence in DER."""
    start, end = _content(sequence)
    parts = []
    while start < end:
        _, after = _content(sequence[start:])
        parts.append(sequence[start : start + after])
        start += after
    return parts


def content_of(field: Field) -> bytes:
    """Give the content of a part in DER."""
    start, end = _content(field)
    return field[start:end]


def der(tag: int, *content: bytes) -> Field:
    """Write a part in DER."""
    joined = b"".join(content)
    size = len(joined)
    if size < _LONG_FORM:
        return bytes([tag, size]) + joined
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(length)]) + length + joined


def _content(field: Field) -> tuple[int, int]:
    """Where its content begins and ends."""
    size = field[1]
    if size < _LONG_FORM:
        return 2, 2 + size
    start = 2 + size - _LONG_FORM
    return start, start + int.from_bytes(field[2:start], "big")


def _usage(*, of_authority: bool) -> x509.KeyUsage:
    """An authority signs certificates, a server signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not of_authority,
        key_cert_sign=of_authority,
        crl_sign=of_authority,
        content_commitment=False,
        key_encipherment=not of_authority,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
