from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config import catalogue as catalogues
from exporter.config import yaml_tree as tree
from exporter.config.documents import Document, DocumentError, read
from exporter.config.durations import seconds, spelled
from exporter.config.settings import MainSection, _names, examine, load, read_groups
from exporter.model.vocabulary import (
    Catalogue,
    Endpoint,
    ExtraPorts,
    FeatureSettings,
    Group,
    Importance,
    Probing,
    Proxy,
    Settings,
    Site,
    Status,
    Support,
    TlsSettings,
    Trust,
    VersionRange,
    WhyReference,
)
from exporter.service.load import Source, deploy

DATA = Path(__file__).parent / "data"
GOOD, BAD = DATA / "good_config", DATA / "bad_config"
EXAMPLE = DATA.parents[1] / "config" / "exporter.yaml"
CATALOGUE = catalogues.load(GOOD / "catalogue")


def mistakes_in(path: Path, catalogue: Catalogue = CATALOGUE) -> list[str]:
    try:
        load(path, catalogue)
    except DocumentError as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "exporter.yaml"


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_what_needs_the_extra_is_refused_with_the_command_that_installs_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, auth: str
) -> None:
    monkeypatch.setattr("exporter.system.extras.find_spec", lambda _: None)
    config.write_text(f"proxies:\n  corporate: {{url: 'http://proxy.corp.example:3128', auth: {auth}}}\n")
    (mistake,) = mistakes_in(config)
    assert mistake.startswith(f"{config}:2: proxies.corporate.auth: ")
    assert "brings: pip install -c constraints.txt '.[negotiate]', in the folder" in mistake


def test_a_file_has_one_spelling_and_what_people_call_it_is_answered_by_that(config: Path) -> None:
    config.write_text(
        "site:\n  roles: [SCP, MP, Exchange connector]\n  clouds: [GCC High]\n  features: [CMG]\n"
        "features: {wsus: {importance: low}}\nproxies: {p: {url: 'http://proxy:1'}}\nvia: {DP: p}\n"
        "groups: [{feature: f, roles: [EP point], endpoints: [{pattern: a.example}]}]\n"
    )
    assert [said.partition(": ")[2] for said in mistakes_in(config, catalogues.load())] == [
        "site.roles[0]: 'SCP': unknown role; write service-connection-point",
        "site.roles[1]: 'MP': unknown role; write management-point",
        "site.roles[2]: 'Exchange connector': unknown role; write exchange-server-connector",
        "site.clouds[0]: 'GCC High': unknown cloud; write azure-us-government",
        "site.features[0]: 'CMG': unknown feature; write cloud-services",
        "features.wsus: unknown feature; write software-updates",
        "via.DP: unknown role; write distribution-point",
        "groups[0].roles[0]: 'EP point': unknown role; write endpoint-protection-point",
    ]


def test_a_url_in_place_of_a_name_is_answered_by_the_name(config: Path) -> None:
    config.write_text(
        "site: {parameters: {cloud_service_name: 'https://GraniteFalls.westus.cloudapp.azure.com/',"
        " child_site_sup_fqdn: 'http://sup1.corp.example:8530', azure_region: 'https://'}}\n"
    )
    said = [mistake.rpartition("; ")[2] for mistake in mistakes_in(config, catalogues.load())]
    assert said[:2] == ["write granitefalls", "write sup1.corp.example"]
    assert "; " not in said[2]


LOCAL: Final = {
    "tls: {ca_file: nowhere.pem}": "tls.ca_file: 'nowhere.pem' cannot be read: No such file or directory; put it ",
    "proxies: {p: {url: 'http://proxy:1', username: svc, password_file: nowhere}}": (
        "proxies.p.password_file: the file cannot be read: No such file or directory; put it there, where "
    ),
    "proxies: {p: {url: 'http://proxy:1', auth: ntlm}}": "proxies.p.auth: NTLM needs spnego, which an optional extra",
    "probe: {concurrency: 129}": "probe.concurrency: expected a number from 1 to 128, because on Windows a program can",
}


