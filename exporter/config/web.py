"""Who may ask over HTTP: a file in the ecosystem's web-config format -> WebConfig, or every mistake in it."""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from exporter.config.documents import (
    Document,
    DocumentError,
    Mistake,
    TooLarge,
    lacking_here,
    peek,
    raise_errors,
    read,
    read_bytes,
    reason,
)
from exporter.config.fields import Faults, Section, Text, expected, one_of, within
from exporter.config.machine import why_unread
from exporter.model.vocabulary import Place


@dataclass(frozen=True)
class RateLimit:
    """How many requests are answered: one an interval, and so many at once after a pause."""

    interval: float  # seconds
    burst: int


@dataclass(frozen=True)
class WebConfig:
    """Whom to let in, and how they are spoken to."""

    tls: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()  # of client certificates; empty: any that verifies
    users: Mapping[str, bytes] = field(default_factory=dict)  # name -> bcrypt hash; empty: no password is asked for
    headers: Mapping[str, str] = field(default_factory=dict)  # sent with every answer
    clients_are_known: bool = False  # whether certificates of clients come from an authority that the file names
    rate_limit: RateLimit | None = None

    @property
    def knows_who_asks(self) -> bool:
        """Whether everybody who gets an answer has shown a password, or a certificate."""
        required = self.tls is not None and self.tls.verify_mode is ssl.CERT_REQUIRED
        return bool(self.users) or (required and self.clients_are_known)

    @property
    def demands(self) -> dict[str, bool]:
        """What it asks of those who come, for the log."""
        certificate = self.tls is not None and self.tls.verify_mode is ssl.CERT_REQUIRED
        return {"tls": self.tls is not None, "client_certificate": certificate, "password": bool(self.users)}


def load(path: Path | None) -> WebConfig:
    """What a web-config file says; without a file, all are let in. Raises DocumentError with all mistakes.

    Paths in the file are relative to it. Certificates and keys are read now.
    """
    if path is None:
        return WebConfig()
    document, section, context = _checked(path)
    raise_errors([document])
    if section is None:
        raise AssertionError("what is not valid is blamed")
    tls = section.tls_server_config
    return WebConfig(
        tls=context,
        allowed_sans=frozenset(tls.client_allowed_sans) if tls else frozenset(),
        users={name: text.encode() for name, text in section.basic_auth_users.items()},
        headers={name: str(value) for name, value in section.http_server_config.headers.items() if value},
        clients_are_known=bool(tls and (tls.client_ca_file or tls.client_ca)),
        rate_limit=section.rate_limit.limit if section.rate_limit else None,
    )


def examine(path: Path) -> tuple[Mistake, ...]:
    """What only this machine lacks for a web-config file. Raises DocumentError with all mistakes if any is another."""
    document, _, _ = _checked(path)
    return lacking_here([document])


def _checked(path: Path) -> tuple[Document, MainSection | None, ssl.SSLContext | None]:
    document = read(path)
    section = document.validate(MainSection)
    if section and not section.asks_for_something:
        document.add_error((), _NO_LOCK)
    tls = section.tls_server_config if section else None
    return document, section, _context(tls, document, path.parent) if tls else None


def files_of(path: Path) -> Iterator[Path]:
    """A web-config file, and the files that it names, whatever may be wrong with it or with them."""
    yield path
    with suppress(DocumentError):
        section = next(peek(read(path).value, "tls_server_config"), None)
        for key in ("cert_file", "key_file", "client_ca_file"):
            yield from (path.parent / file for file in peek(section, key) if isinstance(file, str))


_NO_LOCK: Final = (
    "the file asks for neither TLS nor a password, so everybody would be let in; give tls_server_config or "
    "basic_auth_users, or leave --web.config.file out"
)


# ---------------------------------------------------------------- TLS

