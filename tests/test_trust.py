"""Which TLS and which certificates the exporter takes, and what it says of those that it does not: real handshakes."""

from __future__ import annotations

import hashlib
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from exporter.model.authorities import Authorities
from exporter.model.vocabulary import Cause, CheckKey, Probing, Proxy, Reason, Result, Root, Target, TlsSettings, Trust
from exporter.probe.net import certificates, verifying
from exporter.probe.runner import Network, run_check
from tests.issuing import (
    LONG,
    OVER,
    Issued,
    diffie_hellman,
    field,
    issue,
    parts,
    presenting,
    rsa_key,
    trusting,
)
from tests.lab.pki import ECDSA_WITH_SHA1
from tests.lab.pki import der as tlv
from tests.servers import serving, status

pytestmark = pytest.mark.anyio


async def ask(server: ssl.SSLContext, client: ssl.SSLContext) -> Result:
    """Probe a server of this context by a client of that one."""
    with serving(status(200), tls=server) as found:
        key = CheckKey(Target(found.url("https", host="localhost")))
        return await run_check(key, Network(client), Probing(timeout=10, attempts=1))


@pytest.fixture(scope="module")
def root() -> Issued:
    return issue("Corp Root", ca=True, days=LONG)


@pytest.fixture(scope="module")
def issuing(root: Issued) -> Issued:
    return issue("Corp Issuing CA", root, ca=True, days=LONG)


@pytest.fixture
def public(root: Issued, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issued]:
    """The root, as one of Mozilla's list."""
    listed = certifi.contents() + root.pem.decode()
    monkeypatch.setattr(certifi, "contents", lambda: listed)
    forget()
    yield root
    forget()


def forget() -> None:
    certificates.forget()


# ---------------------------------------------------------------- no stricter than the network

MISSING = ["critical", "subject key identifier", "authority key identifier", "key usage"]


@pytest.mark.parametrize("lacks", MISSING)
@pytest.mark.parametrize("which", ["root", "intermediate", "leaf"])
async def test_what_only_a_strict_reading_asks_for_may_be_missing(lacks: str, which: str, tmp_path: Path) -> None:
    def of(one: str) -> tuple[str, ...]:
        return (lacks,) if one == which else ()

    top = issue("Inspect Root", ca=True, lacks=of("root"), days=LONG)
    middle = issue("Inspect CA", top, ca=True, lacks=of("intermediate"), days=LONG)
    leaf = issue("localhost", middle, lacks=of("leaf"))
    assert (await ask(presenting(leaf, middle), trusting(tmp_path, top))).up


async def test_an_authority_that_lacks_all_of_it_may_still_be_trusted(tmp_path: Path) -> None:
    top = issue("Inspect Root", ca=True, lacks=MISSING)
    assert (await ask(presenting(issue("localhost", top, lacks=MISSING)), trusting(tmp_path, top))).up


async def test_an_authority_below_a_root_may_be_trusted_by_itself(
    tmp_path: Path, root: Issued, issuing: Issued
) -> None:
    client = trusting(tmp_path, issuing)
    result = await ask(presenting(issue("localhost", issuing)), client)
    assert result.up
    assert result.evidence.tls
    assert result.evidence.tls.leads_to is Root.PRIVATE
    assert not (await ask(presenting(issue("localhost", root)), client)).up


def test_a_context_does_not_depend_on_the_defaults_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = ssl.create_default_context

    def stricter(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = usual(*args, **kwargs)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_flags &= ~ssl.VERIFY_X509_PARTIAL_CHAIN
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_ciphers("ECDHE+AESGCM")
        return context

    found = []
    for default in (usual, stricter):
        monkeypatch.setattr(ssl, "create_default_context", default)
        context = verifying(TlsSettings())
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        ciphers = [cipher["name"] for cipher in context.get_ciphers()]
        found.append((context.minimum_version, context.maximum_version, context.security_level, ciphers))
    assert found[0] == found[1]
    assert found[0][:3] == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MAXIMUM_SUPPORTED, 2)


@pytest.mark.parametrize(
    "suite",
    [
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA256",
        "ECDHE-RSA-AES256-SHA",
        "ECDHE-RSA-AES128-SHA256",
        "DHE-RSA-AES128-SHA",
        "DHE-RSA-AES256-SHA256",
    ],
)
async def test_suites_that_windows_offers_are_offered(suite: str, tmp_path: Path, root: Issued) -> None:
    server = presenting(issue("localhost", root, key=rsa_key(2048)), ciphers=suite)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.load_dh_params(diffie_hellman(tmp_path, "ffdhe2048"))
    result = await ask(server, trusting(tmp_path, root))
    assert result.up
    assert result.evidence.tls
    assert result.evidence.tls.protocol == "TLSv1.2"


