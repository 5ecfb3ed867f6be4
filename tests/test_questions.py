"""`config init`: what is asked and answered, and the configuration that comes of it."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from exporter.cli import app
from exporter.config import catalogue as catalogues
from exporter.config.settings import parse
from exporter.config.wizard import PROXY, QUESTIONS, Answers, fault, written
from exporter.model.vocabulary import Proxy, Settings
from tests.strategies import some

CATALOGUE: Final = catalogues.load()
SECRET: Final = "hunter2"  # noqa: S105 - a test's password
URL: Final = "http://proxy.corp.example:3128"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    (folder / "password").write_text(SECRET)
    return folder


def meant(answers: Answers) -> Settings:
    """What a person means who answers so."""
    given = {
        "cloud_service_name": answers.gateway,
        "azure_region": answers.region,
        "parent_site_sup_fqdn": answers.upstream,
        "intune_region": answers.intune,
    }
    site = replace(
        Settings().site,
        version=answers.version or None,
        clouds=answers.clouds,
        roles=answers.roles,
        parameters={name: value for name, value in given.items() if value},
    )
    if not answers.proxy:
        return Settings(site)
    user = answers.username or None
    proxy = Proxy(PROXY, answers.proxy, user, SECRET if user else None)
    through = answers.via or answers.roles or tuple(CATALOGUE.roles)
    return Settings(site, proxies={PROXY: proxy}, via=dict.fromkeys(through, PROXY))


odd: Final = st.text(max_size=6)
answers: Final = st.builds(
    Answers,
    clouds=some(CATALOGUE.clouds, least=1),
    roles=some(CATALOGUE.roles),
    gateway=st.just("") | st.from_regex(r"[a-z][a-z0-9]{2,23}", fullmatch=True) | odd,
    region=st.sampled_from(["", "westus", "true", "007"]),
    proxy=st.sampled_from(["", URL, "https://[2001:db8::1]:8080"]) | odd,
    username=st.sampled_from(["", "svc", r"CORP\svc", "no", "'#: {\"", "ä"]) | odd,
    password_file=st.just("password"),
    via=some(CATALOGUE.roles),
    version=st.sampled_from(["", "2403"]) | odd,
    upstream=st.sampled_from(["", "sup0.corp.example"]) | odd,
    intune=st.sampled_from(["", "europe"]) | odd,
)


@settings(max_examples=150)
@given(answers)
@example(Answers(username="a\x85b\N{LINE SEPARATOR}c\N{PARAGRAPH SEPARATOR}d", proxy=URL, password_file="p"))  # noqa: S106
def test_answers_that_are_taken_make_a_configuration_that_means_them(folder: Path, told: Answers) -> None:
    asked = [q for q in QUESTIONS if not q.after or getattr(told, q.after)]
    file = folder / "exporter.yaml"
    if all(fault(told, question, file, CATALOGUE) is None for question in asked):
        assert parse(written(told, CATALOGUE), file, CATALOGUE) == meant(told)


def test_each_answer_has_its_question_and_each_question_its_option() -> None:
    shown = CliRunner().invoke(app, ["config", "init", "--help"], env={"COLUMNS": "200"}).output
    assert [question.field for question in QUESTIONS] == [field.name for field in fields(Answers)]
    assert [question.option for question in QUESTIONS if f"{question.option} " not in shown] == []


# ---------------------------------------------------------------- by options


def init(file: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["config", "init", "--output", str(file), *options], env={"COLUMNS": "400"})
    return done.exit_code, done.output


def test_without_a_terminal_nothing_is_asked_and_options_answer(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET)
    plain, full = tmp_path / "plain.yaml", tmp_path / "full.yaml"
    options = {
        "--cloud": "azure-us-government",
        "--role": "client",
        "--gateway": "granitefalls",
        "--gateway-region": "westus",
        "--proxy": URL,
        "--proxy-user": "svc",
        "--proxy-password-file": "password",
        "--proxy-role": "client",
        "--site-version": "2403",
        "--upstream-sup": "sup0.corp.example",
        "--intune-region": "europe",
    }

    assert init(plain)[0] == 0
    assert init(full, *(word for option in options.items() for word in option))[0] == 0

    assert parse(plain.read_text(), plain, CATALOGUE) == Settings()
    told = Answers(("azure-us-government",), ("client",), "granitefalls", "westus", URL, "svc", "password", ("client",))
    told = replace(told, version="2403", upstream="sup0.corp.example", intune="europe")
    assert parse(full.read_text(), full, CATALOGUE) == meant(told)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--role", "clint"], "did you mean client?"),
        (["--role", "client", "--role", "client"], "is in this list already"),
        (["--gateway-region", "westus"], "goes with --gateway"),
        (["--proxy", "http://svc:hunter2@proxy:1"], "do not put credentials in the URL"),
        (["--proxy", URL, "--proxy-user", "svc"], "`username` is given without `password_file`"),
        (["--proxy", URL, "--proxy-user", "svc", "--proxy-password-file", SECRET], "the file cannot be read"),
    ],
)
def test_an_option_that_is_wrong_is_named_with_its_remedy_and_nothing_is_written(
    tmp_path: Path, options: list[str], words: str
) -> None:
    status, output = init(tmp_path / "exporter.yaml", *options)
    assert status == 2
    assert words in output
    assert SECRET not in output
    assert not list(tmp_path.iterdir())


def test_a_file_is_overwritten_only_by_force(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text("mine")

    status, output = init(file)
    kept = file.read_text()

    assert (status, kept) == (2, "mine")
    assert "--force" in output
    assert init(file, "--force")[0] == 0
    assert parse(file.read_text(), file, CATALOGUE) == Settings()


# ---------------------------------------------------------------- by a person


@pytest.mark.skipif(sys.platform == "win32", reason="pexpect drives POSIX terminals")
def test_a_person_is_asked_until_the_answers_fit(tmp_path: Path) -> None:
    import pexpect  # noqa: PLC0415 - fails to import parts of itself on Windows

    (tmp_path / "password").write_text(SECRET)
    command = ["-m", "exporter", "config", "init"]
    terminal = pexpect.spawn(
        sys.executable, command, cwd=str(tmp_path), encoding="utf-8", dimensions=(40, 80), timeout=60
    )
    dialogue = [
        ("Clouds of the site", "azure-pubic"),
        ("did you mean azure-public", ""),
        ("Roles that the site has", "console"),
        ("cloud management gateway", "<"),
        ("  Management point", None),
        ("Roles that the site has", f"{list(CATALOGUE.roles).index('client') + 1}, site-server"),
        ("cloud management gateway", "Granite!"),
        ("expected 3 to 24 letters", "granitefalls"),
        ("Azure region", "westus"),
        ("Web proxy", "proxy"),
        ("write http://host:port", URL),
        ("Who signs in", "svc"),
        ("holds the password", SECRET),
        ("the file cannot be read", "<"),
        ("Who signs in", "svc"),
        ("holds the password", "password"),
        ("go through it", "client"),
        ("Version of Configuration Manager", "24.03"),
        ("Version of Configuration Manager", "2403"),
        ("software update point", ""),
        ("Intune tenant", "2"),
        ("inspects TLS", ""),
    ]
    for awaited, answer in dialogue:
        terminal.expect_exact(awaited)
        if answer is not None:
            terminal.expect_exact(": ")
            terminal.sendline(answer)
    terminal.expect(pexpect.EOF)
    terminal.close()

    file = tmp_path / "exporter.yaml"
    told = Answers(("azure-public",), ("client", "site-server"), "granitefalls", "westus", URL, "svc", "password")
    assert terminal.exitstatus == 0
    assert parse(file.read_text(), file, CATALOGUE) == meant(
        replace(told, via=("client",), version="2403", intune="europe")
    )
    assert SECRET not in file.read_text()
