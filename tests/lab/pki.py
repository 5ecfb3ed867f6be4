"""The laboratory's own certificates: authorities, and a leaf for each host, sound or flawed in one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Lifetime = tuple[int, int]  # first and last day, counted from now

SOUND: Final[Lifetime] = (-1, 90)
OVER: Final[Lifetime] = (-91, -1)
TO_COME: Final[Lifetime] = (1, 90)
LONG: Final[Lifetime] = (-365, 3650)


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
class Authority:
    """Who signs certificates, and by whom it is vouched for itself."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    above: Authority | None = None  # None: a root

    @property
    def pem(self) -> bytes:
        """Its certificate, as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def secret(self) -> bytes:
        """Its private key, as PEM."""
        return _secret(self.key)

    @property
    def chain(self) -> bytes:
        """What a server sends after a certificate of this authority: all but the root."""
        return b"" if self.above is None else self.pem + self.above.chain


def authority(name: str, above: Authority | None = None, lifetime: Lifetime = LONG) -> Authority:
    """Make an authority, a root unless another stands above it."""
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = (x509.BasicConstraints(ca=True, path_length=None), _usage(of_authority=True))
    return Authority(key, _certificate(name, key, above, lifetime, extensions), above)


def leaf(
    host: str,
    by: Authority | None,
    lifetime: Lifetime = SOUND,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> bytes:
    """Make a server's certificate for the name `host`, self-signed if by nobody: key, certificate and chain as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = (
        x509.BasicConstraints(ca=False, path_length=None),
        _usage(of_authority=False),
        x509.ExtendedKeyUsage([usage]),
        x509.SubjectAlternativeName([x509.DNSName(host)]),
    )
    certificate = _certificate(host, key, by, lifetime, extensions)
    return _secret(key) + certificate.public_bytes(Encoding.PEM) + (by.chain if by else b"")


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


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: Authority | None,
    lifetime: Lifetime,
    extensions: tuple[x509.ExtensionType, ...],
) -> x509.Certificate:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=lifetime[0]))
        .not_valid_after(now + timedelta(days=lifetime[1]))
        # OpenSSL's strict checks, which Python 3.13 switches on, ask for both identifiers.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension in extensions:
        critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256())


def _usage(*, of_authority: bool) -> x509.KeyUsage:
    """An authority signs certificates, a server signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not of_authority,
        key_cert_sign=of_authority,
        crl_sign=of_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
