"""What a chain tells of itself, and whether it leads to a public root."""

from __future__ import annotations

import itertools
import ssl
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import certifi
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exporter.model.vocabulary import Root, TlsFacts, TlsSettings, Trust
from exporter.probe.net import trusted_roots, verifying
from exporter.probe.net.certificates import ends_in, facts
from exporter.probe.net.required_roots import required_roots_present

ENDS = datetime(2040, 1, 1, tzinfo=UTC)
PRIME256V1, PRIME192V2 = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030102")


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """A name and a key that sign."""

    title: str
    key: ec.EllipticCurvePrivateKey

    def signs(self, other: Authority, ends: datetime = ENDS) -> x509.Certificate:
        """A certificate for another one, or for itself."""
        return (
            x509.CertificateBuilder()
            .issuer_name(name(self.title))
            .subject_name(name(other.title))
            .public_key(other.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(ends)
            .sign(self.key, hashes.SHA256())
        )


@cache
def authority(title: str) -> Authority:
    """One for each title; a title that ends in ' again' bears the same name with another key."""
    return Authority(title.removesuffix(" again"), ec.generate_private_key(ec.SECP256R1()))


ROOT, OTHER, MIDDLE, ISSUING, SERVER = map(authority, ("root", "other root", "middle", "issuing", "server.example"))
PUBLIC = ROOT.signs(ROOT)
PRIVATE = OTHER.signs(OTHER)
LEAF = ISSUING.signs(SERVER)
CHAIN = (LEAF, MIDDLE.signs(ISSUING), ROOT.signs(MIDDLE))


def der(*chain: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)


# ---------------------------------------------------------------- where the path leads


@pytest.mark.parametrize("above", list(itertools.permutations(CHAIN[1:])))
def test_a_chain_leads_to_its_root_in_whatever_order_it_comes(above: tuple[x509.Certificate, ...]) -> None:
    assert ends_in((LEAF, *above), [PRIVATE, PUBLIC])
    assert not ends_in((LEAF, *above), [PRIVATE])


@pytest.mark.parametrize("surplus", [PRIVATE, OTHER.signs(SERVER), OTHER.signs(MIDDLE), LEAF, PUBLIC])
def test_certificates_that_do_not_belong_to_the_path_change_nothing(surplus: x509.Certificate) -> None:
    for place in range(1, len(CHAIN) + 1):
        chain = (*CHAIN[:place], surplus, *CHAIN[place:])
        assert ends_in(chain, [PUBLIC])
        assert not ends_in(chain, [authority("stranger").signs(authority("stranger"))])


def test_a_missing_link_leads_nowhere() -> None:
    assert not ends_in((CHAIN[0], CHAIN[2]), [PUBLIC])
    assert not ends_in((CHAIN[0],), [PUBLIC])


def test_the_root_may_come_along() -> None:
    assert ends_in((*CHAIN, PUBLIC), [PUBLIC])
    assert not ends_in((*CHAIN, PUBLIC), [PRIVATE])


def test_a_root_that_serves_itself_is_its_own_path() -> None:
    assert ends_in((PUBLIC,), [PUBLIC])
    assert not ends_in((PRIVATE,), [PUBLIC])


def test_a_root_that_was_issued_anew_with_its_key_is_the_same_root() -> None:
    assert ends_in((*CHAIN, ROOT.signs(ROOT, ENDS + timedelta(days=1))), [PUBLIC])


def test_a_root_that_only_bears_the_name_of_a_public_one_is_not_it() -> None:
    impostor = authority("root again")
    chain = (impostor.signs(SERVER), impostor.signs(impostor))
    assert chain[1].subject == PUBLIC.subject
    assert not ends_in(chain, [PUBLIC])


@pytest.mark.parametrize("public_first", [False, True])
def test_a_cross_signed_issuer_leads_to_the_public_root_of_the_two(public_first: bool) -> None:
    crossed = [OTHER.signs(ISSUING), ROOT.signs(ISSUING)]
    chain = (LEAF, *(reversed(crossed) if public_first else crossed))
    assert ends_in(chain, [PUBLIC])
    assert ends_in(chain, [PRIVATE])
    assert not ends_in(chain, [authority("stranger").signs(authority("stranger"))])


def test_a_public_root_that_an_unknown_one_has_signed_too_is_still_public() -> None:
    assert ends_in((*CHAIN, OTHER.signs(ROOT)), [PUBLIC])


def test_issuers_that_signed_each_other_are_not_walked_for_ever() -> None:
    one, two = authority("one"), authority("two")
    chain = (one.signs(SERVER), two.signs(one), one.signs(two), one.signs(one))
    assert not ends_in(chain, [PUBLIC])


# ---------------------------------------------------------------- the facts


def test_a_public_root_decides_that_nobody_intercepts() -> None:
    pem, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    mozillas = x509.load_pem_x509_certificate((pem + end).encode())
    found = facts(der(mozillas), "TLSv1.3")
    assert found.leads_to is Root.PUBLIC
    assert found.chain[0].subject == mozillas.subject.rfc4514_string()
    assert found.not_after == mozillas.not_valid_after_utc.timestamp()


def test_a_chain_to_an_unknown_root_is_intercepted() -> None:
    inspection = trustme.CA()
    leaf = x509.load_pem_x509_certificate(inspection.issue_cert("go.microsoft.com").cert_chain_pems[0].bytes())
    root = x509.load_pem_x509_certificate(inspection.cert_pem.bytes())
    found = facts(der(leaf, root), "TLSv1.3")
    assert found.leads_to is Root.PRIVATE
    assert found.missing is None
    assert found.chain[0].issuer == root.subject.rfc4514_string()
    assert found.protocol == "TLSv1.3"


def test_a_chain_that_stops_at_an_issuer_that_nobody_knows_tells_nothing_of_interception() -> None:
    for chain in (CHAIN[:1], CHAIN[:2], CHAIN, (CHAIN[0], CHAIN[2], PRIVATE)):
        found = facts(der(*chain), "TLSv1.3")
        assert found.leads_to is None
    assert facts(der(*CHAIN), "TLSv1.3").missing == "CN=root"
    assert facts(der(CHAIN[0], CHAIN[2]), "TLSv1.3").missing == "CN=issuing"


def test_where_the_system_tells_no_path_the_one_that_lasts_longest_is_taken() -> None:
    early = datetime(2021, 5, 5, tzinfo=UTC)
    cross = OTHER.signs(ROOT, early)
    sent = (*CHAIN[:2], ROOT.signs(MIDDLE, early), CHAIN[2], cross)
    found = facts(der(*sent), "TLSv1.3", verified=True, known=der(PRIVATE, PUBLIC))
    assert [one.subject for one in found.path] == ["CN=server.example", "CN=issuing", "CN=middle", "CN=root"]
    assert found.not_after == ENDS.timestamp()
    assert found.presented_not_after == early.timestamp()
    assert found.leads_to is Root.PRIVATE
    assert not found.was_sent(found.path[-1])


def test_a_path_that_was_built_and_lacks_an_issuer_proves_nothing_though_the_system_verified_another() -> None:
    for sent in (CHAIN[:1], CHAIN[:2]):
        found = facts(der(*sent), "TLSv1.3", verified=True, known=der(PRIVATE))
        assert (found.leads_to, found.missing) == (None, f"CN={'issuing' if len(sent) == 1 else 'middle'}")
        assert found.intercepted(Trust.PUBLIC) is None


def test_a_certificate_that_cannot_be_read_proves_nothing_where_the_system_tells_no_path() -> None:
    found = facts((b"unreadable", *der(*CHAIN[1:], PUBLIC)), "TLSv1.3", verified=True, known=der(PUBLIC))
    assert (found.leads_to, found.missing) == (None, None)


@pytest.mark.parametrize("number", [40, 100])
def test_many_that_issued_each_other_do_not_take_for_ever(number: int) -> None:
    knot = [authority(f"knot {i}") for i in range(3)]
    tangled = [one.signs(other) for _ in range(number // 9 + 1) for one in knot for other in knot]
    assert facts(der(knot[0].signs(SERVER), *tangled[:number]), None).chain


@pytest.mark.parametrize("soonest", range(3))
def test_the_earliest_end_of_the_chain_counts(soonest: int) -> None:
    early = datetime(2031, 5, 5, tzinfo=UTC)
    signers = [(ISSUING, SERVER), (MIDDLE, ISSUING), (ROOT, MIDDLE)]
    chain = (signer.signs(signed, early if i == soonest else ENDS) for i, (signer, signed) in enumerate(signers))
    assert facts(der(*chain), None).not_after == early.timestamp()


@pytest.mark.parametrize(
    "bad",
    [b"", b"no DER", der(LEAF)[0][:-1], der(LEAF)[0] + b"x"],
    ids=["empty", "nonsense", "cut short", "too long"],
)
def test_a_certificate_that_cannot_be_read_is_shown_by_its_size_and_hides_no_other(bad: bytes) -> None:
    for chain in ((bad,), (bad, *der(*CHAIN)), (*der(*CHAIN), bad)):
        found = facts(chain, "TLSv1.2")
        assert [one.size for one in found.chain] == list(map(len, chain))
        assert [one.readable for one in found.chain] == [one != bad for one in chain]
        assert found.chain[chain.index(bad)].subject is None
        assert found.leads_to is None
        assert (found.not_after is None) == (len(chain) == 1)


def test_of_no_chain_only_the_protocol_is_known() -> None:
    assert facts((), "TLSv1.2") == TlsFacts("TLSv1.2")


def with_odd_key(certificate: x509.Certificate) -> bytes:
    """The same with a curve that cryptography does not know."""
    (readable,) = der(certificate)
    odd = readable.replace(PRIME256V1, PRIME192V2)
    assert odd != readable
    return odd


def test_a_key_that_cannot_be_read_is_no_issuer() -> None:
    assert facts((*der(LEAF), with_odd_key(ISSUING.signs(ISSUING))), "TLSv1.3").missing == "CN=issuing"


def test_a_root_is_itself_even_if_its_key_cannot_be_read() -> None:
    odd = x509.load_der_x509_certificate(with_odd_key(PUBLIC))
    assert ends_in((odd,), [odd])
    assert not ends_in((odd,), [PUBLIC])


# ---------------------------------------------------------------- the roots that the documents name


def test_the_roots_of_the_documents_are_found_by_their_fingerprints() -> None:
    trusted = ssl.create_default_context(cafile=certifi.where())
    assert required_roots_present(trusted.get_ca_certs(binary_form=True)) == {
        "DigiCert Global Root G2": True,
        "Baltimore CyberTrust Root": False,  # ended in 2025, and on no list any more
    }
    assert set(required_roots_present([]).values()) == {False}


def test_what_a_context_trusts_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trustme.CA()
    own.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    trusted = trusted_roots(verifying(TlsSettings(str(tmp_path / "own.pem")))) or []
    assert ssl.PEM_cert_to_DER_cert(own.cert_pem.bytes().decode()) in trusted
    assert required_roots_present(trusted)["DigiCert Global Root G2"]


def test_a_root_that_the_system_gets_later_is_trusted_without_another_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    own, context = trustme.CA(), verifying(TlsSettings())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, own)
    own.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    subprocess.run(["openssl", "rehash", tmp_path], check=True)
    shake_hands(context, own)


def test_a_bundle_that_cannot_be_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle.pem").write_text("garbage")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(verifying(TlsSettings()), trustme.CA())


def shake_hands(context: ssl.SSLContext, root: trustme.CA) -> None:
    """Between a client of this context and a server whose chain leads to `root` by an intermediate one."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    root.create_child_ca().issue_cert("host.example").configure_cert(serving)
    client = context.wrap_bio(to_client, to_server, server_hostname="host.example")
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version()


# ---------------------------------------------------------------- whose root it is


def named(subject: str, issuer: str) -> x509.Certificate:
    """A certificate whose issuer is known by its name only, as where the chain is not complete."""
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(ENDS)
        .sign(key, hashes.SHA256())
    )


@pytest.mark.parametrize(
    ("issuer", "root"),
    [
        ("Microsoft Update Secure Server CA 2.1", Root.MICROSOFT_PRODUCT),
        ("Microsoft ECC Update Secure Server CA 2.1", Root.MICROSOFT_PRODUCT),
        ("Microsoft Azure RSA TLS Issuing CA 03", Root.PUBLIC),
        ("DigiCert Global G2 TLS RSA SHA256 2020 CA1", Root.PUBLIC),
        ("Corp Inspection CA", None),
        ("Not Microsoft Update Secure Server CA 2.1", None),
    ],
)
def test_an_issuer_that_a_server_forgot_to_send_is_known_by_its_name(issuer: str, root: Root | None) -> None:
    assert facts(der(named("host.example", issuer)), "TLSv1.2").leads_to is root


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("Microsoft Root Certificate Authority 2011", Root.MICROSOFT_PRODUCT),
        ("DigiCert Inspection CA", Root.PRIVATE),
    ],
)
def test_a_root_that_is_at_hand_is_public_by_its_key_and_not_by_its_name(name: str, root: Root) -> None:
    above = authority(name)
    chain = der(above.signs(SERVER), above.signs(above))
    assert facts(chain, None).leads_to is root
    assert facts(chain[:1], None, chain, verified=True).leads_to is root
