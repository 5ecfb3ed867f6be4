"""What a chain tells of itself, and whether it leads to a public root."""

from __future__ import annotations

import itertools
import re
import ssl
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from unittest.mock import Mock

import certifi
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from exporter.config.authorities import load_authorities
from exporter.config.catalogue import shipped
from exporter.config.documents import DocumentError
from exporter.model.authorities import Authorities, RequiredRoot
from exporter.model.vocabulary import Root, TlsFacts, TlsSettings, Trust
from exporter.probe.net import certificates, trusted_roots, verifying
from exporter.probe.net.certificates import Shown
from exporter.probe.net.required_roots import required_roots_present
from tests.issuing import field, issue, parts, rsa_key
from tests.lab.pki import der as tlv

AUTHORITIES = load_authorities(shipped() / "vocabulary" / "authorities.yaml")
ROOTS = Path(__file__).parents[1] / "config" / "windows" / "code-signing-roots.pem"
TRUE = b"\x01\x01\xff"
ENDS = datetime(2040, 1, 1, tzinfo=UTC)
PRIME256V1, PRIME192V2 = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030102")


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """A name and a key that sign."""

    title: str
    key: ec.EllipticCurvePrivateKey
    issues: bool = True  # by its certificates

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
            .add_extension(x509.BasicConstraints(ca=other.issues, path_length=None), critical=True)
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


def facts(
    presented: tuple[bytes, ...],
    protocol: str | None,
    path: tuple[bytes, ...] = (),
    *,
    verified: bool = False,
    known: tuple[bytes, ...] = (),
) -> TlsFacts:
    return certificates.facts(Shown(presented, protocol, path, verified, known, AUTHORITIES))


# ---------------------------------------------------------------- where the path leads


ASKED = itertools.count()


def ends_in(chain: Sequence[x509.Certificate], public: Sequence[x509.Certificate]) -> bool:
    """Whether a chain is taken for one that leads to a public root, where these are the public ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certificates, "public_by_name", lambda: {root.subject: [root] for root in public})
        # Nothing is remembered under another name of the protocol.
        return facts(der(*chain), f"TLS for the time {next(ASKED)}").leads_to is Root.PUBLIC


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
    assert required_roots_present(AUTHORITIES.required_roots, trusted.get_ca_certs(binary_form=True)) == {
        "DigiCert Global Root G2": True,
        "Baltimore CyberTrust Root": False,  # ended in 2025, and on no list any more
    }
    assert set(required_roots_present(AUTHORITIES.required_roots, []).values()) == {False}


def test_what_a_context_trusts_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = trustme.CA()
    own.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    trusted = trusted_roots(verifying(TlsSettings(str(tmp_path / "own.pem")))) or []
    assert ssl.PEM_cert_to_DER_cert(own.cert_pem.bytes().decode()) in trusted
    assert required_roots_present(AUTHORITIES.required_roots, trusted)["DigiCert Global Root G2"]


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
    "title",
    [
        "DigiCert Inspection CA",
        "Microsoft Root Certificate Authority 2011",
        "Microsoft ECC Product Root Certificate Authority 2018",
    ],
)
def test_a_root_that_is_at_hand_is_known_by_its_key_and_not_by_its_name(title: str) -> None:
    above = authority(title)
    chain = der(above.signs(SERVER), above.signs(above))
    assert facts(chain, None).leads_to is Root.PRIVATE
    assert facts(chain[:1], None, chain, verified=True).leads_to is Root.PRIVATE
    assert facts(chain[:1], None, verified=True, known=chain[1:]).leads_to is Root.PRIVATE


def test_microsofts_own_product_root_is_known_by_its_key() -> None:
    (pem,) = re.findall("Authority 2011, SHA-256.+?\n(-----BEGIN.+?END CERTIFICATE-----)", ROOTS.read_text(), re.DOTALL)
    root = ssl.PEM_cert_to_DER_cert(pem)
    assert facts((root,), None).leads_to is Root.MICROSOFT_PRODUCT
    assert facts(der(LEAF), None, (*der(LEAF), root), verified=True).leads_to is Root.MICROSOFT_PRODUCT


def test_what_is_known_by_name_is_what_the_reader_is_given() -> None:
    """And what was read of a chain by some names is not what is said of it by others."""
    shown = Shown(der(named("host.example", "Known CA")))
    public = Authorities(public_issuers=(re.compile("Known C[AB]"),))
    product = Authorities(product_issuers=frozenset({"Known CA"}))
    partly = Authorities(public_issuers=(re.compile("Known C"),))
    found = [certificates.facts(replace(shown, authorities=one)).leads_to for one in (public, product, partly)]
    assert found == [Root.PUBLIC, Root.MICROSOFT_PRODUCT, None]
    assert certificates.facts(shown).leads_to is None


# ---------------------------------------------------------------- the file of authorities

WRITTEN = """\
sources: {PAGE: a document}
required_roots:
  - name: A root
    sha1: 00112233445566778899aabbccddeeff00112233
    source: PAGE
