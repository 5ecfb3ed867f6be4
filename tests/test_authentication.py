"""The dialogue of signing in: what is offered, what is answered, and that nothing said can break or keep it going."""

from __future__ import annotations

import base64
import logging
import random
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import spnego
from hypothesis import given
from hypothesis import strategies as st
from spnego.__main__ import parse_token

from exporter.model.vocabulary import Auth, Proxy
from exporter.probe.errors import SignInFailed
from exporter.probe.net.authentication import Account, Dialogue, offers
from exporter.system import extras
from exporter.system.extras import missing_extra

SECRET = "gehéim-and-long-enough-to-be-found"  # noqa: S105 - the one to look for
BASIC = "Basic c3ZjOmdlaMOpaW0tYW5kLWxvbmctZW5vdWdoLXRvLWJlLWZvdW5k"
ROOT = Path(__file__).parents[1]
LACKING = missing_extra(Auth.NEGOTIATE)
with_kerberos = pytest.mark.skipif(LACKING is not None, reason=f"{LACKING}")


@pytest.fixture(scope="module", autouse=True)
def no_kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kerberos knows of no realm, so that nobody is asked, and NTLM's server knows the account."""
    directory = tmp_path_factory.mktemp("realm")
    (directory / "krb5.conf").write_text(
        "[libdefaults]\ndefault_realm = NOWHERE.EXAMPLE\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\n"
    )
    (directory / "users").write_text(f"CORP:svc:{SECRET}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRB5_CONFIG", str(directory / "krb5.conf"))
        patch.setenv("KRB5CCNAME", f"FILE:{directory / 'tickets'}")
        patch.delenv("KRB5_CLIENT_KTNAME", raising=False)
        patch.setenv("NTLM_USER_FILE", str(directory / "users"))
        yield


def proxy(auth: Auth, username: str | None = "svc", password: str | None = SECRET) -> Proxy:
    return Proxy("p", "http://proxy.corp.example:3128", username, password, auth=auth)


def dialogue(auth: Auth = Auth.AUTO, username: str | None = "svc", password: str | None = SECRET) -> Dialogue:
    return Account(proxy(auth, username, password)).dialogue()


# ---------------------------------------------------------------- what the proxy says


@pytest.mark.parametrize(
    ("challenges", "found"),
    [
        ([], {}),
        ([""], {}),
        (["Negotiate"], {"negotiate": ""}),
        (["NTLM", "Negotiate", 'Basic realm="x"'], {"ntlm": "", "negotiate": "", "basic": ""}),
        (['Negotiate, NTLM ,Basic realm="x", charset="UTF-8"'], {"negotiate": "", "ntlm": "", "basic": ""}),
        (["nTLM TlRMTVNTUAACAAAA=="], {"ntlm": "TlRMTVNTUAACAAAA=="}),
        (["NTLM TlRM, Negotiate oQ=="], {"ntlm": "TlRM", "negotiate": "oQ=="}),
        (
            ['Basic realm="NTLM, Negotiate oQ==", Digest qop = "auth, \\" NTLM", nonce=abc='],
            {"basic": "", "digest": ""},
        ),
        (["Basic realm=unquoted", "Bearer"], {"basic": "", "bearer": ""}),
        (['Basic realm="never closed, NTLM'], {"basic": ""}),
        ([", ,, NTLM,,"], {"ntlm": ""}),
        (["NTLM", "NTLM TlRM", "NTLM"], {"ntlm": "TlRM"}),
        (["NTLM two words"], {"ntlm": ""}),
        (["realm = x", "=", "Ünfug", "\x00"], {}),
    ],
)
def test_offers_are_read(challenges: list[str], found: dict[str, str]) -> None:
    assert offers(challenges) == found


TOKEN68 = st.from_regex(r"[A-Za-z0-9._~+/-]{1,20}={0,2}", fullmatch=True)
QUOTED = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
PARAMETERS = st.lists(
    st.builds("{}{}{}".format, st.sampled_from(["realm", "nonce", "NTLM"]), st.sampled_from(["=", " = "]), QUOTED),
    min_size=1,
    max_size=3,
)
CHALLENGE = st.tuples(
    st.sampled_from(["Basic", "NTLM", "negotiate", "Digest", "Bearer"]), st.none() | TOKEN68 | PARAMETERS
)