async def test_a_server_without_secure_renegotiation_is_taken(tmp_path: Path, root: Issued) -> None:
    """Its hello has no extension at all; that the client goes on is seen by what it hears next."""
    hello = b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00"
    message = b"\x02" + len(hello).to_bytes(3, "big") + hello
    denied = b"\x15\x03\x03\x00\x02\x02\x31"

    def talk(connection: Any) -> None:
        connection.recv(4096)
        connection.sendall(b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message + denied)
        connection.recv(4096)

    with serving(talk) as found:
        key = CheckKey(Target(found.url("https", host="localhost")))
        result = await run_check(key, Network(trusting(tmp_path, root)), Probing(timeout=10, attempts=1))
    assert result.failure
    assert result.failure.message == "the other side refuses: access denied"


@pytest.mark.parametrize(
    ("suite", "to_target", "to_proxy"), [("AES256-SHA", True, False), ("ECDHE+AESGCM", True, True)]
)
async def test_tls_to_a_proxy_is_of_today(
    suite: str, to_target: bool, to_proxy: bool, tmp_path: Path, root: Issued
) -> None:
    """It may carry a password."""
    trusted = trusting(tmp_path, root)
    strict = verifying(TlsSettings(str(tmp_path / "ca.pem")), with_secrets=True)
    server = presenting(issue("localhost", root, key=rsa_key(2048)), ciphers=suite)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(status(200), tls=server) as found:
        url = found.url("https", host="localhost")
        network = Network(trusted, {"p": Proxy("p", url)}, proxy_context=strict)
        once = Probing(timeout=10, attempts=1)
        assert (await run_check(CheckKey(Target(url)), network, once)).up == to_target
        through = await run_check(CheckKey(Target("http://never.example/"), "p"), network, once)
    assert through.up == to_proxy
    if through.failure:
        assert (through.failure.reason, through.failure.cause) == (Reason.PROXY_UNREACHABLE, Cause.STRICTER_CLIENT)
    assert not strict.options & 0x4  # servers without RFC 5746
    assert trusted.options & 0x4


# ---------------------------------------------------------------- where the exporter is the stricter one


