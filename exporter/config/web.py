"""Who may ask over HTTP: a file in the ecosystem's web-config format -> WebConfig, or every mistake in it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
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
from exporter.config.fields import Faults, Section, Text, one_of
from exporter.config.machine import GIVE_FILE
from exporter.model.vocabulary import Place


@dataclass(frozen=True)
class WebConfig:
    """Whom to let in, and how they are spoken to."""

    tls: ssl.SSLContext | None = None
    allowed_sans: frozenset[str] = frozenset()  # of client certificates; empty: any that verifies
    users: Mapping[str, bytes] = field(default_factory=dict)  # name -> bcrypt hash; empty: no password is asked for
    headers: Mapping[str, str] = field(default_factory=dict)  # sent with every answer

    @property
    def knows_who_asks(self) -> bool:
        """Whether everybody who gets an answer has shown a password, or a certificate."""
        return bool(self.users) or (self.tls is not None and self.tls.verify_mode is ssl.CERT_REQUIRED)

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
        headers={name: value for name, value in section.http_server_config.headers.items() if value},  # empty: unset
    )


def examine(path: Path) -> tuple[Mistake, ...]:
    """What only this machine lacks for a web-config file. Raises DocumentError with all mistakes if any is another."""
    document, _, _ = _checked(path)
    return lacking_here([document])


def _checked(path: Path) -> tuple[Document, MainSection | None, ssl.SSLContext | None]:
    document = read(path)
    section = document.validate(MainSection)
    if section and not (section.tls_server_config or section.basic_auth_users or section.http_server_config.headers):
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
# What a client's certificate can be asked for. Python verifies every certificate that it asks for.
_CLIENT_AUTH: Final = MappingProxyType(
    {
        "NoClientCert": ssl.CERT_NONE,
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
        "TLS_AES_128_GCM_SHA256": "",
        "TLS_AES_256_GCM_SHA384": "",
        "TLS_CHACHA20_POLY1305_SHA256": "",
    }
)
_LONGEST_PEM: Final = 1 << 20  # bytes


class TlsSection(Section):
    """How TLS is spoken."""

    cert_file: Text = Field(description="PEM file with the certificate, and with those above it.")
    key_file: Text = Field(description="PEM file with the key, without a passphrase.")
    client_auth_type: Annotated[str, one_of("kind of client authentication", _CLIENT_AUTH)] = Field(
        default="NoClientCert", description=f"Whether clients show a certificate: {', '.join(_CLIENT_AUTH)}."
    )
    client_ca_file: Text | None = Field(default=None, description="PEM file with the authorities of clients.")
    client_allowed_sans: list[Text] = Field(
        default=[], description="A client's certificate has one of these alternative names; empty: any that verifies."
    )
    min_version: Annotated[str, one_of("version", _VERSIONS)] = Field(
        default="TLS12", description="The oldest version of TLS: TLS12 or TLS13."
    )
    max_version: Annotated[str, one_of("version", _VERSIONS)] = Field(
        default="TLS13", description="The newest version of TLS: TLS12 or TLS13."
    )
    cipher_suites: list[Annotated[str, one_of("cipher suite", _CIPHERS)]] = Field(
        default=[], description="IANA names of suites; those of TLS 1.3 are taken in any case; empty: Python's choice."
    )
    prefer_server_cipher_suites: bool = Field(
        default=True, description="Whether the server's order of suites counts, not the client's."
    )


def _context(section: TlsSection, document: Document, directory: Path) -> ssl.SSLContext:
    """What to speak TLS with; what the files lack is blamed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[section.min_version], _VERSIONS[section.max_version]
    place = ("tls_server_config",)
    if section.min_version > section.max_version:
        document.add_error((*place, "max_version"), f"lower than min_version {section.min_version}; exchange them")
    for key, file in (("cert_file", section.cert_file), ("key_file", section.key_file)):
        _look_at(directory / file, (*place, key), document)
    if not document.mistakes:
        try:
            context.load_cert_chain(directory / section.cert_file, directory / section.key_file, _no_passphrase)
        except (OSError, ValueError) as error:
            document.add_error((*place, "cert_file"), _certificate_fault(error))
    if ciphers := [_CIPHERS[name] for name in section.cipher_suites if _CIPHERS[name]]:
        context.set_ciphers(":".join(ciphers))
    elif section.cipher_suites and section.min_version == "TLS12":
        document.add_error((*place, "cipher_suites"), "names none of TLS 1.2; add one, or set min_version to TLS13")
    if not section.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _ask_for_certificates(context, section, document, directory)
    return context


def _ask_for_certificates(context: ssl.SSLContext, section: TlsSection, document: Document, directory: Path) -> None:
    place = ("tls_server_config",)
    wanted = _CLIENT_AUTH[section.client_auth_type]
    if wanted is ssl.CERT_NONE:
        for key, given in (
            ("client_ca_file", section.client_ca_file),
            ("client_allowed_sans", section.client_allowed_sans),
        ):
            if given:
                document.add_error((*place, key), "no client certificate is asked for; give client_auth_type too")
        return
    if section.client_ca_file is None:
        document.add_error(
            (*place, "client_auth_type"), "needs client_ca_file, the authority of the clients' certificates"
        )
        return
    file = directory / section.client_ca_file
    if not _look_at(file, (*place, "client_ca_file"), document):
        return
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        document.add_error((*place, "client_ca_file"), "the file holds no certificate in PEM")
    except OSError as error:  # gone meanwhile
        document.add_error((*place, "client_ca_file"), f"the file cannot be read: {reason(error)}", local=True)
    context.verify_mode = wanted


def _look_at(path: Path, place: Place, document: Document) -> bool:
    """Whether a file can be read. Its path is not shown: some give the key in its place."""
    try:
        read_bytes(path, _LONGEST_PEM)
    except OSError as error:
        document.add_error(place, f"the file cannot be read: {reason(error)}; {GIVE_FILE}", local=True)
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

_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")  # 2^16 rounds take seconds
_HEADERS: Final = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)


def _hashes(users: dict[str, Any]) -> dict[str, str]:
    """Values are never shown: somebody may have written the password itself."""
    faults: list[tuple[Place, str]] = []
    for name, text in users.items():
        place = () if ":" in name else (name,)  # what follows a colon may be the password
        if not isinstance(text, str) or not _BCRYPT.fullmatch(text):
            what = "expected the password's bcrypt hash, with a cost from 4 to 16"
            faults.append((place, f"{what}; make one by `htpasswd -nBC 10 NAME`"))
        if ":" in name or not name.isprintable():
            faults.append((place, "a user name holds no colon and no control character"))
    if faults:
        raise Faults(faults)
    return {name: str(text) for name, text in users.items()}


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"{name}: a header holds printable ASCII only")
    return headers


class HttpSection(Section):
    """How HTTP is spoken."""

    http2: bool = Field(default=True, description="Known to the format; HTTP/1.1 is spoken in any case.")
    headers: Annotated[
        dict[Annotated[str, one_of("header that may be set", _HEADERS)], str], AfterValidator(_sendable)
    ] = Field(default={}, description=f"Sent with every answer; one of {', '.join(_HEADERS)}.")


class MainSection(Section):
    """The web-config file."""

    tls_server_config: TlsSection | None = None
    http_server_config: HttpSection = HttpSection()
    basic_auth_users: Annotated[dict[Text, Any], AfterValidator(_hashes)] = Field(
        default={}, description="Who may ask: a name, and its password as a bcrypt hash of cost 4 to 16."
    )