product_issuers:
  - name: An issuer
    key: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
    source: PAGE
  - name: Another
    source: PAGE
public_issuers:
  - name: A CA 0[12]
    source: [PAGE]
"""


def read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authorities:
    monkeypatch.chdir(tmp_path)
    Path("known.yaml").write_text(text, encoding="utf-8")
    return load_authorities(Path("known.yaml"))


def test_every_part_of_the_file_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(WRITTEN, tmp_path, monkeypatch) == Authorities(
        required_roots=(RequiredRoot("A root", "00112233445566778899aabbccddeeff00112233"),),
        product_issuers=frozenset({"An issuer", "Another"}),
        product_keys=frozenset({"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}),
        public_issuers=(re.compile("A CA 0[12]"),),
    )
    assert read("", tmp_path, monkeypatch) == Authorities()


@pytest.mark.parametrize(
    ("replaced", "by", "mistake"),
    [
        (
            "    sha1: 00",
            "    sha1: FF",
            "4: required_roots[0].sha1: expected a SHA-1 of 40 lower-case hexadecimal digits, ",
        ),
        ("ccddeeff\n    source", "x\n    source", "8: product_issuers[0].key: expected a SHA-256 of 64 lower-case "),
        ("source: [PAGE]", "source: PAG", "14: public_issuers[0].source: 'PAG': unknown source, did you mean PAGE?"),
        ("    source: [PAGE]\n", "", "13: public_issuers[0].source: is missing; add it"),
        ("0[12]", "0[12]+", "13: public_issuers[0].name: repeats without end; give the end, as in {1,40}"),
        ("  - name: Another", "  - nam: Another", "10: product_issuers[1].nam: unknown key, did you mean name?"),
        ("public_issuers:", "publc_issuers:", "12: publc_issuers: unknown key, did you mean public_issuers?"),
    ],
)
def test_a_mistake_in_the_file_is_shown_with_its_line(
    replaced: str, by: str, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replaced in WRITTEN
    with pytest.raises(DocumentError) as caught:
        read(WRITTEN.replace(replaced, by), tmp_path, monkeypatch)
    assert f"known.yaml:{mistake}" in str(caught.value)


def test_a_mistake_in_one_entry_hides_none_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError) as caught:
        read(WRITTEN.replace(": PAGE\n", ": PAG\n"), tmp_path, monkeypatch)
    assert [mistake.line for mistake in caught.value.mistakes] == [5, 9, 11]


# ---------------------------------------------------------------- who does not want to be seen


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[x509.Certificate]:
    """One of the roots here, as the only public one."""
    monkeypatch.setattr(certifi, "contents", lambda: PUBLIC.public_bytes(Encoding.PEM).decode())
    certificates.forget()
    yield PUBLIC
    certificates.forget()


INSPECTOR = authority("Inspection CA")


def test_a_path_that_verified_is_judged_by_nothing_beside_it(public: x509.Certificate) -> None:
    own = (INSPECTOR.signs(SERVER), INSPECTOR.signs(INSPECTOR))
    for beside in ((public,), (ROOT.signs(MIDDLE), public), (ROOT.signs(INSPECTOR), public)):
        found = facts(der(*own, *beside), None, der(*own), verified=True)
        assert (found.leads_to, found.intercepted(Trust.PUBLIC)) == (Root.PRIVATE, True)
    for ours in ((*CHAIN, public), (*CHAIN, OTHER.signs(ROOT), PRIVATE)):  # a root that another has signed too
        assert facts(der(*CHAIN), None, der(*ours), verified=True).leads_to is Root.PUBLIC


def test_a_certificate_that_may_issue_none_makes_no_chain_public_by_its_name_and_key(public: x509.Certificate) -> None:
    """Anybody has one of a public authority for a host of his own."""
    shop = replace(INSPECTOR, issues=False)
    ordinary = (ROOT.signs(MIDDLE), MIDDLE.signs(shop), public)
    for own in ((), (INSPECTOR.signs(INSPECTOR),)):
        leaf = INSPECTOR.signs(SERVER)
        assert facts(der(leaf, *own, *ordinary), None).leads_to is Root.PRIVATE
        assert facts(der(leaf, *ordinary), None, verified=True, known=der(*own)).leads_to is (
            Root.PRIVATE if own else None
        )
    assert facts(der(MIDDLE.signs(SERVER), ordinary[0]), None).leads_to is Root.PUBLIC


def test_what_cannot_be_read_on_a_path_that_verified_is_private() -> None:
    """Also where an issuer that can be read bears a public name."""
    odd = INSPECTOR.signs(INSPECTOR).public_bytes(Encoding.DER).replace(TRUE, b"\x01\x01\x01")
    digicert = authority("DigiCert Inspection CA")
    for leaf in (INSPECTOR.signs(SERVER), digicert.signs(SERVER)):
        found = facts(der(leaf), None, (*der(leaf), odd), verified=True)
        assert (found.leads_to, found.unread) == (Root.PRIVATE, 1)
    assert facts((b"no certificate",), None, (b"no certificate", b"nor this"), verified=True).leads_to is Root.PRIVATE


def test_where_the_system_tells_no_path_a_name_makes_none_public_that_it_verified() -> None:
    leaf = authority("DigiCert Inspection CA").signs(SERVER)
    found = facts(der(leaf), None, verified=True, known=der(PRIVATE))
    assert (found.leads_to, found.missing) == (None, "CN=DigiCert Inspection CA")


def test_whatever_a_library_raises_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """What a part of it that is written in Rust gives up with."""

    for error in (x509.InvalidVersion("9", 9), TypeError("x"), RecursionError(), PanicException("x")):
        for broken in ("_read", "_above", "_is_below"):
            certificates.forget()
            with monkeypatch.context() as patch:
                patch.setattr(certificates, broken, Mock(side_effect=error))
                found = facts(der(*CHAIN), "TLSv1.3")
                sure = facts(der(*CHAIN), "TLSv1.3", der(*CHAIN), verified=True)
            assert (found.leads_to, found.unread) == (None, 3)
            assert sure.leads_to in ({Root.PRIVATE} if broken != "_above" else {Root.PRIVATE, Root.PUBLIC})
    certificates.forget()


# ---------------------------------------------------------------- what it costs


def checked(shown: Shown) -> int:
    """How many signatures are checked to read what is shown."""
    calls = 0

    def count(_frame: object, event: str, function: object) -> None:
        nonlocal calls
        calls += event == "c_call" and getattr(function, "__name__", "") == "verify_directly_issued_by"

    certificates.forget()
    certificates.public_by_name()
    sys.setprofile(count)
    try:
        certificates.facts(shown)
    finally:
        sys.setprofile(None)
    return calls


def test_however_many_certificates_bear_one_name_few_signatures_are_checked() -> None:
    keys = [SERVER, *(Authority("one", ec.generate_private_key(ec.SECP256R1())) for _ in range(77))]
    chain = der(*(above.signs(below) for below, above in itertools.pairwise(keys)))
    for shown in (Shown(chain), Shown(chain, None, chain), Shown(chain, None, (), True, chain)):
        assert 0 < checked(shown) <= certificates.MOST_CHECKS
    found = facts(chain, None)
    assert (len(found.chain), found.unread) == (certificates.MOST, len(chain) - certificates.MOST)


def test_a_key_that_makes_a_check_long_is_not_used() -> None:
    usual = issue("CA", key=rsa_key(2048), ca=True)
    numbers = rsa_key(2048).private_numbers()
    d = 65537  # and so the public exponent is as long as the key
    e = pow(d, -1, (numbers.p - 1) * (numbers.q - 1))
    p, q, n = numbers.p, numbers.q, numbers.p * numbers.q
    public = rsa.RSAPublicNumbers(e, n)
    long = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), numbers.iqmp, public).private_key()
    hostile = issue("CA", key=long, ca=True)
    assert checked(Shown((issue("a.example", usual).der, usual.der))) == 1
    assert checked(Shown((issue("a.example", hostile).der, hostile.der))) == 0


def test_a_certificate_that_is_very_large_is_not_read() -> None:
    large = issue("a.example", names=[f"host-{i}.a.example" for i in range(3000)])
    found = facts((large.der, *der(*CHAIN)), None)
    assert len(large.der) > certificates.LARGEST
    assert (found.chain[0].subject, found.chain[0].size, found.unread) == (None, len(large.der), 1)
    assert found.chain[1].subject == "CN=server.example"


def test_what_is_remembered_of_chains_is_little_however_large_they_are() -> None:
    text = "\U0001f600" * 64
    body = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, text) for _ in range(20)])
    leaf = issue("a.example").certificate
    template = issue("a.example", edit=field(5, lambda tag, _: tlv(tag, parts(body.public_bytes())[0][1])))
    assert leaf.serial_number
    facts((template.der,), None)
    tracemalloc.start()
    for number in range(2 * certificates.KEPT):
        facts((template.der + bytes(8), *(template.der[:-8] + number.to_bytes(8) for _ in range(9))), None)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < certificates.KEPT * 40_000  # of some 100 KiB each


STEERING = "\x1b[2J\x07\u202egro\u200b\x9b31m\u2066"


def test_names_print_wherever_they_are_shown() -> None:
    evil = authority(STEERING)
    found = facts(der(evil.signs(evil)), None)
    (one,) = found.chain
    assert one.subject
    assert one.subject.isprintable()
    assert "\\x1b[2J" in one.subject
    assert facts(der(evil.signs(SERVER)), None).missing == one.subject