def only(version: ssl.TLSVersion, server: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of old versions of TLS, which are meant
        server.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        server.maximum_version = version
    return server


@pytest.mark.parametrize(("version", "name"), [(ssl.TLSVersion.TLSv1, "TLSv1"), (ssl.TLSVersion.TLSv1_1, "TLSv1.1")])
async def test_a_server_with_old_tls_only_is_told_as_that(
    version: ssl.TLSVersion, name: str, tmp_path: Path, root: Issued
) -> None:
    result = await ask(only(version, presenting(issue("localhost", root))), trusting(tmp_path, root))
    assert result.failure
    assert result.failure.reason is Reason.TLS_HANDSHAKE
    assert result.failure.cause is Cause.OLD_TLS
    assert f"a client that refuses nothing, and offers no TLS 1.3, agrees on {name} with" in result.failure.message


async def test_a_short_diffie_hellman_key_is_told_as_the_exporters_own_strictness(tmp_path: Path, root: Issued) -> None:
    server = presenting(issue("localhost", root, key=rsa_key(2048)), ciphers="DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    server.load_dh_params(diffie_hellman(tmp_path, "modp_1536"))
    result = await ask(server, trusting(tmp_path, root))
    assert result.failure
    assert result.failure.reason is Reason.TLS_HANDSHAKE
    assert result.failure.cause is Cause.STRICTER_CLIENT
    assert result.failure.message.startswith("dh key too small; a client that refuses nothing, and offers no TLS 1.3,")


async def test_a_server_that_nobody_agrees_with_is_not_called_old(tmp_path: Path, root: Issued) -> None:
    server = presenting(issue("localhost", root), ciphers="AES128-SHA")  # for RSA keys, which it has not
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    result = await ask(server, trusting(tmp_path, root))
    assert result.failure
    assert result.failure.reason is Reason.TLS_HANDSHAKE
    assert result.failure.cause is None
    assert result.failure.message == "the other side refuses: handshake failure"


# ---------------------------------------------------------------- what is wrong, in words

Made = Callable[[Issued, Issued], tuple[Issued, ...]]  # of the root and an authority below it: what is presented


def _constrained(root: Issued, names: x509.NameConstraints) -> Issued:
    return issue("Constrained CA", root, ca=True, days=LONG, more=[(names, True)])


def _below(authority: Issued) -> tuple[Issued, ...]:
    return issue("localhost", authority), authority


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.7"), b"\x05\x00")

UNFIT: dict[str, tuple[Made, Reason, Cause | None, str]] = {
    "short key": (
        lambda _, by: (issue("localhost", by, key=rsa_key(1024)), by),
        Reason.TLS_UNTRUSTED,
        Cause.WEAK_CERTIFICATE,
        "EE certificate key too weak: CN=localhost, an RSA key of 1024 bits",
    ),
    "short key above": (
        lambda root, _: _below(issue("Short CA", root, ca=True, days=LONG, key=rsa_key(1024))),
        Reason.TLS_UNTRUSTED,
        Cause.WEAK_CERTIFICATE,
        "CN=Short CA, an RSA key of 1024 bits",
    ),
    "old hash": (
        lambda _, by: (issue("localhost", by, edit=field(2, lambda *_: ECDSA_WITH_SHA1)), by),
        Reason.TLS_UNTRUSTED,
        Cause.WEAK_CERTIFICATE,
        "CN=localhost, signed with SHA-1",
    ),
    "for clients": (
        lambda _, by: (issue("localhost", by, usage=Usage.CLIENT_AUTH), by),
        Reason.TLS_UNTRUSTED,
        Cause.WRONG_PURPOSE,
        "unsuitable certificate purpose",
    ),
    "other names permitted": (
        lambda root, _: _below(_constrained(root, x509.NameConstraints([x509.DNSName("corp.example")], None))),
        Reason.TLS_UNTRUSTED,
        Cause.NAME_CONSTRAINTS,
        "permitted subtree violation",
    ),
    "the name excluded": (
        lambda root, _: _below(_constrained(root, x509.NameConstraints(None, [x509.DNSName("localhost")]))),
        Reason.TLS_UNTRUSTED,
        Cause.NAME_CONSTRAINTS,
        "excluded subtree violation",
    ),
    "no authority": (
        lambda root, _: _below(issue("No CA", root, days=LONG)),
        Reason.TLS_UNTRUSTED,
        Cause.UNFIT_CERTIFICATE,
        "invalid CA certificate",
    ),
    "path too long": (
        lambda root, _: _too_long(root),
        Reason.TLS_UNTRUSTED,
        Cause.UNFIT_CERTIFICATE,
        "path length constraint exceeded",
    ),
    "critical and unknown": (
        lambda _, by: (issue("localhost", by, more=[(UNKNOWN, True)]), by),
        Reason.TLS_UNTRUSTED,
        Cause.UNFIT_CERTIFICATE,
        "unhandled critical extension",
    ),
    "another key of that name": (
        lambda root, _: _of_namesake(root),
        Reason.TLS_UNTRUSTED,
        Cause.UNFIT_CERTIFICATE,
        "certificate signature failure",
    ),
    "expired": (
        lambda _, by: (issue("localhost", by, days=OVER), by),
        Reason.TLS_EXPIRED,
        None,
        "certificate has expired: CN=localhost",
    ),
    "expired above": (
        lambda root, _: _below(issue("Old CA", root, ca=True, days=OVER)),
        Reason.TLS_EXPIRED,
        None,
        "certificate has expired: CN=Old CA, at depth 1",
    ),
    "too early": (
        lambda _, by: (issue("localhost", by, days=(0.03, 90)), by),
        Reason.TLS_EXPIRED,
        Cause.NOT_YET_VALID,
        "certificate is not yet valid: CN=localhost",
    ),
    "other name": (
        lambda _, by: (issue("elsewhere.example", by), by),
        Reason.TLS_HOSTNAME_MISMATCH,
        None,
        "Hostname mismatch, certificate is not valid for 'localhost'.",
    ),
}


def _too_long(root: Issued) -> tuple[Issued, ...]:
    limit = [(x509.BasicConstraints(ca=True, path_length=0), True)]
    first = issue("First CA", root, ca=True, days=LONG, lacks=["basic constraints"], more=limit)
    second = issue("Second CA", first, ca=True, days=LONG)
    return issue("localhost", second), second, first


def _of_namesake(root: Issued) -> tuple[Issued, ...]:
    again = issue(root.certificate.subject.rfc4514_string().removeprefix("CN="), ca=True, days=LONG)
    return (issue("localhost", again, lacks=["authority key identifier"]),)


@pytest.mark.parametrize("what", UNFIT)
async def test_what_is_wrong_with_a_chain_is_told(what: str, tmp_path: Path, root: Issued, issuing: Issued) -> None:
    made, reason, cause, message = UNFIT[what]
    result = await ask(presenting(*made(root, issuing)), trusting(tmp_path, root))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (reason, cause)
    assert message in result.failure.message
    assert "[SSL" not in result.failure.message
    assert "_ssl.c" not in result.failure.message
    assert result.evidence.tls
    assert result.evidence.tls.chain[0].subject is not None
    assert result.evidence.tls.protocol == "TLSv1.3"
    assert not result.evidence.tls.verified


async def test_an_expired_root_of_this_machine_is_told_as_that(tmp_path: Path) -> None:
    old = issue("Old Root X3", ca=True, days=(-4000, -20))
    new = issue("New Root X1", ca=True, days=LONG)
    cross = issue("New Root X1", old, ca=True, days=LONG, key=new.key)
    issuing = issue("Issuing CA", new, ca=True, days=LONG)
    result = await ask(presenting(issue("localhost", issuing), issuing, cross), trusting(tmp_path, old))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.TLS_EXPIRED, Cause.OUTDATED_ROOTS)
    assert result.failure.message == (
        "certificate has expired: CN=Old Root X3, at depth 3, from this machine's trust and not sent by the server"
    )
    assert result.evidence.tls
    assert result.evidence.tls.not_after == old.certificate.not_valid_after_utc.timestamp()
    assert result.evidence.tls.presented_not_after
    assert result.evidence.tls.presented_not_after > result.started


async def test_an_expired_root_that_the_server_sends_is_not_this_machines(tmp_path: Path) -> None:
    old = issue("Old Root X3", ca=True, days=(-4000, -20))
    result = await ask(presenting(issue("localhost", old), old), trusting(tmp_path, old))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.TLS_EXPIRED, None)


