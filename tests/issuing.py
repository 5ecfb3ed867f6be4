"""Certificates of any kind, sound or odd, for servers of the tests to present."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

from exporter.model.vocabulary import TlsSettings
from exporter.probe.net import verifying

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Edit: TypeAlias = Callable[[bytes], bytes]  # of what is signed, in DER

ECDSA_WITH_SHA1: Final = bytes.fromhex("06072a8648ce3d0401")
LONG: Final = (-400.0, 4000.0)  # days from now
OVER: Final = (-90.0, -20.0)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    key: Key
    subject: x509.Name
    der: bytes

    @property
    def pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.der).encode()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def secret(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """The same for every certificate of a size: they take long to make."""
    return rsa.generate_private_key(65537, bits)


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def issue(
    common_name: str,
    by: Issued | None = None,
    *,
    ca: bool = False,
    days: tuple[float, float] = (-1, 90),
    key: Key | None = None,
    names: Sequence[str] | None = None,
    usage: x509.ObjectIdentifier = Usage.SERVER_AUTH,
    serial: int | None = None,
    aia: str | None = None,
    lacks: Sequence[str] = (),
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    edit: Edit | None = None,
) -> Issued:
    """A certificate by an authority, else by itself.

    `lacks`: what strict readings of RFC 5280 ask for and this one has not: `critical` (of the basic constraints),
    `basic constraints`, `subject key identifier`, `authority key identifier`, `key usage`.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    now, subject, signer = datetime.now(UTC), named(common_name), by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    extensions: dict[str, tuple[x509.ExtensionType, bool]] = {
        "basic constraints": (x509.BasicConstraints(ca, None), "critical" not in lacks),
        "subject key identifier": (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        "authority key identifier": (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        "key usage": (_usage(of_authority=ca), True),
    }
    if not ca:
        extensions["names"] = (x509.SubjectAlternativeName(list(map(x509.DNSName, names or [common_name]))), False)
        extensions["purpose"] = (x509.ExtendedKeyUsage([usage]), False)
    if aia:
        place = x509.AccessDescription(
            x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(aia)
        )
        extensions["access"] = (x509.AuthorityInformationAccess([place]), False)
    for extension, critical in (*(found for what, found in extensions.items() if what not in lacks), *more):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer, hashes.SHA256())
    der = certificate.public_bytes(Encoding.DER)
    return Issued(key, subject, der if edit is None else signed_again(certificate, signer, edit))


def _usage(*, of_authority: bool) -> x509.KeyUsage:
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


def signed_again(certificate: x509.Certificate, signer: Key, edit: Edit) -> bytes:
    """The same certificate with something in it changed, and a signature that fits."""
    (_, signed), *_ = parts(parts(certificate.public_bytes(Encoding.DER))[0][1])
    edited = edit(tlv(0x30, signed))
    assert edited != tlv(0x30, signed), "nothing was changed"
    algorithm = parts(parts(edited)[0][1])[2][1]
    hashed: Any = hashes.SHA1() if algorithm == ECDSA_WITH_SHA1 else hashes.SHA256()  # noqa: S303 - as old ones are
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(edited, padding.PKCS1v15(), hashed)
    else:
        signature = signer.sign(edited, ec.ECDSA(hashed))
    return tlv(0x30, edited + tlv(0x30, algorithm) + tlv(0x03, b"\x00" + signature))


def tlv(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    long = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([size]) if size < 0x80 else bytes([0x80 | len(long)]) + long) + content


def parts(content: bytes) -> list[tuple[int, bytes]]:
    """The elements of DER that stand in a row: tag and content."""
    found, at = [], 0
    while at < len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size & 0x80:
            more = size & 0x7F
            size, at = int.from_bytes(content[at : at + more], "big"), at + more
        found.append((tag, content[at : at + size]))
        at += size
    return found


def field(number: int, new: Callable[[int, bytes], bytes]) -> Edit:
    """Change one field of a certificate: 0 version, 1 serial, 2 algorithm, 4 validity, 5 subject, 7 extensions."""

    def edit(signed: bytes) -> bytes:
        fields = parts(parts(signed)[0][1])
        return tlv(0x30, b"".join(new(*one) if i == number else tlv(*one) for i, one in enumerate(fields)))

    return edit


# ---------------------------------------------------------------- servers and clients


def presenting(leaf: Issued, *above: Issued, ciphers: str | None = None) -> ssl.SSLContext:
    """A server's context that presents a certificate, with these above it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers or "DEFAULT:@SECLEVEL=0")  # else it would refuse weak ones itself
    with TemporaryDirectory() as directory:
        path = Path(directory, "server.pem")
        path.write_bytes(leaf.secret + leaf.pem + b"".join(one.pem for one in above))
        context.load_cert_chain(path)
    return context


def trusting(directory: Path, *roots: Issued) -> ssl.SSLContext:
    """The exporter's context, with these as the operator's `tls.ca_file`."""
    path = directory / "ca.pem"
    path.write_bytes(b"".join(root.pem for root in roots))
    return verifying(TlsSettings(str(path)))


def diffie_hellman(directory: Path, group: str) -> str:
    """A file with a group of this name, as OpenSSL knows it."""
    path = directory / "group.pem"
    make: list[str | Path] = [
        "openssl",
        "genpkey",
        "-genparam",
        "-algorithm",
        "DH",
        "-pkeyopt",
        f"group:{group}",
        "-out",
        path,
    ]
    subprocess.run(make, check=True, capture_output=True)
    return str(path)
