"""Faults of TLS and of certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from exporter.model.vocabulary import Cause, Reason
from tests.lab import Authority, Flaw, Lab
from tests.lab.pki import LONG, OVER, PLAIN, Field, Lifetime, Shape, authority, der, fields, leaf, rsa_key
from tests.lab.scripts import (
    GOODBYE,
    HANG_UP,
    HOLD,
    READ,
    READ_HEAD,
    RESET,
    Step,
    relay,
    send,
    tls,
    when_said,
)

from .fault import UP, Chain, Expected, Fault, Inject, certificate, everywhere, message, over_https, tls_port


def tls_faults() -> Iterator[Fault]:
    # Nothing of this depends on the path: a tunnel carries it as it is.
    timeout, handshake = everywhere(Reason.TLS_TIMEOUT), everywhere(Reason.TLS_HANDSHAKE)
    expired, untrusted = everywhere(Reason.TLS_EXPIRED), everywhere(Reason.TLS_UNTRUSTED)
    yield over_https("TLS: silent after ClientHello", timeout, tls_port(READ, HOLD))
    yield over_https("TLS: reset in the handshake", handshake, tls_port(READ, RESET))
    yield over_https("TLS: closed in the handshake", handshake, tls_port(READ))
    yield over_https("TLS: alert", handshake, lambda lab, host: lab.serve(host, "ssl_reject_handshake on;"))
    yield over_https("TLS: only 1.1", handshake, tls_port(tls(newest="TLSv1_1"), HOLD), cause=Cause.OLD_TLS)
    # Cipher suites for RSA keys, which the host's certificate has not.
    yield over_https("TLS: no common cipher", handshake, tls_port(tls(newest="TLSv1_2", ciphers="kRSA"), HOLD))
    # In TLS 1.3 the client has finished before the server says no: that comes in the next phase, but is of this one.
    wants = tls_port(tls(client_certificate=True), HOLD)
    yield over_https("TLS: wants a client certificate", handshake, wants, cause=Cause.CLIENT_CERTIFICATE)
    plain = tls_port(READ, send(message("HTTP/1.1 400 Bad Request")))
    yield over_https("TLS: plain text", handshake, plain, cause=Cause.PLAIN_TEXT)
    yield over_https("TLS: expired", expired, certificate(Flaw.EXPIRED))
    yield over_https("TLS: intermediate expired", expired, certificate(Flaw.EXPIRED_INTERMEDIATE))
    # The same clocks are to be looked at.
    yield over_https("TLS: not yet valid", expired, certificate(Flaw.NOT_YET_VALID), cause=Cause.NOT_YET_VALID)
    yield over_https("TLS: wrong name", everywhere(Reason.TLS_HOSTNAME_MISMATCH), certificate(Flaw.WRONG_NAME))
    # A public authority that is too new for this machine would look the same, as the root itself is not sent.
    yield over_https("TLS: unknown root", untrusted, certificate(Flaw.UNKNOWN_ROOT), chain=Chain.UNTOLD)
    yield over_https("TLS: unknown root, sent along", untrusted, _presents(_with_its_root), chain=Chain.PRIVATE)
    yield over_https("TLS: self-signed", untrusted, certificate(Flaw.SELF_SIGNED), chain=Chain.PRIVATE)
    # Who stands above the last one that was sent, nobody here can tell.
    yield over_https(
        "TLS: intermediate missing", untrusted, certificate(Flaw.MISSING_INTERMEDIATE), chain=Chain.UNTOLD, cause=_LACKS
    )


def servers() -> Iterator[Fault]:
    handshake = everywhere(Reason.TLS_HANDSHAKE)
    # What Windows takes by its default suites, and OpenSSL as well.
    for suite in ("AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-AES256-SHA"):
        yield over_https(f"TLS: only {suite}", everywhere(UP), _rsa(tls(newest="TLSv1_2", ciphers=suite)))
    yield over_https("TLS: no secure renegotiation", everywhere(UP), lambda lab, host: lab.without_rfc_5746(host))
    # Devices older than TLS 1.3 that cannot stand whoever offers it; Windows Server before 2022 does not.
    for name, then in {"cuts": HANG_UP, "refuses": send("\x15\x03\x03\x00\x02\x02\x46")}.items():
        yield over_https(f"TLS: {name} whoever offers 1.3", handshake, _without_1_3(then), cause=Cause.STRICTER_CLIENT)
    yield over_https("TLS: only 1.0", handshake, tls_port(tls(newest="TLSv1"), HOLD), cause=Cause.OLD_TLS)
    # What was said before the connection was cut counts, also where the cut is noticed first.
    for newest in ("TLSv1_3", "TLSv1_2"):
        wants = tls(newest=newest, client_certificate=True, patient=False)
        name = f"TLS: wants a client certificate and resets, {newest}".replace("v1_", " 1.")
        # TLS 1.2 has no alert of its own for that.
        cause = Cause.CLIENT_CERTIFICATE if newest == "TLSv1_3" else None
        yield over_https(name, handshake, tls_port(wants), cause=cause)
    yield over_https("TLS: says goodbye at once", everywhere(Reason.HTTP_RESET), tls_port(tls(), GOODBYE))
    yield over_https("TLS: ends without goodbye", everywhere(UP), tls_port(tls(), READ_HEAD, send(message(_OK))))
    for banner in ("220 mail.corp.example ESMTP\r\n", "SSH-2.0-OpenSSH_9.2\r\n"):
        name = f"TLS: {banner.split()[0].partition('-')[0]} banner in plain text"
        yield over_https(name, handshake, tls_port(send(banner), READ), cause=Cause.PLAIN_TEXT)
    # A filter that does not inspect shows its page to whoever expects TLS.
    page = message(f"HTTP/1.1 403 Forbidden\nServer: Barracuda/NGFirewall\n{_HTML}", "<html><h1>Blocked</h1></html>")
    yield over_https("TLS: block page in plain text", everywhere(Reason.HTTP_BLOCKED), tls_port(READ, send(page)))


def certificates() -> Iterator[Fault]:
    untrusted, expired = everywhere(Reason.TLS_UNTRUSTED), everywhere(Reason.TLS_EXPIRED)
    # An authority of one's own that RFC 5280 would not have, and that clients accept.
    lax: dict[str, tuple[Shape, Shape]] = {
        "authority not marked critical": (Shape(critical=False), PLAIN),
        "no authority key identifier": (PLAIN, Shape(authority_identifier=False)),
        "no subject key identifier": (Shape(subject_identifier=False), Shape(subject_identifier=False)),
        "no identifiers, nothing critical": (_LAX, _LAX),
    }
    for name, (of_authority, of_leaf) in lax.items():
        yield from _own_authority(f"certificate: {name}", everywhere(UP), of_authority, of_leaf)
    yield from _own_authority(
        "certificate: only the root has expired", expired, PLAIN, PLAIN, OVER, Cause.OUTDATED_ROOTS
    )

    # The path that verifies counts, whatever else was sent.
    yield over_https("certificate: expired cross-sign beside", everywhere(UP), _presents(_cross_signed))
    yield over_https("certificate: chain in wrong order", everywhere(UP), _presents(_disordered))
    yield over_https("certificate: chain twice, and the root", everywhere(UP), _presents(_doubled))
    yield over_https("certificate: strangers in the chain", everywhere(UP), _presents(_with_strangers))
    lacks = _presents(lambda lab, host: leaf(host, lab.issuer, shape=_AIA).removesuffix(lab.issuer.chain))
    yield over_https(
        "certificate: intermediate missing, to be fetched", untrusted, lacks, chain=Chain.UNTOLD, cause=_LACKS
    )

    # A trusted chain, of a certificate that is not fit for this.
    purpose = Shape(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    yield over_https("certificate: for clients only", untrusted, _leaf(purpose), cause=Cause.WRONG_PURPOSE)
    yield over_https(
        "certificate: RSA key of 1024 bits", untrusted, _presents(_short_key, tls()), cause=Cause.WEAK_CERTIFICATE
    )
    forbidden = _presents(_constrained("corp.example"))
    yield over_https("certificate: name constraints forbid it", untrusted, forbidden, cause=Cause.NAME_CONSTRAINTS)
    yield over_https(
        "certificate: name constraints permit it", everywhere(UP), _presents(_constrained("fault.example"))
    )
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
    critical = _leaf(Shape(extensions=[(unknown, True)]))
    yield over_https("certificate: unknown critical extension", untrusted, critical, cause=Cause.UNFIT_CERTIFICATE)
    yield over_https("certificate: unknown extension", everywhere(UP), _leaf(Shape(extensions=[(unknown, False)])))

    yield over_https("certificate: ended three hours ago", expired, _leaf(PLAIN, (-90, -3 / 24)))
    yield over_https(
        "certificate: begins in 40 minutes", expired, _leaf(PLAIN, (40 / 24 / 60, 90)), cause=Cause.NOT_YET_VALID
    )
    yield over_https("certificate: ends in 40 minutes", everywhere(UP), _leaf(PLAIN, (-90, 40 / 24 / 60)))


def odd_certificates() -> Iterator[Fault]:
    # What OpenSSL takes and a library that reads certificates may not.
    odd: dict[str, Callable[[list[Field]], list[Field]]] = {
        "negative serial number": _serial(b"\x85"),
        "serial number zero": _serial(b"\x00"),
        "serial number of 30 bytes": _serial(b"\x7f" * 30),
        "version 1": _version_1,
        "valid until 9999": _until(der(0x18, b"99991231235959Z")),
        "date in the long form": _until(der(0x18, _in_a_year())),
        "name in Latin-1": _subject(der(0x14, "Büro".encode("latin-1"))),
        "name in UTF-16": _subject(der(0x1E, "Büro".encode("utf-16-be"))),
        "name with a zero byte": _subject(der(0x0C, b"a\0b")),
    }
    for name, change in odd.items():
        yield over_https(f"certificate: {name}", everywhere(UP), _leaf(Shape(fields=change)))
    many = [x509.DNSName(f"h{number}.other.example") for number in range(1000)]
    yield over_https("certificate: 1000 names", everywhere(UP), _presents(_named(many)))
    yield over_https("certificate: name with a wildcard", everywhere(UP), _presents(_named([_WILDCARD], own=False)))
    yield over_https("certificate: only a common name", everywhere(UP), _presents(_common_name_only))
    mismatch = everywhere(Reason.TLS_HOSTNAME_MISMATCH)
    wide = x509.DNSName("*.example")
    yield over_https("certificate: wildcard of another level", mismatch, _presents(_named([wide], own=False)))


# ---------------------------------------------------------------- how it is made

_LACKS = Cause.MISSING_INTERMEDIATE
_OK = "HTTP/1.1 200 OK"
_HTML = "Content-Type: text/html"
_LAX = Shape(critical=False, authority_identifier=False, subject_identifier=False)
_WILDCARD = x509.DNSName("*.fault.example")
_FETCHED_FROM = x509.AccessDescription(
    AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://aia.corp.example/issuing.crt")
)
_AIA = Shape(extensions=[(x509.AuthorityInformationAccess([_FETCHED_FROM]), False)])

_SUPPORTED_VERSIONS = "\x00\x2b\x00"  # how the extension begins by which a client offers TLS 1.3 (RFC 8446, 4.2.1)

Make = Callable[[Lab, str], bytes]  # key, certificate and chain as PEM


def _presents(make: Make, *script: Step) -> Inject:
    """The host has this certificate; by a script, it shakes hands so and answers."""

    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        with lab.present(host, make(lab, host)):
            if not script:
                yield
                return
            with lab.script(host, 443, (*script, READ_HEAD, send(message(_OK)))):
                yield

    return inject


def _leaf(shape: Shape, lifetime: Lifetime = (-1, 90)) -> Inject:
    return _presents(lambda lab, host: leaf(host, lab.issuer, lifetime, shape))


def _without_1_3(then: Step) -> Inject:
    """Whoever offers TLS 1.3 gets this; others the server, by TLS 1.2."""

    @contextmanager
    def inject(lab: Lab, host: str) -> Iterator[None]:
        onward = relay(lab.address_of[host], 443, said=True)
        with (
            lab.serve(host, "ssl_protocols TLSv1.2; location / { return 200; }"),
            lab.script(host, 443, (READ, when_said(_SUPPORTED_VERSIONS, (then,), (onward,)))),
        ):
            yield

    return inject


def _rsa(handshake: Step) -> Inject:
    return _presents(lambda lab, host: leaf(host, lab.issuer, shape=Shape(key=rsa_key())), handshake)


def _short_key(lab: Lab, host: str) -> bytes:
    return leaf(host, lab.issuer, shape=Shape(key=rsa_key(1024)))


def _own_authority(
    name: str,
    expected: Expected,
    of_authority: Shape,
    of_leaf: Shape,
    lifetime: Lifetime = LONG,
    cause: Cause | None = None,
) -> Iterator[Fault]:
    """The host's certificate is by an authority that the exporter is told to trust."""
    file = "".join(letter if letter.isalnum() else "-" for letter in name) + ".pem"

    def inject(lab: Lab, host: str) -> AbstractContextManager[None]:
        own = authority(name, lifetime=lifetime, shape=of_authority)
        lab.keep(file, own.pem)
        return lab.present(host, leaf(host, own, shape=of_leaf))

    yield over_https(name, expected, inject, trusts=file, chain=Chain.PRIVATE, cause=cause)