# ---------------------------------------------------------------- what is missing, and whether TLS is inspected


async def test_a_missing_intermediate_is_told_by_its_name_and_is_no_inspection(
    tmp_path: Path, public: Issued, issuing: Issued
) -> None:
    leaf = issue("localhost", issuing, aia="http://crt.public.example/ca.crt")
    result = await ask(presenting(leaf), trusting(tmp_path, public))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.TLS_UNTRUSTED, Cause.MISSING_INTERMEDIATE)
    assert result.failure.message == (
        "unable to get local issuer certificate: CN=Corp Issuing CA was not sent, "
        "to be fetched at http://crt.public.example/ca.crt"
    )
    assert result.evidence.tls
    assert result.evidence.tls.intercepted(Trust.PUBLIC) is None


async def test_the_second_of_two_intermediates_may_be_the_missing_one(
    tmp_path: Path, public: Issued, issuing: Issued
) -> None:
    lower = issue("Lower CA", issuing, ca=True, days=LONG)
    result = await ask(presenting(issue("localhost", lower), lower), trusting(tmp_path, public))
    assert result.failure
    assert result.failure.cause is Cause.MISSING_INTERMEDIATE
    assert "CN=Corp Issuing CA was not sent" in result.failure.message
    assert result.evidence.tls
    assert result.evidence.tls.intercepted(Trust.PUBLIC) is None


async def test_a_public_root_that_this_machine_lacks_is_told_as_that(
    tmp_path: Path, public: Issued, issuing: Issued
) -> None:
    assert public
    result = await ask(presenting(issue("localhost", issuing), issuing), trusting(tmp_path, issue("Other", ca=True)))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.TLS_UNTRUSTED, Cause.MISSING_ROOT)
    assert "CN=Corp Root is not among this machine's roots" in result.failure.message
    assert result.evidence.tls
    assert result.evidence.tls.intercepted(Trust.PUBLIC) is False


@pytest.mark.parametrize("fault", ["none", "expired", "other name"])
async def test_an_inspecting_device_that_sends_its_leaf_alone_is_known_by_the_operators_ca_file(
    fault: str, tmp_path: Path, root: Issued
) -> None:
    days, name = (
        (OVER if fault == "expired" else (-1.0, 90.0)),
        "other.example" if fault == "other name" else "localhost",
    )
    result = await ask(presenting(issue(name, root, days=days)), trusting(tmp_path, root))
    assert result.up == (fault == "none")
    assert result.evidence.tls
    assert result.evidence.tls.intercepted(Trust.PUBLIC) is True