@pytest.mark.parametrize("text", LOCAL)
def test_what_only_this_machine_lacks_is_told_apart_and_refused_where_it_is_needed(
    config: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("exporter.system.extras.find_spec", lambda _: None)
    monkeypatch.setattr("exporter.config.machine.BY_SELECT", True)
    config.write_text(f"# of a server\n{text}\n")
    (lacking,) = examine(config, CATALOGUE)[1]
    done = {name: CliRunner().invoke(app, [name, "--config.file", str(config)]) for name in ("validate", "check")}
    assert str(lacking).startswith(f"{config}:2: {LOCAL[text]}")
    assert mistakes_in(config) == [str(lacking)]
    assert (done["validate"].exit_code, done["validate"].stdout[: len(str(config)) + 4]) == (0, f"{config}: ok")
    said = [line for line in done["validate"].stderr.splitlines() if ": warning: " not in line]
    assert said[1:] == [str(lacking)]
    assert str(done["check"].exception) == str(lacking)


@pytest.mark.parametrize("text", LOCAL)
def test_what_this_machine_lacks_hides_no_mistake_and_no_mistake_hides_it(
    config: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("exporter.system.extras.find_spec", lambda _: None)
    monkeypatch.setattr("exporter.config.machine.BY_SELECT", True)
    config.write_text(f"{text}\nvia: {{clinet: nobody}}\n")
    with pytest.raises(DocumentError) as raised:
        examine(config, CATALOGUE)
    assert [mistake.line for mistake in raised.value.mistakes] == [1, 2, 2]
    assert [mistake.local for mistake in raised.value.mistakes] == [True, False, False]


def test_no_field_is_checked_by_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document((GOOD / "everything.yaml").read_text(), "everything.yaml")
    known = _names(CATALOGUE, document, [read(GOOD / "files" / "groups.yaml")], GOOD)

    def touched(*_: object, **__: object) -> NoReturn:
        raise AssertionError("this machine was asked")

    for place in ("pathlib.Path.open", "pathlib.Path.stat", "builtins.open", "ssl.SSLContext"):
        monkeypatch.setattr(place, touched)
    monkeypatch.setattr("exporter.system.extras.find_spec", touched)
    section = document.validate(MainSection, context=known)
    monkeypatch.undo()
    assert section is not None, document.mistakes
    assert section.tls.ca_file == "files/ca.pem"


@pytest.mark.parametrize("name", ["ca-file-not-pem", "ca-file-without-certificate"])
def test_a_file_that_is_there_and_wrong_is_wrong_on_any_machine(name: str) -> None:
    with pytest.raises(DocumentError) as raised:
        examine(BAD / f"{name}.yaml", CATALOGUE)
    assert [mistake.local for mistake in raised.value.mistakes] == [False]


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("name", sorted(path.stem for path in BAD.glob("*.yaml")))
def test_every_mistake_is_told_with_its_line_and_its_remedy(
    name: str, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BAD)
    monkeypatch.setattr(tree, "_LOADER", getattr(yaml, parser))

    assert mistakes_in(Path(f"{name}.yaml")) == Path(f"{name}.txt").read_text().splitlines()


def test_no_message_shows_a_secret() -> None:
    secrets = [path for path in BAD.glob("**/*") if path.is_file() and b"hunter" in path.read_bytes()]

    assert len(secrets) > 10
    assert not [path for path in secrets if path.suffix == ".txt"]


def test_the_traceback_of_a_mistake_shows_no_secret(config: Path) -> None:
    config.write_text("proxies: {corporate: {url: 'http://svc:hunter2@proxy:1'}}")

    with pytest.raises(DocumentError) as caught:
        load(config, CATALOGUE)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# ---------------------------------------------------------------- what is good


def test_without_a_file_the_defaults_hold() -> None:
    assert load(None, CATALOGUE) == Settings()


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "site:\nprobe:\ntls:\nproxies:\nvia:\ngroup_files:\ngroups:\n"]
)
def test_an_empty_file_means_the_defaults(config: Path, text: str) -> None:
    config.write_text(text)

    assert load(config, CATALOGUE) == Settings()


def test_the_example_means_the_defaults() -> None:
    assert load(EXAMPLE, catalogues.load()) == Settings()