def written(challenge: tuple[str, str | list[str] | None]) -> str:
    match challenge:
        case scheme, None:
            return scheme
        case scheme, str(token):
            return f"{scheme} {token}"
        case scheme, parameters:
            return f"{scheme} {', '.join(parameters or ())}"


@given(st.lists(CHALLENGE, unique_by=lambda challenge: challenge[0]), st.booleans())
def test_offers_are_the_same_in_one_header_and_in_several(
    challenges: list[tuple[str, str | list[str] | None]], together: bool
) -> None:
    values = [written(challenge) for challenge in challenges]
    expected = {scheme.lower(): said if isinstance(said, str) else "" for scheme, said in challenges}
    assert offers([", ".join(values)] if together else values) == expected


NOISE = 'NTLM basic,="\\\t/ü\n'  # what headers are made of, so that chance comes upon what means something


def test_anything_can_be_offered() -> None:
    chance = random.Random(1)  # noqa: S311 - chance, no secret; texts of Hypothesis take a hundred times as long
    for _ in range(20_000):
        noise = "".join(chance.choices(NOISE, k=chance.randrange(60)))
        found = offers(noise.split("\n"))
        assert all(scheme == scheme.lower() and " " not in scheme + token for scheme, token in found.items()), noise


# ---------------------------------------------------------------- how the dialogue goes


def test_basic_by_name_speaks_before_it_is_asked() -> None:
    assert dialogue(Auth.BASIC).opening() == BASIC


@pytest.mark.parametrize("auth", [Auth.AUTO, Auth.NONE])
def test_nobody_who_was_not_asked_shows_a_password(auth: Auth) -> None:
    assert dialogue(auth).opening() is None


def test_auto_shows_the_password_only_where_basic_is_offered() -> None:
    assert dialogue().answer(['Basic realm="x"']) == BASIC
    assert dialogue().answer([]) is None
    with pytest.raises(SignInFailed, match="the proxy wants digest, which is not known here"):
        dialogue().answer(["Digest nonce=x"])


def test_none_says_nothing_whatever_is_offered() -> None:
    assert dialogue(Auth.NONE).answer(["Basic", "NTLM", "Negotiate"]) is None


def test_auto_prefers_what_shows_less_of_the_password() -> None:
    answer = dialogue().answer(["Basic realm=x, NTLM"])
    assert answer
    assert answer.startswith("NTLM ")


def test_auto_takes_the_next_offer_where_one_cannot_begin() -> None:
    answer = dialogue().answer(["Negotiate", "NTLM"])  # no KDC here
    assert answer
    assert answer.startswith("NTLM ")
    assert dialogue().answer(["Negotiate", "Basic realm=x"]) == BASIC


@with_kerberos
def test_auto_says_why_no_offer_can_be_taken() -> None:
    with pytest.raises(SignInFailed) as caught:
        dialogue(username=None, password=None).answer(["Negotiate, NTLM, Basic realm=x"])
    assert "No Kerberos credentials available" in str(caught.value)
    assert "NTLM needs a username; Basic needs a username" in str(caught.value)


def test_ntlm_answers_the_challenge_of_a_server() -> None:
    server = spnego.server(protocol="ntlm")
    ours = dialogue(Auth.NTLM, "CORP\\svc")
    challenge = server.step(token_of(ours.opening()))
    server.step(token_of(ours.answer([value("NTLM", challenge or b"")])))
    assert server.complete
    assert server.client_principal == "CORP\\svc"


def token_of(header: str | None) -> bytes:
    assert header
    return base64.b64decode(header.split()[1])


def value(scheme: str, token: bytes) -> str:
    return f"{scheme} {base64.b64encode(token).decode()}"


def test_a_407_after_the_last_word_is_the_last_word() -> None:
    basic = dialogue(Auth.BASIC)
    assert basic.opening()
    assert basic.answer(["Basic realm=x"]) is None
    assert basic.answer([]) is None

    ntlm = dialogue()
    challenge = spnego.server(protocol="ntlm").step(token_of(ntlm.answer(["NTLM"])))
    assert ntlm.answer([value("NTLM", challenge or b"")])
    assert ntlm.answer(["NTLM"]) is None
    assert ntlm.answer([value("NTLM", challenge or b"")]) is None


@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.NTLM])
def test_a_scheme_that_the_proxy_does_not_take_is_named(auth: Auth) -> None:
    ours = dialogue(auth)
    ours.opening()
    with pytest.raises(SignInFailed, match=f"(?i)the proxy does not take {auth}, but negotiate, digest"):
        ours.answer(["Negotiate", "Digest nonce=x"])


