"""What is published for machines becomes groups and ranges that the exporter takes, or is refused in words."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from exporter.cli import app
from exporter.config import catalogue
from exporter.config import settings as config
from exporter.config.groups import Names
from exporter.config.prefixes import read_prefixes
from exporter.model.vocabulary import Endpoint, ExtraPorts, Group, Site, Status, WhyUnprobed
from exporter.plan.requirements import requirements
from exporter.plan.selection import SelectionError
from exporter.published import Choice, Endpoints, Format, Option, Origin, Ranges, Unusable, compared, extract, written
from exporter.published import writing as writing_module
from tests.tools.fuzz import mutated

DATA: Final = Path(__file__).parent / "data" / "imports"
ORIGIN: Final = Origin("the sample", datetime(2026, 8, 6, 12, 30, tzinfo=UTC))
SHIPPED: Final = catalogue.load()
NAMES: Final = Names(SHIPPED.roles, SHIPPED.clouds)

SAMPLES: Final = {
    "microsoft-365.json": (Format.MICROSOFT_365, "microsoft-365.yaml"),
    "azure-environments.csv": (Format.AZURE_ENVIRONMENTS, "azure-environments.yaml"),
    "azure-environments.json": (Format.AZURE_ENVIRONMENTS, "azure-environments.yaml"),
    "public-ip-space.csv": (Format.PUBLIC_IP_SPACE, "public-ip-space.txt"),
    "service-tags.json": (Format.SERVICE_TAGS, "service-tags.txt"),
}


def sample(name: str) -> bytes:
    return (DATA / name).read_bytes()


def endpoints_of(data: bytes, choice: Choice = Choice()) -> dict[str, dict[str, Endpoint]]:  # noqa: B008 - frozen
    imported = extract(data, choice)
    assert isinstance(imported, Endpoints)
    return {group.feature: {line.pattern: line for line in group.endpoints} for group in imported.groups}


def record(**other: Any) -> dict[str, Any]:
    return {"id": 17, "serviceArea": "Skype", "urls": ["aka.ms"], "tcpPorts": "443", "required": True} | other


def records(*found: dict[str, Any]) -> bytes:
    return json.dumps(found).encode()


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_becomes_the_file_beside_it(name: str) -> None:
    _, becomes = SAMPLES[name]
    assert written(extract(sample(name), Choice()), ORIGIN, NAMES) == (DATA / becomes).read_text()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_that_is_named_is_the_one_that_would_have_been_recognised(name: str) -> None:
    form, _ = SAMPLES[name]
    assert extract(sample(name), Choice(), form) == extract(sample(name), Choice())
    for other in {*Format} - {form, Format.AUTO}:
        with pytest.raises(Unusable):
            extract(sample(name), Choice(), other)


@pytest.mark.parametrize("name", SAMPLES)
def test_byte_order_marks_windows_lines_and_blank_lines_make_no_difference(name: str) -> None:
    data = sample(name)
    awkward = b"\xef\xbb\xbf\r\n" + data.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    assert extract(awkward, Choice()) == extract(data, Choice())


@pytest.mark.parametrize(
    "name", ["microsoft-365.yaml", "azure-environments.yaml"], ids=["microsoft-365", "azure-environments"]
)
def test_what_is_written_is_a_group_file_of_the_same_groups(name: str) -> None:
    (source,) = [source for source, (_, becomes) in SAMPLES.items() if becomes == name][:1]
    imported = extract(sample(source), Choice())
    assert isinstance(imported, Endpoints)
    assert config.read_groups(DATA / name, SHIPPED) == imported.groups


def test_the_ranges_that_are_written_can_be_read() -> None:
    imported = extract(sample("service-tags.json"), Choice())
    assert isinstance(imported, Ranges)
    assert read_prefixes(DATA / "service-tags.txt") == imported.prefixes


def test_imported_hosts_are_probed_and_what_cannot_be_is_listed_with_its_reason() -> None:
    groups = config.read_groups(DATA / "microsoft-365.yaml", SHIPPED)
    found = requirements(SHIPPED, groups, Site(roles=("client",)))
    probed = {target.url for requirement in found for target in requirement.targets}
    unprobed = {(line.use.pattern, line.why_unprobed) for line in found if not line.targets}
    assert probed == {
        "http://mail.example/",
        "https://mail.example/",
        "http://post.example/",
        "https://post.example/",
        "https://aka.ms/",
        "https://files.example/list",
    }
    assert unprobed == {
        ("*.media.example", WhyUnprobed.NOT_HTTP),
        ("*cdn.onenote.net", WhyUnprobed.NO_REPRESENTATIVE),
        ("autodiscover.*.onmicrosoft.com", WhyUnprobed.NO_REPRESENTATIVE),
        ("post.example", WhyUnprobed.NOT_HTTP),
    }


# ---------------------------------------------------------------- Microsoft 365


@pytest.mark.parametrize(
    ("ports", "schemes", "numbers", "further"),
    [
        ({"tcpPorts": "443,80"}, ("https", "http"), (), []),
        ({"tcpPorts": " 80 "}, ("http",), (), []),
        ({"tcpPorts": "443", "udpPorts": "443"}, ("https",), (), [("udp", "443")]),
        ({"tcpPorts": "50000-50019, 443,8443"}, ("https",), (), [("tcp", "8443"), ("tcp", "50000-50019")]),
        ({"tcpPorts": "143, 587"}, ("tcp",), (143, 587), []),
        ({"tcpPorts": "25", "udpPorts": "25"}, ("tcp",), (25,), [("udp", "25")]),
        ({"tcpPorts": "", "udpPorts": "3481,3478"}, ("udp",), (3478, 3481), []),
        ({"tcpPorts": "9000-9001"}, ("tcp",), (9000,), [("tcp", "9000-9001")]),
        ({"tcpPorts": ""}, ("https",), (), []),
    ],
)
def test_ports_of_http_are_schemes_and_all_others_are_documented(
    ports: dict[str, str], schemes: tuple[str, ...], numbers: tuple[int, ...], further: list[tuple[str, str]]
) -> None:
    line = endpoints_of(records(record(**ports)))["microsoft-365-skype"]["aka.ms"]
    assert (line.schemes, line.ports) == (schemes, numbers)
    assert [(extra.protocol, extra.ports) for extra in line.extra_ports] == further


def test_what_is_optional_is_a_feature_of_its_own_and_spoils_no_readiness() -> None:
    found = endpoints_of(records(record(), record(id=18, required=False)))
    assert found.keys() == {"microsoft-365-skype", "microsoft-365-skype-optional"}
    assert [line.condition for lines in found.values() for line in lines.values()] == [None, "optional"]


@given(st.permutations(json.loads(sample("microsoft-365.json"))))
def test_the_order_of_records_changes_nothing(shuffled: list[Any]) -> None:
    assert extract(records(*shuffled), Choice()) == extract(sample("microsoft-365.json"), Choice())


def test_notes_of_strangers_are_one_line_without_what_nobody_sees() -> None:
    hostile = "a\r\n# b:\t'c'\u202e \x00\u200b " + "d" * 5000
    line = endpoints_of(records(record(notes=hostile)))["microsoft-365-skype"]["aka.ms"]
    assert line.note is not None
    assert re.fullmatch(r"a # b: 'c' d{900,1000}", line.note)


@pytest.mark.parametrize(
    ("choice", "features", "patterns"),
    [
        (Choice(service_areas=("skype",)), 1, 2),
        (Choice(service_areas=("Skype", "common")), 2, 4),
        (Choice(ids=("17",)), 1, 1),
        (Choice(ids=("17", "40"), service_areas=("skype",)), 1, 1),
    ],
)
def test_service_areas_and_records_can_be_chosen(choice: Choice, features: int, patterns: int) -> None:
    found = endpoints_of(sample("microsoft-365.json"), choice)
    assert (len(found), sum(map(len, found.values()))) == (features, patterns)


def test_the_groups_say_for_whom_they_are_if_that_is_told() -> None:
    for name in ("microsoft-365.json", "azure-environments.csv"):
        imported = extract(sample(name), Choice(roles=("client",), clouds=("azure-public",)))
        assert isinstance(imported, Endpoints)
        assert {(group.roles, group.clouds) for group in imported.groups} == {(("client",), ("azure-public",))}


# ---------------------------------------------------------------- the site's own table, and addresses


@pytest.mark.parametrize(
    "table",
    [
        b"Name;Url\r\nPublic;https://a.example/x,y\r\n",
        b'#TYPE System.Data.DataRow\r\n"Name","Url"\r\n"Public","https://a.example/x,y"\r\n',
        b"Name\tUrl\nPublic\t https://a.example/x,y \n",
        b'Name,Url\n----,---\nPublic,"https://a.example/x,y"\n\n(1 rows affected)\n',
        b'[{"Name": "Public", "Url": "https://a.example/x,y", "Id": 7, "Spare": null, "Live": true}]',
    ],
    ids=["semicolons", "powershell", "tabs", "sqlcmd", "json"],
)
def test_a_table_is_read_as_the_usual_tools_export_it(table: bytes) -> None:
    found = endpoints_of(table)["azure-environments"]
    assert [(line.pattern, line.note) for line in found.values()] == [("https://a.example/x,y", "column Url")]


def test_a_url_in_two_columns_is_one_endpoint_that_names_both() -> None:
    found = endpoints_of(b"B,A\nhttps://a.example,https://a.example\n")["azure-environments"]
    assert [line.note for line in found.values()] == ["columns A, B"]


def test_service_tags_can_be_chosen() -> None:
    imported = extract(sample("service-tags.json"), Choice(ids=("AzureFrontDoor.MicrosoftSecurity",)))
    assert isinstance(imported, Ranges)
    assert list(map(str, imported.prefixes)) == ["13.69.64.0/18", "198.51.100.7/32", "2001:db8:7::/48"]


# ---------------------------------------------------------------- what is refused

REFUSED: Final = {
    "empty": (b"", "it is empty; download the list anew"),
    "blank": (b"\xef\xbb\xbf \r\n\t", "it is empty; download the list anew"),
    "html": (b"\n<!doctype html><title>Sign in</title>", "it is an HTML or XML page, no list; download the file"),
    "utf-16": ("[]".encode("utf-16"), "it is none of what can be imported"),  # as PowerShell writes it, and read
    "utf-16 without its mark": ("ü".encode("utf-16-le"), "the byte 0xfc is not UTF-8; save the list in UTF-8"),
    "latin-1": (b'Name,Url\n"caf\xe9",https://a.example', "the byte 0xe9 is not UTF-8"),
    "cut off": (sample("microsoft-365.json")[:300], "line 5, column 13: not valid JSON (Unterminated string"),
    "not a number": (b"[NaN]", "not valid JSON: NaN is no JSON"),
    "endless number": (b"[" + b"9" * 5000 + b"]", "not valid JSON: Exceeds the limit"),
    "deep": (b"[" * 100_000, "it is nested too deep for a list of endpoints or addresses"),
    "deep and whole": (b'{"values":' * 50_000 + b"1" + b"}" * 50_000, "it is nested too deep"),
    "empty list": (b"[]", "it is none of what can be imported: Microsoft 365 endpoints (JSON)"),
    "version": (b'{"instance": "Worldwide", "latest": "2026080600"}', "it is none of what can be imported"),
    "error body": (b'{"error": {"message": "see https://a.example"}}', "it is none of what can be imported"),
    "text": (b"Not found", "it is none of what can be imported"),
    "csv of microsoft 365": (b"id,serviceArea,urls,tcpPorts\n1,Skype,aka.ms,443\n", "ask for it with format=JSON"),
    "ragged csv": (b"Name,Url\na,b,c\n", "line 2: 3 values for 2 columns; quote what holds a delimiter"),
    "open quote": (b'Name,Url\n"a,b\n', "line 2: not valid CSV (unexpected end of data)"),
    "huge field": (b"Name,Url\n" + b"a" * 200_000, "line 2: not valid CSV (field larger than field limit (131072))"),
    "no url": (b"Name,Url\na,a.example\n", "no value is a URL that begins with http:// or https://"),
    "no header": (b"1,https://a.example\n2,https://b.example\n", "the first line holds a URL in place of the columns'"),
    "row of another kind": (b'[{"a": "https://a.example"}, 7]', "[1]: expected a row, as a mapping of columns to"),
    "nested row": (b'[{"a": ["https://a.example"]}]', "[0]: 'a' is a list; export the columns of the table alone"),
    "url with a password": (
        b"Name,Url\na,https://u:secret@a.example/\n",
        "line 2, column Url: '***@a.example/': a URL holds no user name or password; remove what stands before the @",
    ),
    "url with a format's braces": (
        b'[{"Url": "https://{0}.a.example"}]',
        "[0], column Url: 'https://{0}.a.example': braces belong in `probe`; write <name> in a pattern",
    ),
    "bad prefix": (
        b"Prefix,Type\n4.128.0.0/12, a\n4.128.0.0/33, a\n",
        "line 3: expected a prefix such as 198.51.100.0/24 or 2001:db8::/32, or an address, found '4.128.0.0/33'",
    ),
    "no prefix": (b"Prefix,Type\n", "it lists no prefix; download it anew"),
    "tags of another kind": (b'{"changeNumber": 1, "cloud": "Public", "values": 7}', "values: expected a list, found"),
    "tag without prefixes": (
        b'{"changeNumber": 1, "cloud": "Public", "values": [{"id": "A", "properties": {}}]}',
        "values[0].properties.addressPrefixes: is missing; it must be there",
    ),
    "prefix of another kind": (
        b'{"changeNumber": 1, "cloud": "P", "values": [{"id": "A", "properties": {"addressPrefixes": [[]]}}]}',
        "values[0].properties.addressPrefixes[0]: expected text, found a list",
    ),
    "tag with a host": (
        b'{"changeNumber": 1, "cloud": "P", "values": [{"id": "A", "properties": {"addressPrefixes": ["a.example"]}}]}',
        "the tag 'A': expected a prefix such as",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_list_is_refused_with_its_place_and_the_remedy(name: str) -> None:
    data, said = REFUSED[name]
    with pytest.raises(Unusable, match=re.escape(said)):
        extract(data, Choice())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"id": "17"}, "[0].id: expected a whole number, found '17'; remove the quotes"),
        ({"serviceArea": None}, "[0].serviceArea: expected text, found nothing"),
        ({"serviceArea": "\u4e2d"}, "[0].serviceArea: expected the name of a service area, found '\u4e2d'"),
        ({"urls": "aka.ms"}, "[0].urls: expected a list, found 'aka.ms'; write it in [brackets]"),
        ({"urls": ["a.example", 7]}, "[0].urls[1]: expected text, found the number 7; quote it"),
        ({"urls": [" "]}, "[0].urls[0]: expected some text, found an empty text"),
        ({"urls": ["a b"]}, "[0].urls[0]: a pattern holds no space outside <placeholders>, and nothing beyond ASCII"),
        ({"urls": ["-a.example"]}, "[0].urls[0]: names no valid host"),
        ({"urls": ["a.example:444"]}, "[0].urls[0]: a bare host carries no port"),
        ({"urls": ["https://u:secret@a.example"]}, "[0].urls[0]: a URL holds no user name or password"),
        ({"urls": ["{name}.example"]}, "[0].urls[0]: braces belong in `probe`; write <name> in a pattern"),
        ({"urls": ["javascript://a"]}, "[0].urls[0]: expected a URL that begins with http:// or https://"),
        ({"urls": ["a.example\n- feature: x"]}, "[0].urls[0]: a pattern holds no space"),
        ({"urls": []}, "no record that is chosen has `urls`"),
        ({"tcpPorts": 443}, "[0].tcpPorts: expected text, found the number 443; quote it"),
        ({"tcpPorts": "443;80"}, '[0].tcpPorts: expected ports such as "443,80" or "3478-3481", found \'443;80\''),
        ({"udpPorts": "0"}, '[0].udpPorts: expected ports such as "443,80" or "3478-3481"'),
        ({"udpPorts": "65536"}, '[0].udpPorts: expected ports such as "443,80" or "3478-3481"'),
        ({"udpPorts": "90-80"}, '[0].udpPorts: expected ports such as "443,80" or "3478-3481"'),
        ({"udpPorts": "\u0661"}, '[0].udpPorts: expected ports such as "443,80" or "3478-3481"'),
        ({"required": "true"}, "[0].required: expected true or false, found 'true'"),
        ({"notes": []}, "[0].notes: expected text, found a list"),
        ({"notes": "\ud800"}, "[0].notes: expected text of whole characters, found '\\ud800'"),
    ],
)
def test_a_hostile_record_is_refused_by_the_rules_of_a_group_file(other: dict[str, Any], said: str) -> None:
    with pytest.raises(Unusable, match=re.escape(said)) as refused:
        extract(records(record(**other)), Choice())
    assert "secret" not in str(refused.value)


def test_a_record_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(Unusable, match=re.escape("[1]: expected a mapping, found a list")):
        extract(b'[{"serviceArea": "A", "id": 1, "required": true}, []]', Choice())


@pytest.mark.parametrize(
    ("name", "choice", "said"),
    [
        ("microsoft-365.json", Choice(service_areas=("exhange",)), "--service-area exhange: unknown service-area, did"),
        ("microsoft-365.json", Choice(ids=("999",)), "--id 999: unknown id; known: 1, 10, 11, 17, 18, 2, 40, 8"),
        ("microsoft-365.json", Choice(ids=("11",)), "no record that is chosen has `urls`; choose others by"),
        ("service-tags.json", Choice(ids=("AzureCloud",)), "--id AzureCloud: unknown id"),
        ("service-tags.json", Choice(roles=("client",)), "--role says nothing about service-tags; leave it out"),
        ("public-ip-space.csv", Choice(ids=("1",)), "--id says nothing about public-ip-space; leave it out"),
        (
            "azure-environments.csv",
            Choice(service_areas=("a",)),
            "--service-area says nothing about azure-environments",
        ),
    ],
)
def test_a_choice_that_the_source_does_not_offer_is_refused(name: str, choice: Choice, said: str) -> None:
    with pytest.raises(Unusable, match=re.escape(said)):
        extract(sample(name), choice)


@pytest.mark.parametrize("text", [["a" * 60], ["b.example/" + "c" * 1000]], ids=["before", "after"])
def test_more_than_a_group_file_may_hold_is_refused_before_it_is_written(
    text: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing_module, "MAX_BYTES", 200)
    imported = extract(records(record(urls=text)), Choice())
    with pytest.raises(Unusable, match="and a group file 200 at most; choose some, as by --id"):
        written(imported, ORIGIN, NAMES)


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_imported_or_refused_in_words(data: bytes) -> None:
    imported_or_refused(data)


def test_any_change_of_a_list_is_imported_or_refused_in_words() -> None:
    chance, seeds = random.Random(7), [sample(name) for name in SAMPLES]  # noqa: S311 - chance, no secret
    imported = sum(imported_or_refused(mutated(chance, seeds)) for _ in range(1500))
    assert 100 < imported < 1400


def imported_or_refused(data: bytes) -> bool:
    """Whether a source is imported; and then the loader takes what is written, too."""
    try:
        written(extract(data, Choice()), ORIGIN, NAMES)
    except Unusable as unfit:
        return not all(unfit.reasons)
    return True


_json: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_patterns: Final = st.sampled_from(
    [
        "a.example",
        "A.example.",
        "*.a.example",
        "*x.a.example",
        "a.*.example",
        "http://a.example:8080/p?q",
        "a.example/p",
    ]
)
_ports: Final = st.lists(st.sampled_from(["443", " 80", "25", "3478-3481", "8443"]), max_size=4).map(",".join)
_records: Final = st.fixed_dictionaries(
    {
        "id": st.integers(),
        "serviceArea": st.text(min_size=1, max_size=8).map(lambda t: f"A {t}"),
        "required": st.booleans(),
    },
    optional={
        "urls": st.lists(_patterns, max_size=4),
        "tcpPorts": _ports,
        "udpPorts": _ports,
        "category": st.text(max_size=8),
        "notes": st.text(max_size=60),
        "serviceAreaDisplayName": st.text(max_size=8),
        "ips": _json,
    },
)


@given(st.lists(_records, min_size=1, max_size=6))
def test_whatever_a_well_formed_list_says_is_loaded_as_it_was_imported(tmp_path_factory: Any, found: list[Any]) -> None:
    if not any(one.get("urls") for one in found):
        found[0]["urls"] = ["a.example"]
    imported = extract(json.dumps(found).encode(), Choice(clouds=("azure-public",)))
    path = tmp_path_factory.getbasetemp() / "drawn.yaml"
    path.write_text(written(imported, ORIGIN, NAMES))
    assert isinstance(imported, Endpoints)
    assert config.read_groups(path, SHIPPED) == imported.groups


# ---------------------------------------------------------------- the comparison

LINES: Final = (
    Endpoint("a.example", ("https", "http")),
    Endpoint("*.b.example", extra_ports=(ExtraPorts("3000-3999", "UDP", "always"),)),
    Endpoint("https://c.example:8443/path"),
    Endpoint("old.example", status=Status.RETIRED),
    Endpoint("<name>.d.example", probe=("https://{name}.d.example/",)),
)
KNOWN: Final = (Group("shipped", endpoints=LINES),)


@pytest.mark.parametrize(
    ("wanted", "new"),
    [
        (Endpoint("A.example"), []),
        (Endpoint("a.example", ports=(8443,)), ["a.example tcp 8443"]),
        (Endpoint("a.example", ("udp",), (443,)), ["a.example udp 443"]),
        (Endpoint("x.y.b.example"), []),
        (Endpoint("b.example"), ["b.example tcp 443"]),
        (Endpoint("*.y.b.example", ("https", "http")), ["*.y.b.example tcp 80"]),
        (Endpoint("*y.b.example", ("udp",), (3001,)), []),
        (Endpoint("*.example"), ["*.example tcp 443"]),
        (
            Endpoint("x.b.example", extra_ports=(ExtraPorts("3998-4000", "udp", "always"),)),
            ["x.b.example udp 3998-4000"],
        ),
        (Endpoint("c.example", ports=(8443,)), []),
        (Endpoint("http://c.example", ("http",)), ["c.example tcp 80"]),
        (Endpoint("old.example"), ["old.example tcp 443"]),
        (Endpoint("x.d.example"), ["x.d.example tcp 443"]),
    ],
)
def test_an_opening_is_new_unless_one_that_is_known_contains_it(wanted: Endpoint, new: list[str]) -> None:
    imported = Endpoints((Group("imported", endpoints=(wanted,)),), "imported", "")
    assert list(compared(imported, KNOWN, (), ()).new) == new


def test_gone_is_what_an_earlier_import_of_the_format_has_and_the_source_has_not() -> None:
    earlier = (
        Group("microsoft-365-skype", endpoints=(Endpoint("aka.ms"), Endpoint("gone.example"))),
        Group("microsoft-365-sway", endpoints=(Endpoint("gone.example"),)),
        Group("portal", endpoints=(Endpoint("portal.example"),)),
    )
    found = compared(extract(records(record()), Choice()), KNOWN, earlier, ())
    assert str(found) == (
        "gone     gone.example tcp 443 (microsoft-365-skype, microsoft-365-sway)\n"
        "covered  aka.ms tcp 443 (microsoft-365-skype)\n"
        "0 new, 1 gone, 1 covered"
    )


def test_what_was_imported_is_covered_by_itself_and_nothing_is_gone() -> None:
    imported = extract(sample("microsoft-365.json"), Choice())
    assert isinstance(imported, Endpoints)
    found = compared(imported, (), imported.groups, ())
    assert (found.new, found.gone) == ((), ())
    assert len(found.covered) == 18


def test_prefixes_are_compared_with_those_of_the_configuration() -> None:
    before = extract(b"Prefix,Type\n198.51.100.0/24,a\n203.0.113.0/24,a\n", Choice())
    after = extract(b"Prefix,Type\n198.51.100.0/25,a\n2001:db8::/32,a\n", Choice())
    assert isinstance(before, Ranges)
    assert str(compared(after, (), (), before.prefixes)) == (
        "new      2001:db8::/32\ngone     198.51.100.0/24\ngone     203.0.113.0/24\n1 new, 2 gone, 1 covered"
    )


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `catalogue import` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["catalogue", "import", *map(str, arguments)])


def test_the_groups_are_written_to_stdout_with_where_and_when_they_were_read(command: Callable[..., Result]) -> None:
    done = command(DATA / "microsoft-365.json")
    first, second, *rest = done.stdout.splitlines()
    assert done.exit_code == 0
    assert first == f"# Read from {DATA / 'microsoft-365.json'}"
    assert re.fullmatch(r"# on \d{4}-\d\d-\d\d at \d\d:\d\d UTC; records: 8, .*", second)
    assert rest == (DATA / "microsoft-365.yaml").read_text().splitlines()[2:]


def test_an_import_that_the_configuration_names_leaves_nothing_new(command: Callable[..., Result]) -> None:
    asked = (DATA / "microsoft-365.json", "--role", "client", "--diff")
    first = command(*asked, "--output", "m365.yaml")
    Path("exporter.yaml").write_text("group_files: [m365.yaml]\n")
    again = command(*asked, "--config.file", "exporter.yaml")
    assert (first.exit_code, again.exit_code) == (1, 0)
    assert first.stdout.endswith("16 new, 0 gone, 2 covered\n")
    assert again.stdout.endswith("\n0 new, 0 gone, 18 covered\n")


def test_ranges_that_the_configuration_names_leave_nothing_new(command: Callable[..., Result]) -> None:
    assert command(DATA / "service-tags.json", "--output", "tags.txt").stdout == ""
    Path("exporter.yaml").write_text("address_ranges: [tags.txt]\n")
    again = command(DATA / "service-tags.json", "--diff", "--config.file", "exporter.yaml")
    assert (again.exit_code, again.stdout) == (0, "0 new, 0 gone, 3 covered\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.json"], "absent.json: cannot be read: No such file or directory"),
        (["."], ".: cannot be read: it is a folder; name a file in it"),
        ([DATA / "microsoft-365.json", "--id", "1000", "--id", "1001"], "microsoft-365.json: --id 1001: unknown id"),
        ([DATA / "microsoft-365.json", "--output", "absent/file"], "absent/file cannot be written: No such file"),
        ([DATA / "microsoft-365.json", "--format", "service-tags"], "the top: expected a mapping, found a list"),
        ([DATA / "microsoft-365.json", "--timeout", "soon"], "expected a duration such as 60s"),
        ([DATA / "microsoft-365.json", "--timeout", "0"], "must be longer than 0"),
        ([DATA / "microsoft-365.json", "--proxy", "http://u:p@h:1"], "do not put credentials in the URL"),
        (
            ["ftp://u:secret@a.example/list?sig=secret"],
            "ftp://***@a.example/list: expected a URL that begins with http",
        ),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_words(
    command: Callable[..., Result], arguments: list[Any], said: str
) -> None:
    done = command(*arguments)
    told = " ".join(done.stderr.replace("│", " ").split())
    assert done.exit_code == 2
    assert said in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("--role", "clint", "--role clint: unknown role, did you mean client?"),
        ("--cloud", "azure", "--cloud azure: unknown cloud, did you mean azure-public?"),
        ("--proxy", "corporate", "--proxy corporate: unknown proxy; none is defined"),
    ],
)
def test_names_that_nobody_has_are_told(command: Callable[..., Result], option: str, word: str, said: str) -> None:
    done = command(DATA / "microsoft-365.json", option, word)
    assert isinstance(done.exception, SelectionError)
    assert str(done.exception) == said


@given(st.builds(Choice, *[st.lists(st.just("x"), max_size=1).map(tuple)] * len(Option)))
def test_what_is_given_is_named_by_its_option(choice: Choice) -> None:
    given_there = (choice.service_areas, choice.ids, choice.roles, choice.clouds)
    assert choice.given() == {option for option, words in zip(Option, given_there, strict=True) if words}