def test_what_the_example_comments_out_is_valid_too(config: Path) -> None:
    (config.parent / "groups").mkdir()
    shutil.copy(GOOD / "files" / "groups.yaml", config.parent / "groups" / "intranet.yaml")
    secret = "correct horse"  # noqa: S105 - a test's password
    (config.parent / "password").write_text(secret)
    _, _, example = EXAMPLE.read_text().partition("\n")  # the first line is the editor's
    opened = re.sub(r"^( *)# ?( *)((- |[\w-]+:).*)$", r"\1\2\3", example, flags=re.MULTILINE)
    without_defaults = re.sub(r"^ *\w+: (\[\]|\{\})( .*)?\n", "", opened, flags=re.MULTILINE)
    config.write_text(without_defaults.replace("/run/secrets/proxy", "password"))

    settings = load(config, catalogues.load())

    assert settings.proxies["corporate"].password == secret
    assert settings.via == {"service-connection-point": "corporate"}
    assert settings.site.roles == tuple(catalogues.load().roles)
    assert [group.feature for group in settings.groups] == ["intranet-portal", "field-office"]
    assert settings.features["console-feedback"] == FeatureSettings(Importance.NORMAL)


def test_a_site_without_a_name_has_that_of_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text("site: {name: P01 Berlin}")
    assert deploy(Source(file)).plan.site == "P01 Berlin"
    file.write_text("{}")
    assert deploy(Source(file)).plan.site == platform.node()


@pytest.mark.parametrize(("name", "said"), [("", ""), ("name: P01 Berlin, ", " (P01 Berlin)")])
def test_check_says_the_name_of_the_site_where_it_has_one(tmp_path: Path, name: str, said: str) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text(f"site: {{{name}roles: [distribution-point], features: [tenant-attach]}}")
    last = CliRunner().invoke(app, ["check", "--config.file", str(file)]).stdout.splitlines()[-1]
    assert last.startswith("NOTHING TO CHECK: ")
    assert last.endswith(f"distribution-point{said}")


def test_every_key_arrives() -> None:
    settings = load(GOOD / "everything.yaml", CATALOGUE)

    assert settings.site == Site(
        clouds=("azure-us-government", "azure-public"),
        roles=("client", "software-update-point"),
        features=("tenant-attach", "intranet-portal", "field-office"),
        statuses=(Status.ACTIVE, Status.DEPRECATED),
        version="2403",
        parameters={"cloud_service_name": "granitefalls", "portal_port": "8443"},
        name="P01 Berlin",
    )
    assert settings.probing == Probing(interval=90.0, timeout=7.5, attempts=3, concurrency=8)
    assert settings.tls == TlsSettings(ca_file=str(GOOD / "files" / "ca.pem"))
    assert settings.proxies == {
        "corporate": Proxy(
            name="corporate",
            url="http://proxy.corp.example:3128",
            username="svc",
            password=(GOOD / "files" / "password").read_text().rstrip(),
            no_proxy=(".corp.example", "intranet", "192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::1"),
        ),
        "plain": Proxy(name="plain", url="http://[2001:db8::1]:8080"),
    }
    assert settings.via == {"client": "corporate", "software-update-point": "plain"}
    assert [group.feature for group in settings.groups] == ["intranet-portal", "field-office"]
    assert settings.features == {
        "tenant-attach": FeatureSettings(Importance.CRITICAL, {"https://aka.ms/configmgrgateway": False}),
        "intranet-portal": FeatureSettings(None, {"login.corp.example": True}),
    }


def test_every_key_of_a_group_arrives() -> None:
    group = load(GOOD / "everything.yaml", CATALOGUE).groups[0]

    assert group == Group(
        feature="intranet-portal",
        title="Intranet portal",
        docs="https://portal.corp.example/help#start",
        status=Status.DEPRECATED,
        roles=("client",),
        clouds=("azure-public",),
        importance=Importance.LOW,
        endpoints=group.endpoints,
        logs=("Portal.log",),
        messages=("4711",),
        troubleshooting="Restart it",
        own=True,
    )
    assert group.endpoints[1] == Endpoint(
        pattern="login.corp.example",
        schemes=("http", "https"),
        ports=(8080, 8443),
        path="/{cloud_service_name}/health",
        method="HEAD",
        accept=frozenset({200, 401}),
        status=Status.ACTIVE,
        since="2022-11-30",
        why="It was moved",
        versions=VersionRange("1902", "2403"),
        condition="only in the office",
        only_for={"intune_region": ("europe",)},
        leads_to=("login.partner.example", "*.sso.example", "10.1.2.3", "2001:db8::1", "portal"),
        tls_inspection=Support.UNSUPPORTED,
        authenticated_proxy=Support.CONDITIONAL,
        trust=Trust.CUSTOMER,
        extra_ports=(ExtraPorts("5000", "tcp", "always"),),
        docs="https://portal.corp.example/login",
        source=("our own list",),
        note="Ask Ann",
        reference=WhyReference.KNOWN_DEAD,
    )


