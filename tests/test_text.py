"""What may be shown of what others wrote: laws of the two rooms where that is decided."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.text.printable import bare, encodable, escaped, one_line, short
from exporter.text.secrets import HIDDEN, Hiding, address, harmless, header, may_stand_at, without_user

passwords = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=20).map(lambda text: f"Zq7{text}")
TOKENS = "Basic {0}", "Proxy-Authorization: {0}", "NTLM {0}", "authorization=Bearer {0}"


@given(st.text())
def test_whatever_was_written_is_one_line_that_prints(text: str) -> None:
    cleaned = {one_line(text), one_line(encodable(text)), bare(text, 1000), header("X-Said", text)}
    assert [line for line in cleaned if not line.isprintable() or "  " in line] == []
    assert one_line(one_line(text)) == one_line(text)
    assert escaped(text, keep="\n").replace("\n", "").isprintable()
    assert encodable(text).isascii()
    assert len(short(text)) <= 60


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60))
def test_what_prints_is_left_as_it_is(text: str) -> None:
    assert {one_line(text), escaped(text), encodable(text), bare(text, 1000), short(text)} == {text}


@given(passwords, st.sampled_from(TOKENS), st.sampled_from(["", "said: ", "<b>"]))
def test_no_text_shows_what_signs_somebody_in(password: str, form: str, before: str) -> None:
    token = base64.b64encode(f"svc:{password}9".encode()).decode().rstrip("=") + "=="
    told = (
        harmless(f"{before}{form.format(token)} after"),
        harmless(f"{before}http://svc:{password}@host/ after"),
        without_user(f"svc:{password}@host"),
        address(f"https://svc:{password}@host/path?{password}#{password}"),
        *(header(name, f"{password}=x") for name in ("Authorization", "Cookie", "Proxy-Authentication-Info")),
        header("Set-Cookie", f"name={password}; path=/"),
        header("Set-Cookie", password),
        header("Proxy-Authenticate", f'Basic realm="a, b", NTLM {token}'),
    )
    assert [text for text in told if password in text or token in text] == []


@given(passwords, st.sampled_from(["{0}", "<p>{0}</p>", "a {0} b"]), st.sampled_from([" ü&", "+/", "", "'\\"]))
def test_a_password_is_taken_out_in_every_form_in_which_it_is_given_back(password: str, page: str, more: str) -> None:
    secret = f"{password}{more}"
    told = base64.b64encode(f"svc:{secret}".encode()).decode()
    forms: tuple[Callable[[str], str], ...] = (str, html.escape, quote_plus, lambda text: quote(text, safe=""))
    hide = Hiding("svc", secret)
    for form in (*(form(secret) for form in forms), told, secret.encode().decode("latin-1")):
        assert hide(page.format(form)) == page.format(HIDDEN)


def test_words_that_are_no_secrets_stay() -> None:
    for text in ("Basic authentication is needed", "ask the proxy's administrator", "https://host/path"):
        assert (harmless(text), Hiding("svc", "abc")(text)) == (text, text)


@pytest.mark.parametrize(
    ("place", "secret"),
    [
        ("proxies.corporate.password_file", True),
        ("proxies.corporate", True),
        ("basic_auth_users.svc", True),
        ("tls_server_config", True),
        ("proxies.corporate.url", False),
        ("site.roles[0]", False),
    ],
)
def test_a_password_may_stand_at_some_places_of_a_file(place: str, *, secret: bool) -> None:
    assert may_stand_at(place) is secret