def _cross_signed(lab: Lab, host: str) -> bytes:
    """As when a public root was new: an older one, expired by now, vouches for it."""
    root = _root(lab)
    name = root.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    older = authority("Older Root CA", lifetime=OVER)
    return leaf(host, lab.issuer) + authority(str(name), older, OVER, Shape(key=root.key)).pem


def _disordered(lab: Lab, host: str) -> bytes:
    one = authority("Issuing CA 1", _root(lab))
    two = authority("Issuing CA 2", one)
    three = authority("Issuing CA 3", two)
    return leaf(host, three).removesuffix(three.chain) + one.pem + three.pem + two.pem


def _doubled(lab: Lab, host: str) -> bytes:
    made = leaf(host, lab.issuer)
    begin = made.index(b"-----BEGIN CERTIFICATE")
    return made + made[begin:] + _root(lab).pem


def _with_strangers(lab: Lab, host: str) -> bytes:
    return leaf(host, lab.issuer) + authority("Stranger 1").pem + authority("Stranger 2", lifetime=OVER).pem


def _with_its_root(_lab: Lab, host: str) -> bytes:
    root = authority("Corporate Root CA")
    return leaf(host, root) + root.pem


def _root(lab: Lab) -> Authority:
    assert lab.issuer.above is not None
    return lab.issuer.above