def test_an_endpoint_takes_its_status_from_the_group_and_its_scheme_from_the_url() -> None:
    url, _, wildcard, udp = load(GOOD / "everything.yaml", CATALOGUE).groups[0].endpoints

    assert (url.status, url.schemes) == (Status.DEPRECATED, ("http",))
    assert (wildcard.schemes, udp.schemes) == (("https",), ("udp",))


def test_paths_are_relative_to_the_file_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOOD.parent)

    settings = load(Path("good_config/everything.yaml"), CATALOGUE)

    assert settings.tls.ca_file == str(Path("good_config/files/ca.pem"))
    assert settings.groups[-1].feature == "field-office"


def test_aliases_stand_for_what_they_name() -> None:
    one, two = load(GOOD / "alias.yaml", CATALOGUE).groups

    assert (one.feature, two.feature) == ("one", "two")
    assert one.endpoints == two.endpoints


@pytest.mark.parametrize(
    ("written", "password"), [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), (" ä\n", " ä"), ("a ", "a ")]
)
def test_a_password_ends_before_the_last_line_end(config: Path, written: str, password: str) -> None:
    (config.parent / "password").write_bytes(written.encode())
    config.write_text("proxies: {p: {url: 'http://proxy:1', username: svc, password_file: password}}")

    assert load(config, CATALOGUE).proxies["p"].password == password


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_password_that_powershell_wrote_is_read_without_its_byte_order_mark(config: Path, encoding: str) -> None:
    (config.parent / "password").write_bytes("ä b\r\n".encode(encoding))
    config.write_text("proxies: {p: {url: 'http://proxy:1', username: svc, password_file: password}}")
    assert load(config, CATALOGUE).proxies["p"].password == "ä b"  # noqa: S105 - of a test