async def test_an_unknown_root_that_is_sent_tells_of_inspection(tmp_path: Path, root: Issued, issuing: Issued) -> None:
    for sent in ((issue("localhost", issuing), issuing, root), (issue("localhost", root), root), (issue("localhost"),)):
        result = await ask(presenting(*sent), trusting(tmp_path, issue("Other", ca=True)))
        assert result.failure
        assert (result.failure.reason, result.failure.cause) == (Reason.TLS_UNTRUSTED, None)
        assert result.evidence.tls
        assert result.evidence.tls.intercepted(Trust.PUBLIC) is True


async def test_a_name_makes_no_authority_public_that_was_verified_otherwise(tmp_path: Path) -> None:
    borrowed = issue("DigiCert Inspection CA", ca=True)
    result = await ask(presenting(issue("localhost", borrowed)), trusting(tmp_path, borrowed))
    assert result.up
    assert result.evidence.tls
    assert result.evidence.tls.leads_to is Root.PRIVATE


async def test_a_public_root_that_no_path_leads_to_proves_nothing(tmp_path: Path, public: Issued) -> None:
    inspector = issue("Inspection CA", ca=True)
    result = await ask(presenting(issue("localhost", inspector), public), trusting(tmp_path, inspector))
    assert result.up
    assert result.evidence.tls
    assert result.evidence.tls.leads_to is Root.PRIVATE


# ---------------------------------------------------------------- when the path ends


async def test_the_end_is_that_of_the_path_that_verified(tmp_path: Path, public: Issued, issuing: Issued) -> None:
    old = issue("Old Root X3", ca=True, days=(-4000, -20))
    cross = issue("Corp Root", old, ca=True, days=(-4000, -20), key=public.key)
    leaf = issue("localhost", issuing)
    result = await ask(presenting(leaf, issuing, cross), trusting(tmp_path, public))
    assert result.up
    tls = result.evidence.tls
    assert tls
    assert tls.verified
    assert tls.not_after == leaf.certificate.not_valid_after_utc.timestamp()
    assert tls.presented_not_after == cross.certificate.not_valid_after_utc.timestamp()
    assert [one.subject for one in tls.path] == ["CN=localhost", "CN=Corp Issuing CA", "CN=Corp Root"]
    assert [tls.was_sent(one) for one in tls.path] == [True, True, False]


async def test_a_root_of_this_machine_that_ends_first_is_the_end(tmp_path: Path) -> None:
    top = issue("Ending Root", ca=True, days=(-400, 5))
    result = await ask(presenting(issue("localhost", top)), trusting(tmp_path, top))
    assert result.up
    assert result.evidence.tls
    assert result.evidence.tls.not_after == top.certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize(("first", "trusted"), [("One", "both"), ("Two", "both"), ("One", "One"), ("Two", "Two")])
async def test_of_several_paths_the_one_that_was_taken_counts(first: str, trusted: str, tmp_path: Path) -> None:
    roots = {"One": issue("One Root", ca=True, days=LONG), "Two": issue("Two Root", ca=True, days=(-400, 7))}
    key = rsa_key(2048)
    crossed = {name: issue("Issuing CA", by, ca=True, days=LONG, key=key) for name, by in roots.items()}
    leaf, second = issue("localhost", crossed[first]), "Two" if first == "One" else "One"
    server = presenting(leaf, crossed[first], crossed[second])
    result = await ask(server, trusting(tmp_path, *(roots.values() if trusted == "both" else [roots[trusted]])))
    assert result.up
    tls = result.evidence.tls
    assert tls
    assert tls.path[-1].subject == f"CN={first} Root"
    assert tls.not_after == (leaf if first == "One" else roots["Two"]).certificate.not_valid_after_utc.timestamp()


# ---------------------------------------------------------------- odd certificates

BOOLEAN = b"\x01\x01\xff"


def _serial(content: bytes) -> Callable[[bytes], bytes]:
    return field(1, lambda tag, _: tlv(tag, content))


def _validity(begins: bytes, ends: bytes) -> Callable[[bytes], bytes]:
    return field(4, lambda tag, _: tlv(tag, begins + ends))


