"""TLS on a stream, and the trust it is verified by."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import anyio.lowlevel
import truststore

from exporter.model.authorities import Authorities
from exporter.model.vocabulary import TlsFacts, TlsSettings
from exporter.probe.errors import NotHttp, NotTls, PeerClosed, TlsEndless, Unverifiable, is_tls_record
from exporter.probe.net.records import Records
from exporter.probe.net.streams import Stream
from exporter.probe.net.trace import Trace
from exporter.probe.unverified import NOT_YET_VALID, WINDOWS_EXPIRED, verify_code
from exporter.system.threads import Few, in_daemon_thread

T = TypeVar("T")
_CHUNK: Final = 64 * 1024
_PIECE: Final = 16 * 1024  # bytes that the engine is given at a time: it may be busy with them for some milliseconds
_IN_A_ROW: Final = 32  # records that are read before others have their turn
_LONGEST_HANDSHAKE: Final = 256 * 1024  # bytes; OpenSSL takes 100 KiB of certificates
_MOST_IN_HANDSHAKE: Final = 1024  # records
_MOST_RECORDS: Final = 8192  # of a connection, beside those that are not small
_SMALL: Final = 1024  # bytes
_LONGEST_PRELUDE: Final = 96 * 1024  # bytes of tickets, and of new handshakes, between two parts of an answer
_DER: Final = 2  # _ssl.ENCODING_DER
_SYSTEM_VERIFIES: Final = sys.platform in {"win32", "darwin"}  # by itself, after OpenSSL's handshake
_ROOTS_FOR: Final = 600.0  # seconds that a list of Windows' roots is good for; Windows fetches more as it needs them

# Python's own list lacks key exchange by RSA and CBC with SHA-1, which Windows Server up to 2022 offers. Level 2 is
# that of Python and Debian: no RSA or DH key below 2048 bits, no signature by SHA-1.
_CIPHERS: Final = "DEFAULT:@SECLEVEL=2"
_CIPHERS_OF_TODAY: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_ALL_CIPHERS: Final = "DEFAULT:@SECLEVEL=0"
_OP_LEGACY_SERVER_CONNECT: Final = 0x4  # servers without RFC 5746; `ssl` has the name from Python 3.12 on


def verifying(settings: TlsSettings, *, with_secrets: bool = False) -> ssl.SSLContext:
    """The one context of all probes: the system's trust, and the operator's own CA beside it.

    `with_secrets`: for connections that carry some, as to a proxy where an account signs in; TLS is of today then.
    Raises OSError where that cannot be read now: out of descriptors, OpenSSL by itself would go on and trust nobody.
    """
    if not _SYSTEM_VERIFIES:
        # Here truststore only points OpenSSL at the system's bundle, but does so for every connection, which reads the
        # bundle again: 24 ms, twenty times the probe. The standard library reads the same bundle once.
        context = _by_hash()
        if settings.ca_file is not None:
            context.load_verify_locations(settings.ca_file)
        return _prepared(context, with_secrets=with_secrets)
    added = None if settings.ca_file is None else Path(settings.ca_file).read_text(encoding="ascii", errors="replace")

    def make() -> ssl.SSLContext:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if added is not None:
            context.load_verify_locations(cadata=added)
        return _prepared(context, with_secrets=with_secrets)

    context = make()
    _makers[context] = make
    return context


# One of truststore's contexts lets nobody shake hands while it verifies a chain, for which the system may fetch what it
# lacks, and wait for a firewall to let it. So each connection has one of its own, which takes a moment only where
# there is no bundle to read.
_makers: Final = WeakKeyDictionary[ssl.SSLContext, Callable[[], ssl.SSLContext]]()


def _prepared(context: ssl.SSLContext, *, with_secrets: bool) -> ssl.SSLContext:
    if not with_secrets:
        return _as_windows_takes(context, _CIPHERS, ssl.TLSVersion.TLSv1_2)
    context = _as_windows_takes(context, _CIPHERS_OF_TODAY, ssl.TLSVersion.TLSv1_2)
    context.options &= ~_OP_LEGACY_SERVER_CONNECT
    return context


def _as_windows_takes(context: ssl.SSLContext, ciphers: str, oldest: ssl.TLSVersion) -> ssl.SSLContext:
    """The same for every version of Python and every openssl.cnf, and no stricter than Windows' own client, Schannel.

    What that costs in safety is little: the exporter looks whether a connection opens, and sends a target no secret.
    """
    # Python 3.13 sets both by default. Strict rules of RFC 5280 refuse authorities of inspecting devices that all
    # clients take; an authority below a root may be trusted by itself, as curl and 3.13 have it.
    context.verify_flags = (context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN) & ~ssl.VERIFY_X509_STRICT
    context.minimum_version, context.maximum_version = oldest, ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(ciphers)
    context.options |= _OP_LEGACY_SERVER_CONNECT
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
def unverifying(newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
    """A context that takes any certificate and any TLS up to one: to look at what is refused, never to judge by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context = _as_windows_takes(context, _ALL_CIPHERS, ssl.TLSVersion.MINIMUM_SUPPORTED)
    context.maximum_version = newest
    return context