def test_more_probes_at_a_time_than_windows_can_wait_for_are_refused_there(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("probe:\n  concurrency: 129\n")
    monkeypatch.setattr("exporter.config.machine.BY_SELECT", False)
    assert load(config, CATALOGUE).probing.concurrency == 129
    monkeypatch.setattr("exporter.config.machine.BY_SELECT", True)
    with pytest.raises(DocumentError) as caught:
        load(config, CATALOGUE)
    assert str(caught.value).startswith(f"{config}:2: probe.concurrency: expected a number from 1 to 128, because on")
    assert str(caught.value).endswith("make probe.interval longer, or narrow exporters by role or feature")


def test_a_password_file_may_be_a_link_and_is_read_anew(config: Path) -> None:
    link = config.parent / "password"
    config.write_text("proxies: {p: {url: 'http://proxy:1', username: svc, password_file: password}}")
    read = []
    for password in ("old", "new"):
        (config.parent / password).write_text(password)
        link.unlink(missing_ok=True)
        link.symlink_to(password)
        read.append(load(config, CATALOGUE).proxies["p"].password)

    assert read == ["old", "new"]


@pytest.mark.parametrize("written", ["a\n\n", "a\nb", "a\tb"])
def test_a_password_is_one_line(config: Path, written: str) -> None:
    (config.parent / "password").write_bytes(written.encode())
    config.write_text("proxies: {p: {url: 'http://proxy:1', username: svc, password_file: password}}")

    assert "more than one line" in mistakes_in(config)[0]


def test_a_feature_of_the_catalogue_can_be_extended(config: Path) -> None:
    config.write_text("groups: [{feature: tenant-attach, endpoints: [{pattern: a.example}]}]")

    assert load(config, CATALOGUE).groups[0].feature == "tenant-attach"


def test_a_parameter_that_nobody_gives_is_no_mistake(config: Path) -> None:
    config.write_text("groups: [{feature: a, endpoints: [{pattern: <x>.a, probe: ['https://{unheard_of}.a/']}]}]")

    assert load(config, CATALOGUE).groups[0].endpoints[0].probe == ("https://{unheard_of}.a/",)


@pytest.mark.parametrize("used", ["probe: ['https://{ring}.a/']", "path: '/{ring}'", "only_for: {ring: [fast]}"])
def test_a_parameter_may_be_given_wherever_the_operators_groups_use_it(config: Path, used: str) -> None:
    config.write_text(
        f"site: {{parameters: {{ring: fast}}}}\ngroups: [{{feature: a, endpoints: [{{pattern: a, {used}}}]}}]"
    )

    assert load(config, CATALOGUE).site.parameters == {"ring": "fast"}


def test_an_interval_may_be_just_as_long_as_its_attempts(config: Path) -> None:
    config.write_text("probe: {interval: 300ms, timeout: 100ms, attempts: 3}")

    assert load(config, CATALOGUE).probing.interval == 0.3


def test_a_group_file_can_be_read_by_itself() -> None:
    assert [group.feature for group in read_groups(GOOD / "files" / "groups.yaml", CATALOGUE)] == ["field-office"]
    assert read_groups(GOOD / "files" / "empty.yaml", CATALOGUE) == ()
    with pytest.raises(DocumentError, match=r"mistakes.yaml:3: \[0\].roles\[0\]: 'clint': unknown role"):
        read_groups(BAD / "files" / "mistakes.yaml", CATALOGUE)


# ---------------------------------------------------------------- durations


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", 0.0),
        ("500ms", 0.5),
        ("60s", 60.0),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("0s", 0.0),
    ],
)
def test_durations_are_those_of_prometheus(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "60", "1.5s", "30s1m", "1s1s", "-1s", "1 s", "1S", "s", "٣s", "1s\n", "300y"])
def test_what_prometheus_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@given(st.integers(0, 2**62 // 10**6))
def test_a_duration_survives_being_spelled(milliseconds: int) -> None:
    assert seconds(spelled(milliseconds / 1000)) == milliseconds / 1000


# ---------------------------------------------------------------- whatever people write

WORDS = st.sampled_from(
    [
        *("site", "probe", "tls", "proxies", "via", "group_files", "groups", "clouds", "roles", "features", "statuses"),
        *("version", "parameters", "interval", "timeout", "attempts", "concurrency", "ca_file", "url", "username"),
        *(
            "password_file",
            "no_proxy",
            "feature",
            "endpoints",
            "pattern",
            "schemes",
            "ports",
            "path",
            "probe",
            "method",
        ),
        *("accept", "status", "only_for", "extra_ports", "source", "from", "until", "azure-public", "client", "60s"),
        *("2403", "https://a.example/", "*.a.example", "<x y>", "{name}", "http://[", "https://{a}:{b}/", "", "."),
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=25,
)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "site": st.dictionaries(WORDS, VALUES, max_size=5),
        "probe": st.dictionaries(WORDS, VALUES, max_size=4),
        "proxies": st.dictionaries(WORDS, st.dictionaries(WORDS, VALUES, max_size=4), max_size=2),
        "via": st.dictionaries(WORDS, VALUES, max_size=3),
        "groups": st.lists(
            st.fixed_dictionaries(
                {"feature": st.just("a") | VALUES, "endpoints": st.lists(st.dictionaries(WORDS, VALUES), max_size=3)}
            ),
            max_size=3,
        ),
    },
)


@settings(max_examples=80)
@given(value=VALUES | SECTIONS)
def test_any_structure_is_read_or_is_mistakes(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    text = yaml.safe_dump(value, allow_unicode=True)
    path.write_text(text, encoding="utf-8")

    mistakes = mistakes_in(path)

    lines = [int(mistake.removeprefix(f"{path}:").partition(":")[0]) for mistake in mistakes]
    assert all(1 <= line <= max(1, len(text.splitlines())) for line in lines)


# ---------------------------------------------------------------- messages as people read them


MESSAGES: Final = {path.stem: path.read_text().splitlines() for path in sorted(BAD.glob("*.txt"))}
OF_PYTHON: Final = re.compile(
    r"Traceback|Value error|\b(?:None|True|False|str|int|dict|NoneType|ValidationError|pydantic|regex|errno)\b"
    r"|\[A-Z|\[a-z|\\d|\\w|\(\?|\^|\]\*|\]\+|\(while |\('"
)


def test_enough_mistakes_are_known() -> None:
    assert len(MESSAGES) >= 60


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_file_and_line_and_no_word_of_python(name: str) -> None:
    assert MESSAGES[name]
    for message in MESSAGES[name]:
        assert re.match(r"[\w./-]+:[1-9][0-9]*: \S", message)
        assert not OF_PYTHON.search(message)