ODD: dict[str, Callable[[bytes], bytes]] = {
    "negative serial": _serial(b"\xcf\xc7"),
    "serial zero": _serial(b"\x00"),
    "huge serial": _serial(b"\x01" + bytes(199)),
    "true that is not all ones": lambda signed: signed.replace(BOOLEAN, b"\x01\x01\x01"),
    "no end": _validity(tlv(0x17, b"200101000000Z"), tlv(0x18, b"99991231235959Z")),
    "begins in 1940": _validity(tlv(0x18, b"19400101000000Z"), tlv(0x17, b"490101000000Z")),
    "version 2": field(0, lambda tag, _: tlv(tag, b"\x02\x01\x01")),
    "version 9": field(0, lambda tag, _: tlv(tag, b"\x02\x01\x08")),
    "no subject": field(5, lambda tag, _: tlv(tag, b"")),
    "subject that is no text": field(
        5, lambda tag, _: tlv(tag, tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x03" + tlv(0x0C, b"\xff\xfe"))))
    ),
    "subject in 16 bits": field(
        5, lambda tag, _: tlv(tag, tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x03" + tlv(0x1E, b"\x00l\x00o")))),
    ),
    "huge subject": field(
        5,
        lambda tag, _: tlv(
            tag, b"".join(tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x0b" + tlv(0x0C, b"x" * 60))) for _ in range(500))
        ),
    ),
    "doubled extension": field(
        7, lambda tag, content: tlv(tag, tlv(0x30, parts(content)[0][1] + tlv(0x30, parts(parts(content)[0][1])[0][1])))
    ),
}  # fmt: skip


NOT_SERVED = {"subject that is no text", "doubled extension"}  # by OpenSSL as a server; others may


@pytest.mark.parametrize("what", ODD)
def test_an_odd_certificate_hides_no_other(what: str, root: Issued, issuing: Issued) -> None:
    """Warnings are errors here."""
    odd = issue("localhost", issuing, edit=ODD[what])
    for place in range(3):
        sent = [issuing.der, root.der]
        sent.insert(place, odd.der)
        tls = certificates.facts(certificates.Shown(tuple(sent), "TLSv1.3"))
        assert [one.subject for i, one in enumerate(tls.chain) if i != place] == ["CN=Corp Issuing CA", "CN=Corp Root"]
        assert tls.chain[place].size == len(odd.der)
        assert tls.chain[place].sha256 == hashlib.sha256(odd.der).hexdigest()
        assert len(tls.chain[place].subject or "") < 1100
        assert tls.leads_to in ({Root.PRIVATE, None} if place == 0 else {Root.PRIVATE})
        assert tls.not_after is not None


async def test_a_probe_knows_authorities_by_what_its_network_knows(tmp_path: Path, root: Issued) -> None:
    """Of the target, and of a proxy that is reached by TLS."""
    nowhere = issue("localhost", issue("Forgotten CA", issue("Far Root", ca=True), ca=True))
    known = Authorities(product_issuers=frozenset({"Forgotten CA"}))
    with serving(status(200), tls=presenting(nowhere)) as found:
        url = found.url("https", host="localhost")
        proxies = {"p": Proxy("p", url)}
        once = Probing(timeout=10, attempts=1)
        for authorities, leads_to in ((known, Root.MICROSOFT_PRODUCT), (Authorities(), None)):
            network = Network(trusting(tmp_path, root), proxies, authorities=authorities)
            target = await run_check(CheckKey(Target(url)), network, once)
            proxy = await run_check(CheckKey(Target("http://never.example/"), "p"), network, once)
            assert target.evidence.tls
            assert proxy.evidence.proxy_tls
            assert [target.evidence.tls.leads_to, proxy.evidence.proxy_tls.leads_to] == [leads_to] * 2


@pytest.mark.parametrize("where", ["leaf", "surplus"])
@pytest.mark.parametrize("what", sorted(ODD.keys() - NOT_SERVED))
async def test_an_odd_certificate_is_a_fact(
    what: str, where: str, tmp_path: Path, root: Issued, issuing: Issued
) -> None:
    """Warnings are errors here."""
    odd = issue("localhost", issuing, edit=ODD[what])
    sent = (odd, issuing) if where == "leaf" else (issue("localhost", issuing), issuing, odd)
    result = await ask(presenting(*sent), trusting(tmp_path, root))
    assert result.up or where == "leaf"
    assert result.failure is None or result.failure.reason is not Reason.INTERNAL_ERROR
    tls = result.evidence.tls
    assert tls
    assert tls.leads_to is Root.PRIVATE
    assert [one.size for one in tls.chain] == [len(one.der) for one in sent]
    assert tls.chain[1].subject == "CN=Corp Issuing CA"
    assert tls.not_after is not None