_heavy: Final = Few(2)  # what strangers can make heavy: chains to read, and handshakes with large numbers


class TlsStream:
    """TLS on another stream."""

    def __init__(
        self, below: Stream, context: ssl.SSLContext, host: str, trace: Trace, authorities: Authorities
    ) -> None:
        self._below = below
        self._authorities = authorities
        self._trace = trace
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        own = _makers[context]() if context in _makers else context
        self._tls = own.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._verifies = context.verify_mode is not ssl.CERT_NONE
        self._first = b""  # what was read first, as a whole
        self._records = Records()
        self._backlog = b""  # what was read and is not given to the engine yet
        self._shaken = False  # hands
        self._said = 0  # bytes, when something came last that was not TLS' own
        self._unbroken = 0  # reads without waiting for anybody
        self._handshakes = 0  # records of the handshake; more of them begin another

    async def handshake(self) -> TlsFacts:
        """Shake hands and verify. Raises ssl.SSLError, of which SSLCertVerificationError says what does not verify.

        Raises NotTls where the other side speaks something else.
        """
        try:
            await self._drive(self._tls.do_handshake)
        except ssl.SSLError as error:
            if self._first and not is_tls_record(self._first):
                raise NotTls(self._first) from error
            if isinstance(error, ssl.SSLCertVerificationError):
                await self._raise_if_not_yet_valid(error)
            raise
        self._shaken, self._said = True, self._records.size
        return await self.facts(verified=self._verifies)

    async def _raise_if_not_yet_valid(self, error: ssl.SSLCertVerificationError) -> None:
        """Windows has one code for a certificate that has expired and for one that is not yet valid."""
        if verify_code(error) == WINDOWS_EXPIRED:
            begins = [one.not_before for one in (await self.facts()).chain if one.not_before is not None]
            if any(moment > time.time() for moment in begins):
                error.verify_code, error.verify_message = NOT_YET_VALID

    async def facts(self, *, path: tuple[bytes, ...] = (), verified: bool = False) -> TlsFacts:
        """What was seen so far, also of a handshake that failed. `path`: if another verification took it."""
        from exporter.probe.net.certificates import Shown, facts, remembered  # noqa: PLC0415 - see there

        path = path or (self.path if self._verifies else ())
        known = () if path else self._known()
        shown = Shown(_sent(self._tls), self._version(), path, verified, known, self._authorities)
        found = remembered(shown)
        return await _heavy.run(partial(facts, shown)) if found is None else found

    def _version(self) -> str | None:
        """The version of TLS; also of a handshake that the certificate ended, for which OpenSSL gives none.

        A client that verifies takes two versions, and the suite is known before the certificate in the newer one only.
        """
        if (version := self._tls.version()) or not (self._verifies and _sent(self._tls)):
            return version
        return "TLSv1.3" if self._tls.cipher() else "TLSv1.2"

    @property
    def path(self) -> tuple[bytes, ...]:
        """The path (DER) that the verification took, as far as it came; empty where the system does not give it."""
        return () if _SYSTEM_VERIFIES else _ders(self._tls, "get_verified_chain")

    @property
    def agreed(self) -> tuple[str, str] | None:
        """The version of TLS and the cipher suite, by OpenSSL's name; None before the handshake is done."""
        cipher = self._tls.cipher()
        return (self._tls.version() or "", cipher[0]) if cipher else None

    def _known(self) -> tuple[bytes, ...]:
        """The roots that a path may end in, where the system does not say which it took."""
        if not (_SYSTEM_VERIFIES and self._verifies):
            return ()
        return (*self._tls.context.get_ca_certs(binary_form=True), *_roots_of_windows())

    @property
    def pending(self) -> int:
        """What has come and is not decrypted yet, here and below."""
        return self._incoming.pending + len(self._backlog) + self._below.pending

    async def read(self, most: int) -> bytes:
        """What has arrived, decrypted; raises PeerClosed at the end."""
        self._unbroken += 1
        if self._unbroken % _IN_A_ROW == 0:  # records of a few bytes: others have their turn between them
            await anyio.lowlevel.checkpoint()
        data: bytes = b""
        with suppress(ssl.SSLZeroReturnError):
            data = await self._drive(lambda: self._tls.read(most))
        if not data:
            raise PeerClosed("the connection was closed before the answer")
        self._said = self._records.size
        if not self.pending:  # OpenSSL takes one record at a time, so this was the last
            self._trace.complete()
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it, encrypted."""
        await self._drive(lambda: self._tls.write(data))

    async def _drive(self, operation: Callable[[], T]) -> T:
        """Do an operation of the TLS engine, carrying its records back and forth until it is done."""
        while True:
            try:
                value = await self._step(operation)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError:
                with suppress(OSError):  # the alert is a courtesy
                    await self._flush()
                raise
            else:
                await self._flush()
                return value

    async def _step(self, operation: Callable[[], T]) -> T:
        """A step of an operation: in a thread where its end is the system's, or where a stranger may make it long."""
        if not self._shaken:
            if _SYSTEM_VERIFIES and self._verifies:
                return await _by_the_system(operation)
            apart = self._records.number > 0 and (not self._verifies or self._records.may_take_long)
        else:
            apart = self._records.handshakes > self._handshakes
        return await _heavy.run(operation) if apart else operation()

    async def _feed(self) -> None:
        """Give the engine more of what comes. Raises TlsEndless, or NotHttp where the handshake is over."""
        if self._backlog:
            await anyio.lowlevel.checkpoint()
        else:
            self._backlog = await self._below.read(_CHUNK)
            self._unbroken = 0
        data, self._backlog = self._backlog[:_PIECE], self._backlog[_PIECE:]
        self._first = self._first or data
        self._records.feed(data)
        if not self._shaken:
            self._handshakes = self._records.handshakes
            if self._records.size > _LONGEST_HANDSHAKE or self._records.number > _MOST_IN_HANDSHAKE:
                raise TlsEndless
        elif self._is_endless:
            raise NotHttp("there is no end of what TLS says, and hardly an answer in it")
        self._incoming.write(data)

    @property
    def _is_endless(self) -> bool:
        """Whether there are very many small records, or nothing but what TLS has to say itself."""
        many = self._records.number > _MOST_RECORDS + self._records.size // _SMALL
        return many or self._records.size - self._said > _LONGEST_PRELUDE

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.write(self._outgoing.read())


