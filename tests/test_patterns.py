from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.patterns import (
    fill,
    has_stray_braces,
    host_of,
    is_wildcard,
    matches_wildcard,
    parameters_of,
    path_of,
)

LABELS = st.text("abcxyz019-", min_size=1, max_size=5)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("go.microsoft.com", "go.microsoft.com"),
        ("Configmgrbits.cdn.manage.microsoft.com", "configmgrbits.cdn.manage.microsoft.com"),
        ("https://aka.ms", "aka.ms"),
        ("HTTPS://Aka.ms/cmedgeapi", "aka.ms"),
        ("https://go.microsoft.com/fwlink/?LinkID=619849", "go.microsoft.com"),
        ("www.microsoft.com/pkiops", "www.microsoft.com"),
        ("https://sup.corp.example:8531/", "sup.corp.example"),
        ("*.manage.microsoft.com", "*.manage.microsoft.com"),
        ("http://*.windowsupdate.com", "*.windowsupdate.com"),
        ("https://*.<RegionName>.logic.azure.com:443", "*.<regionname>.logic.azure.com"),
        ("http://<FQDN for software update point on child site>", "<fqdn for software update point on child site>"),
        ("<name>.blob.core.windows.net", "<name>.blob.core.windows.net"),
        ("<a/b: c>.example/x", "<a/b: c>.example"),
        ("https://[2001:db8::1]:8531/x", "2001:db8::1"),
        ("https://x.example?y", "x.example"),
        ("https://", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_pattern_is_what_the_network_sees(pattern: str, host: str) -> None:
    assert host_of(pattern) == host


@pytest.mark.parametrize(
    ("pattern", "wildcard"),
    [
        ("*.manage.microsoft.com", True),
        ("https://*-umwatsonc.events.data.microsoft.com/x", True),
        ("autodiscover.*.onmicrosoft.com", True),
        ("go.microsoft.com", False),
        ("https://portal.corp.example/*", False),
        ("<name>.blob.core.windows.net", False),
    ],
)
def test_a_wildcard_has_its_star_in_the_host(pattern: str, wildcard: bool) -> None:
    assert is_wildcard(pattern) is wildcard


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*.manage.microsoft.com", "us.gateway.configmgr.manage.microsoft.com", True),
        ("*.manage.microsoft.com", "EnterpriseEnrollment.manage.microsoft.com.", True),
        ("*.manage.microsoft.com", "manage.microsoft.com", False),
        ("*.manage.microsoft.com", ".manage.microsoft.com", False),
        ("*.manage.microsoft.com", "a..manage.microsoft.com", False),
        ("*.manage.microsoft.com", "notmanage.microsoft.com", False),
        ("*.manage.microsoft.com", "a.manage.microsoft.com.example", False),
        ("*.manage.microsoft.com", "a.manage-microsoft.com", False),
        ("*-umwatsonc.events.data.microsoft.com", "eu-umwatsonc.events.data.microsoft.com", True),
        ("*-umwatsonc.events.data.microsoft.com", "umwatsonc.events.data.microsoft.com", False),
        ("*.<regionname>.logic.azure.com", "prod-01.westus.logic.azure.com", True),
        ("*.<regionname>.logic.azure.com", "westus.logic.azure.com", False),
        ("autodiscover.*.onmicrosoft.com", "autodiscover.contoso.onmicrosoft.com", True),
        ("autodiscover.*.onmicrosoft.com", "autodiscover.onmicrosoft.com", False),
        ("a.*.b.*", "a.x.b.b.y", True),
        ("a.*.b.*", "a.b.b", False),
        ("go.microsoft.com", "go.microsoft.com", True),
        ("go.microsoft.com", "a.go.microsoft.com", False),
    ],
)
def test_a_wildcard_covers_any_depth_but_not_its_apex(pattern: str, host: str, matches: bool) -> None:
    assert matches_wildcard(pattern, host) is matches


@given(below=NAMES, apex=NAMES)
def test_whatever_lies_below_matches(below: str, apex: str) -> None:
    assert matches_wildcard(f"*.{apex}", f"{below}.{apex}")
    assert not matches_wildcard(f"*.{apex}", apex)


def test_many_stars_take_no_time() -> None:
    assert not matches_wildcard("*a" * 60 + ".b", "a" * 120 + ".c")


def test_a_template_is_filled_when_nothing_is_missing() -> None:
    template = "https://{name}.{region}.example/{name}"

    assert parameters_of(template) == ("name", "region")
    assert fill(template, {"name": "a", "region": "b", "other": "c"}) == ("https://a.b.example/a", ())
    assert fill(template, {"region": "b"}) == (None, ("name",))
    assert fill(template, {}) == (None, ("name", "region"))


def test_what_is_filled_in_is_not_filled_again() -> None:
    assert fill("{a}", {"a": "{b}", "b": "c"}) == ("{b}", ())


@given(st.text("{}ab_", max_size=12))
def test_filling_ends_with_a_text_or_with_names(template: str) -> None:
    filled, missing = fill(template, {"a": "1"})

    assert (filled is None) == bool(missing)
    assert set(missing) <= set(parameters_of(template))


@pytest.mark.parametrize("template", ["{", "}", "a{b", "{}", "{A}", "{1a}", "{{a}}", "{a b}", "{a}}"])
def test_braces_that_hold_no_name_are_stray(template: str) -> None:
    assert has_stray_braces(template)
    assert not has_stray_braces("{a_1}.{b}")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("host.example", "/"),
        ("host.example/health", "/health"),
        ("*.host.example/a/b?c=d", "/a/b?c=d"),
        ("<name>.host.example", "/"),
    ],
)
def test_a_path_stands_behind_the_host(pattern: str, path: str) -> None:
    assert path_of(pattern) == path