_VERSIONS: Final = MappingProxyType({"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3})
# What a client's certificate can be asked for. Python verifies every certificate that it asks for: so one that is not
# verified and need not be shown is not asked for, and one that must be shown all the same cannot be had.
_CLIENT_AUTH: Final[Mapping[str, ssl.VerifyMode | None]] = MappingProxyType(
    {
        "NoClientCert": ssl.CERT_NONE,
        "RequestClientCert": ssl.CERT_NONE,
        "RequireAnyClientCert": None,
        "RequireClientCert": None,  # its older name
        "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
        "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    }
)
# The format takes IANA's names, OpenSSL its own. Those of TLS 1.3 need not be named: all of them are good.
_CIPHERS: Final = MappingProxyType(
    {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_AES_128_GCM_SHA256": "",
        "TLS_AES_256_GCM_SHA384": "",
        "TLS_CHACHA20_POLY1305_SHA256": "",
    }
)
_CURVES: Final = MappingProxyType(
    {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
)
_LONGEST_PEM: Final = 1 << 20  # bytes


def _new_enough(version: str) -> str:
    if version in {"TLS10", "TLS11"}:
        raise ValueError(f"{version} is not spoken any more; write TLS12, or TLS13")
    return version


Version = Annotated[str, AfterValidator(_new_enough), one_of("version", _VERSIONS)]


class TlsSection(Section):
    """How TLS is spoken. An empty text counts as left out."""

    cert_file: str | None = Field(
        default=None, description="PEM file with the certificate, and with those above it; this, or `cert`."
    )
    cert: str | None = Field(default=None, description="The same, in the file itself.")
    key_file: str | None = Field(
        default=None, description="PEM file with the key, without a passphrase; this, or `key`."
    )
    key: str | None = Field(default=None, description="The same, in the file itself.")
    client_auth_type: Annotated[str, one_of("kind of client authentication", _CLIENT_AUTH)] = Field(
        default="NoClientCert",
        description="Whether clients show a certificate: NoClientCert, VerifyClientCertIfGiven, "
        "RequireAndVerifyClientCert.",
    )
    client_ca_file: str | None = Field(
        default=None,
        description="PEM file with the authorities of clients; without, those that the system trusts.",
    )
    client_ca: str | None = Field(default=None, description="The same, in the file itself.")
    client_allowed_sans: list[Text] = Field(
        default=[], description="A client's certificate has one of these alternative names; empty: any that verifies."
    )
    min_version: Version = Field(default="TLS12", description="The oldest version of TLS: TLS12 or TLS13.")
    max_version: Version = Field(default="TLS13", description="The newest version of TLS: TLS12 or TLS13.")
    cipher_suites: list[Annotated[str, one_of("cipher suite", _CIPHERS)]] = Field(
        default=[], description="IANA names of suites; those of TLS 1.3 are taken in any case; empty: Python's choice."
    )
    prefer_server_cipher_suites: bool = Field(
        default=True, description="Whether the server's order of suites counts, not the client's."
    )
    curve_preferences: list[Annotated[str, one_of("curve", _CURVES)]] = Field(
        default=[], description=f"Curves: one of {', '.join(_CURVES)}, or all; empty: Python's choice."
    )


def _context(section: TlsSection, document: Document, directory: Path) -> ssl.SSLContext:
    """What to speak TLS with; what the files lack is blamed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[section.min_version], _VERSIONS[section.max_version]
    if section.min_version > section.max_version:
        document.add_error((*_TLS, "max_version"), f"lower than min_version {section.min_version}; swap them")
    _load_certificate(context, section, document, directory)
    if ciphers := [_CIPHERS[name] for name in section.cipher_suites if _CIPHERS[name]]:
        context.set_ciphers(":".join(ciphers))
    elif section.cipher_suites and section.min_version == "TLS12":
        document.add_error((*_TLS, "cipher_suites"), "names none of TLS 1.2; add one, or set min_version to TLS13")
    if not section.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _prefer_curves(context, section, document)
    _ask_for_certificates(context, section, document, directory)
    return context


_TLS: Final = ("tls_server_config",)


def _load_certificate(context: ssl.SSLContext, section: TlsSection, document: Document, directory: Path) -> None:
    given = {"cert": (section.cert_file, section.cert), "key": (section.key_file, section.key)}
    for key, (file, text) in given.items():
        if file:
            _look_at(directory / file, (*_TLS, f"{key}_file"), document)
        elif not text:
            document.add_error(_TLS, f"one of {key}_file and {key} is missing; give it")
    if document.mistakes:
        return
    with ExitStack() as files:
        try:
            certificate_path, key_path = (
                directory / file if file else files.enter_context(_file_of(text or "")) for file, text in given.values()
            )
            context.load_cert_chain(certificate_path, key_path, _no_passphrase)
        except (OSError, ValueError) as error:
            document.add_error((*_TLS, "cert_file" if section.cert_file else "cert"), _certificate_fault(error))


@contextmanager
def _file_of(text: str) -> Iterator[Path]:
    """A file with this text, which nobody else can read, until the block ends: Python reads a key by its path.

    Raises OSError.
    """
    if sys.platform == "linux":  # in memory, also where no disk can be written
        descriptor = os.memfd_create("pem")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(text.encode())
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    else:
        with TemporaryDirectory() as directory:
            path = Path(directory, "pem")
            path.write_text(text, encoding="utf-8")
            yield path


def _prefer_curves(context: ssl.SSLContext, section: TlsSection, document: Document) -> None:
    curves = dict.fromkeys(_CURVES[name] for name in section.curve_preferences)
    if len(curves) == 1:
        context.set_ecdh_curve(next(iter(curves)))
    elif curves and len(curves) < len(_CURVES):
        document.add_error(
            (*_TLS, "curve_preferences"), "Python takes one curve or leaves the choice open; name one, or all"
        )


def _ask_for_certificates(context: ssl.SSLContext, section: TlsSection, document: Document, directory: Path) -> None:
    wanted = _CLIENT_AUTH[section.client_auth_type]
    if wanted is None:
        document.add_error(
            (*_TLS, "client_auth_type"),
            "Python verifies each certificate that it asks for; write RequireAndVerifyClientCert, and in "
            "client_ca_file whose certificates are good, also those that sign themselves",
        )
        return
    if wanted is ssl.CERT_NONE:
        _refuse_what_nobody_looks_at(section, document)
        return
    try:
        if section.client_ca_file:
            if _look_at(directory / section.client_ca_file, (*_TLS, "client_ca_file"), document):
                context.load_verify_locations(directory / section.client_ca_file)
        elif section.client_ca:
            context.load_verify_locations(cadata=section.client_ca)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    except (ssl.SSLError, ValueError):
        key, what = ("client_ca_file", "file") if section.client_ca_file else ("client_ca", "text")
        document.add_error((*_TLS, key), f"the {what} holds no certificate in PEM")
    except OSError as error:  # gone meanwhile
        document.add_error((*_TLS, "client_ca_file"), f"the file cannot be read: {reason(error)}", local=True)
    context.verify_mode = wanted


def _refuse_what_nobody_looks_at(section: TlsSection, document: Document) -> None:
    given: dict[str, object] = {"client_allowed_sans": section.client_allowed_sans}
    if section.client_auth_type == "NoClientCert":
        given |= {"client_ca_file": section.client_ca_file, "client_ca": section.client_ca}
    for key in filter(given.get, given):
        document.add_error((*_TLS, key), "no client certificate is asked for; give client_auth_type too")


def _look_at(path: Path, place: Place, document: Document) -> bool:
    """Whether a file can be read. Its path is not shown: some give the key in its place."""
    try:
        read_bytes(path, _LONGEST_PEM)
    except OSError as error:
        document.add_error(place, f"the file cannot be read: {why_unread(error)}", local=True)
    except (ValueError, TooLarge) as error:
        document.add_error(place, f"the file cannot be read: {reason(error)}")
    else:
        return True
    return False


def _no_passphrase() -> str:
    """Without this, OpenSSL would ask on the terminal."""
    raise ValueError("the key is protected by a passphrase; give it without one")


def _certificate_fault(error: Exception) -> str:
    match error:
        case ssl.SSLError(reason="KEY_VALUES_MISMATCH"):
            return "certificate and key do not belong together"
        case ssl.SSLError():
            return "cert_file holds no certificate, or key_file no key, in PEM"
        case OSError():  # gone meanwhile
            return f"the files cannot be read: {reason(error)}"
        case _:
            return str(error)


# ---------------------------------------------------------------- the schema

_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-8])\$[./A-Za-z0-9]{53}")  # 2^18 rounds take half a minute
# Values that a header may have; none: any.
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Content-Security-Policy": (),
        "Strict-Transport-Security": (),
        "X-Content-Type-Options": ("nosniff",),
        "X-Frame-Options": ("deny", "sameorigin"),
        "X-XSS-Protection": (),
    }
)
_NANOSECONDS: Final = MappingProxyType(
    {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}  # as Go writes durations
)
_PART: Final = rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)({'|'.join(_NANOSECONDS)})"


def _hashes(users: dict[str, Any]) -> dict[str, str]:
    """Values are never shown: somebody may have written the password itself."""
    faults: list[tuple[Place, str]] = []
    for name, text in users.items():
        place = () if ":" in name else (name,)  # what follows a colon may be the password
        if not isinstance(text, str) or not _BCRYPT.fullmatch(text):
            what = "expected the password's bcrypt hash, with a cost from 4 to 18"
            faults.append((place, f"{what}; make one by `htpasswd -nBC 10 NAME`"))
        if ":" in name or not name.isprintable():
            faults.append((place, "a user name holds no colon and no control character"))
    if faults:
        raise Faults(faults)
    return {name: str(text) for name, text in users.items()}


def _sendable(headers: dict[str, str | int]) -> dict[str, str]:
    texts = {name: str(value) for name, value in headers.items()}
    for name, value in texts.items():
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"{name}: a header holds printable ASCII only")
        if value and _HEADERS[name] and value not in _HEADERS[name]:
            raise ValueError(f"{name}: {expected(' or '.join(_HEADERS[name]), value)}")
    return texts


def _seconds(interval: str | int) -> float:
    """What Go takes for a duration: `1s`, `1m30s`, `0.5s`, or nanoseconds."""
    if isinstance(interval, int) and interval >= 0:
        return interval / 1e9
    if interval == "0":
        return 0.0
    if not isinstance(interval, str) or not re.fullmatch(f"(?:{_PART})+", interval):
        raise ValueError(expected("a duration such as 1s, 500ms or 1m30s; 0 for no limit", interval))
    return sum(float(number) * _NANOSECONDS[unit] for number, unit in re.findall(_PART, interval)) / 1e9


class HttpSection(Section):
    """How HTTP is spoken."""

    http2: bool = Field(default=True, description="Known to the format; HTTP/1.1 is spoken in any case.")
    headers: Annotated[
        dict[Annotated[str, one_of("header that may be set", _HEADERS)], str | int], AfterValidator(_sendable)
    ] = Field(
        default={},
        description=f"Sent with every answer; one of {', '.join(_HEADERS)}. An empty one counts as left out.",
    )


class RateLimitSection(Section):
    """How many requests are answered; others get 429."""

    interval: Annotated[str | int, AfterValidator(_seconds)] = Field(
        default=0, description="One request is answered in so much time, as 1s or 500ms; 0: all are."
    )
    burst: Annotated[int, within(0, 1_000_000)] = Field(
        default=0, description="So many are answered at once after a pause; 0 with an interval: none ever."
    )

    @property
    def limit(self) -> RateLimit | None:
        """None: all are answered."""
        return RateLimit(float(self.interval), self.burst) if self.interval else None


class MainSection(Section):
    """The web-config file."""

    tls_server_config: TlsSection | None = None
    http_server_config: HttpSection = HttpSection()
    basic_auth_users: Annotated[dict[Text, Any], AfterValidator(_hashes)] = Field(
        default={}, description="Who may ask: a name, and its password as a bcrypt hash of cost 4 to 18."
    )
    rate_limit: RateLimitSection | None = None

    @property
    def asks_for_something(self) -> bool:
        """Whether the file says anything at all."""
        return bool(
            self.tls_server_config or self.basic_auth_users or self.http_server_config.headers or self.rate_limit
        )