async def _by_the_system(handshake: Callable[[], T]) -> T:
    """A step of a handshake, with the verification in the end. Raises Unverifiable where the system is not able to."""
    try:
        return await in_daemon_thread(handshake)
    except ssl.SSLError:
        raise
    except OSError as error:
        raise Unverifiable(f"this machine cannot verify certificates: {error.strerror or error}") from error


def _sent(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the server sent, in DER, its own first."""
    return _ders(tls, "get_unverified_chain")


def _ders(tls: ssl.SSLObject, method: str) -> tuple[bytes, ...]:
    """A chain as one of two methods gives it, in DER."""
    # Public from 3.13 on; the same methods stand on the object beneath since 3.10, and truststore reads them there too.
    # The object beneath gives the path of a verification that failed as well, on all versions.
    chain = getattr(cast(Any, tls)._sslobj, method)() or ()  # noqa: SLF001
    return tuple(certificate.public_bytes(_DER) for certificate in chain)


def _roots_of_windows() -> tuple[bytes, ...]:
    return _roots_of_windows_at(int(time.monotonic() // _ROOTS_FOR))


@lru_cache(maxsize=1)
def _roots_of_windows_at(_moment: int) -> tuple[bytes, ...]:
    if sys.platform == "win32":
        return tuple(der for der, encoding, _ in ssl.enum_certificates("ROOT") if encoding == "x509_asn")
    return ()