def test_a_challenge_without_sense_is_named() -> None:
    ours = dialogue(Auth.NTLM)
    ours.opening()
    with pytest.raises(SignInFailed, match="NTLM: what was said makes no sense"):
        ours.answer([value("NTLM", b"NTLMSSP\0")])


class Library:
    """A context of pyspnego's shape that always has the same token to say."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self.complete = False

    def step(self, _heard: bytes | None = None) -> bytes:
        return self._token


def test_a_library_that_finds_no_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spnego, "client", lambda *_, **__: Library(b"more"))
    ours = dialogue(Auth.NTLM)
    ours.opening()
    assert list(iter(lambda: ours.answer([value("NTLM", b"more")]), None)) == [value("NTLM", b"more")] * 3


@with_kerberos
@pytest.mark.parametrize("size", [1, 80, 127, 128, 255, 256, 65_535, 70_000])  # where DER writes lengths another way
def test_a_ticket_of_any_size_is_wrapped_as_negotiate_wants_it(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spnego, "client", lambda *_, **__: Library(b"t" * size))
    told = parse_token(token_of(dialogue(Auth.NEGOTIATE).opening()))["Data"]["innerContextToken"]
    assert told["MessageType"] == "SPNEGO NegTokenInit"
    assert told["Data"]["mechTypes"] == ["Kerberos (1.2.840.113554.1.2.2)"]
    assert told["Data"]["mechToken"]["RawData"] == "74" * size


@with_kerberos
def test_a_realm_without_a_kdc_is_named() -> None:
    with pytest.raises(SignInFailed, match=r'^Negotiate: Cannot find KDC for realm "CORP\.EXAMPLE"$'):
        dialogue(Auth.NEGOTIATE, "svc@corp.example").opening()


CHALLENGES = st.lists(
    st.lists(
        st.sampled_from(["Basic realm=x", "NTLM", "Negotiate", "Digest nonce=x"])
        | st.builds(
            value, st.sampled_from(["NTLM", "Negotiate"]), st.binary() | st.binary().map(b"NTLMSSP\0\2\0\0\0".__add__)
        )
        | st.text(),
        max_size=3,
    ),
    min_size=8,
    max_size=8,
)


@given(st.sampled_from(Auth), st.sampled_from([None, "svc", "CORP\\svc", "svc@corp.example"]), CHALLENGES)
def test_no_proxy_breaks_a_dialogue_or_keeps_it_going(
    auth: Auth, username: str | None, rounds: Sequence[Sequence[str]]
) -> None:
    ours = dialogue(auth, username)
    said = []
    with suppress(SignInFailed):
        said = [ours.opening()]
        for challenges in rounds:
            said.append(ours.answer(challenges))
    assert len([value for value in said if value is not None]) <= 2


# ---------------------------------------------------------------- what nobody may see


@pytest.mark.parametrize("auth", Auth)
def test_the_password_shows_nowhere(auth: Auth, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    account = Account(proxy(auth))
    ours = account.dialogue()
    seen = [repr(account), repr(ours)]
    try:
        ours.opening()
        ours.answer(["Negotiate", "NTLM"])
        ours.answer(["NTLM nonsense"])
    except SignInFailed as failure:
        seen += traceback.format_exception(failure)
    assert SECRET not in caplog.text + "".join(seen)


# ---------------------------------------------------------------- the optional extra


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)


@with_kerberos
def test_what_is_installed_is_not_missing() -> None:
    assert [missing_extra(auth) for auth in Auth] == [None] * len(Auth)


@pytest.mark.usefixtures("no_extra")
def test_what_is_missing_is_named_with_the_remedy() -> None:
    lacking = {auth for auth in Auth if missing_extra(auth)}
    assert lacking == {Auth.NTLM, Auth.NEGOTIATE}
    assert all("pip install -c constraints.txt '.[negotiate]'" in (missing_extra(auth) or "") for auth in lacking)


@pytest.mark.usefixtures("no_extra")
def test_auto_makes_do_with_what_is_installed() -> None:
    assert dialogue().answer(["Negotiate", "NTLM", "Basic realm=x"]) == BASIC
    with pytest.raises(SignInFailed, match=r"^NTLM needs spnego, .* pip install"):
        dialogue().answer(["NTLM"])


def test_the_extra_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, exporter.probe.net.authentication; print({'spnego', 'gssapi', 'krb5'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