def _constrained(domain: str) -> Make:
    def make(lab: Lab, host: str) -> bytes:
        constraints = x509.NameConstraints([x509.DNSName(domain)], None)
        return leaf(host, authority(f"CA for {domain}", _root(lab), shape=Shape(extensions=[(constraints, True)])))

    return make


def _named(names: Sequence[x509.GeneralName], *, own: bool = True) -> Make:
    return lambda lab, host: leaf(host, lab.issuer, shape=Shape(names=[*names, *([x509.DNSName(host)] * own)]))


def _common_name_only(lab: Lab, host: str) -> bytes:
    return leaf(host, lab.issuer, shape=Shape(fields=_without_names))


# ---------------------------------------------------------------- parts of a certificate, in their order

_SERIAL, _VALIDITY, _SUBJECT, _EXTENSIONS = 1, 4, 5, 7
_SUBJECT_ALTERNATIVE_NAME = bytes([0x06, 0x03, 0x55, 0x1D, 0x11])
_ORGANIZATION = bytes([0x06, 0x03, 0x55, 0x04, 0x0A])


def _serial(number: bytes) -> Callable[[list[Field]], list[Field]]:
    return lambda parts: _with(parts, _SERIAL, der(0x02, number))


def _version_1(parts: list[Field]) -> list[Field]:
    return parts[_SERIAL:_EXTENSIONS]  # without the version, which is 1 where it is not said


def _until(last: Field) -> Callable[[list[Field]], list[Field]]:
    return lambda parts: _with(parts, _VALIDITY, der(0x30, fields(parts[_VALIDITY])[0], last))


def _in_a_year() -> bytes:
    now = datetime.now(UTC)
    return f"{now.year + 1}{now:%m}01000000Z".encode()


def _subject(name: Field) -> Callable[[list[Field]], list[Field]]:
    """An organization of this name, before the common name."""
    organization = der(0x31, der(0x30, _ORGANIZATION, name))
    return lambda parts: _with(parts, _SUBJECT, der(0x30, organization, *fields(parts[_SUBJECT])))


def _without_names(parts: list[Field]) -> list[Field]:
    (extensions,) = fields(parts[_EXTENSIONS])
    kept = [extension for extension in fields(extensions) if _SUBJECT_ALTERNATIVE_NAME not in extension]
    return _with(parts, _EXTENSIONS, der(0xA3, der(0x30, *kept)))


def _with(parts: list[Field], place: int, part: Field) -> list[Field]:
    return [*parts[:place], part, *parts[place + 1 :]]
