"""TLS on a stream, and the trust it is verified by."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import truststore

from exporter.failure import NotTls, PeerClosed, is_tls_record
from exporter.model import TlsFacts, TlsSettings
from exporter.net.streams import Stream
from exporter.net.trail import Trail

T = TypeVar("T")
_CHUNK: Final = 64 * 1024
_DER: Final = 2  # _ssl.ENCODING_DER


def verifying(settings: TlsSettings) -> ssl.SSLContext:
    """The one context of all probes: the system's trust, and the operator's own CA beside it.

    Raises OSError where that cannot be read now: out of descriptors, OpenSSL by itself would go on and trust nobody.
    """
    context: ssl.SSLContext
    if sys.platform in {"win32", "darwin"}:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        # On Linux truststore only points OpenSSL at the system's bundle, but does so for every connection, which reads
        # the bundle again: 24 ms, twenty times the probe. The standard library reads the same bundle once.
        context = _by_hash()
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _by_hash() -> ssl.SSLContext:
    """A context with the system's trust that looks a certificate up by its hash.

    By default OpenSSL also lists the whole directory where it does not find one, such as any issuer that is no root, in
    each handshake: a fifth of what that costs.
    """
    places = ssl.get_default_verify_paths()
    try:
        return ssl.create_default_context(cafile=places.cafile, capath=places.capath)
    except (PermissionError, ssl.SSLError):  # a bundle that cannot be read, which OpenSSL passes over by default
        return ssl.create_default_context()


def trusted_roots(context: ssl.SSLContext) -> list[bytes] | None:
    """The certificates (DER) that a context trusts; None where the system does not list them (macOS).

    Raises OSError where they cannot be read now.
    """
    if sys.platform == "win32":
        return [der for der, encoding, _ in ssl.enum_certificates("ROOT") if encoding == "x509_asn"]
    if sys.platform == "darwin":
        return None
    return context.get_ca_certs(binary_form=True) + list(_in_directory(ssl.get_default_verify_paths().capath))


def _in_directory(capath: str | None) -> Iterator[bytes]:
    """Certificates that OpenSSL reads from a directory one by one when it needs them."""
    for path in Path(capath).glob("*.pem") if capath else ():
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError, ValueError):
            yield ssl.PEM_cert_to_DER_cert(path.read_text(encoding="ascii"))


@cache
def unverifying() -> ssl.SSLContext:
    """A context that takes any certificate: to look at what does not verify, never to judge by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class TlsStream:
    """TLS on another stream."""

    def __init__(self, below: Stream, context: ssl.SSLContext, host: str, trail: Trail) -> None:
        self._below = below
        self._trail = trail
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._first = b""  # what was read first, as a whole

    async def handshake(self) -> TlsFacts:
        """Shake hands and verify. Raises ssl.SSLError, of which SSLCertVerificationError says what does not verify.

        Raises NotTls where the other side speaks something else.
        """
        try:
            await self._drive(self._tls.do_handshake)
        except ssl.SSLError as error:
            if self._first and not is_tls_record(self._first):
                raise NotTls(self._first) from error
            raise
        from exporter.certificates import facts  # noqa: PLC0415 - see there

        return facts(tuple(_chain(self._tls)), self._tls.version())

    @property
    def pending(self) -> int:
        """What has come and is not decrypted yet, here and below."""
        return self._incoming.pending + self._below.pending

    async def read(self, most: int) -> bytes:
        """What has arrived, decrypted; raises PeerClosed at the end."""
        data: bytes = b""
        with suppress(ssl.SSLZeroReturnError):
            data = await self._drive(lambda: self._tls.read(most))
        if not data:
            raise PeerClosed("the connection was closed before the answer")
        if not self.pending:  # OpenSSL takes one record at a time, so this was the last
            self._trail.ended_there()
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it, encrypted."""
        await self._drive(lambda: self._tls.write(data))

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._below.aclose()

    async def _drive(self, operation: Callable[[], T]) -> T:
        """Do an operation of the TLS engine, carrying its records back and forth until it is done."""
        while True:
            try:
                value = operation()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._below.read(_CHUNK)
                self._first = self._first or data
                self._incoming.write(data)
            except ssl.SSLError:
                with suppress(OSError):  # the alert is a courtesy
                    await self._flush()
                raise
            else:
                await self._flush()
                return value

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.write(self._outgoing.read())


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server sent, in DER, its own first."""
    if sys.version_info >= (3, 13):
        return tls.get_unverified_chain()
    # Public from 3.13 on; the same method stands on the object beneath since 3.10, and truststore reads it there too.
    beneath = cast(Any, tls)._sslobj  # noqa: SLF001
    return [certificate.public_bytes(_DER) for certificate in beneath.get_unverified_chain() or ()]
