"""Certificates of any kind, sound or odd, for servers of the tests to present."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from exporter.model.vocabulary import TlsSettings
from exporter.probe.net import verifying
from tests.lab import pki
from tests.lab.pki import (
    Field,
    Key,
    Shape,
    content_of,
    der,
    extensions_of_authority,
    extensions_of_leaf,
    secret_of,
    signed,
)

Edit: TypeAlias = Callable[[bytes], bytes]  # of what is signed, in DER

LONG: Final = (-400.0, 4000.0)  # days from now
OVER: Final = (-90.0, -20.0)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    key: Key
    der: bytes

    @property
    def pem(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(self.der).encode()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def secret(self) -> bytes:
        return secret_of(self.key)


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """The same for every certificate of a size: they take long to make."""
    return pki.rsa_key(bits)


_KINDS: Final[Mapping[str, type[x509.ExtensionType]]] = {
    "basic constraints": x509.BasicConstraints,
    "key usage": x509.KeyUsage,
}


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

    `lacks`: what strict readings of RFC 5280 ask for and this one has not: `critical` (of what makes an authority),
    `basic constraints`, `subject key identifier`, `authority key identifier`, `key usage`.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    shape = Shape(
        subject_identifier="subject key identifier" not in lacks,
        authority_identifier="authority key identifier" not in lacks,
        critical="critical" not in lacks,
        usage=usage,
        names=None if names is None else list(map(x509.DNSName, names)),
        extensions=[*more, *([(_fetched_from(aia), False)] if aia else [])],
        fields=None if edit is None else partial(_edited, edit),
        serial=serial,
        lacks=tuple(kind for name, kind in _KINDS.items() if name in lacks),
    )
    extensions = extensions_of_authority() if ca else extensions_of_leaf(common_name, shape)
    return Issued(key, signed(common_name, key, by, days, shape, extensions))


def _fetched_from(url: str) -> x509.AuthorityInformationAccess:
    place = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)])


def _edited(edit: Edit, fields: list[Field]) -> list[Field]:
    return pki.fields(edit(der(0x30, *fields)))


def parts(content: bytes) -> list[tuple[int, bytes]]:
    """The elements of DER that stand in a row: tag and content."""
    return [(one[0], content_of(one)) for one in pki.fields(der(0x30, content))]


def field(number: int, new: Callable[[int, bytes], bytes]) -> Edit:
    """Change one field of a certificate: 0 version, 1 serial, 2 algorithm, 4 validity, 5 subject, 7 extensions."""

    def edit(signed: bytes) -> bytes:
        fields = pki.fields(signed)
        fields[number] = new(fields[number][0], content_of(fields[number]))
        return der(0x30, *fields)

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
