"""Commands that are pasted: every shell hands on what was meant, and the exporter then says what its page says."""

from __future__ import annotations

import re
import shlex
import subprocess
from html import unescape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from exporter import __version__
from exporter.cli import app
from exporter.model.vocabulary import Check, CheckKey, Consumer, Plan, Target, Use
from exporter.plan.selection import Selection
from exporter.report.asked import asked
from exporter.report.commands import Command, all_commands, by_path, filled
from exporter.report.invocation import BY_NAME, PROGRAM, Invocation, Shell
from exporter.service.by_hand import by_hand, program_here
from exporter.service.load import Source
from exporter.system.windows_service.command import arguments
from tests.lab import Denial, Lab
from tests.running import eventually, running

UGLY: Final = (
    *(
        "it's",
        "a b",
        "$HOME",
        "`id`",
        "$(id)",
        "%TEMP%",
        "!x",
        "back\\slash",
        "ö ü",
        'say "x"',
        "a;b|c&d",
        "#",
        "*",
        "~",
    ),
    *("https://h.example/?a=1&b='c'&d=%20$e`f", "-x", "\N{RIGHT SINGLE QUOTATION MARK}s"),
)
QUOTES: Final = "'\u2018\u2019\u201a\u201b"  # each of which is one to PowerShell


# ---------------------------------------------------------------- a POSIX shell


def test_sh_hands_on_every_word_as_it_was() -> None:
    line = " ".join(Shell.POSIX.word(word) for word in UGLY)
    done = subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == list(UGLY)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_line_for_sh_splits_into_its_words(words: list[str]) -> None:
    assert shlex.split(" ".join(map(Shell.POSIX.word, words))) == words


# ---------------------------------------------------------------- PowerShell


def powershell(line: str) -> list[str]:
    """The words of a command in PowerShell, as far as we write any.

    Between single quotes nothing is expanded, and a quote is doubled; a typographic one is a quote as well:
    https://learn.microsoft.com/en-us/powershell/module/microsoft.powershell.core/about/about_quoting_rules
    """
    words = re.findall(
        rf"(?:^|(?<= ))(?:[{QUOTES}]((?:[{QUOTES}][{QUOTES}]|[^{QUOTES}])*)[{QUOTES}]|([\w.:-]+))(?= |$)", line
    )
    assert " ".join(bare or f"'{quoted}'" for quoted, bare in words) == line
    return [bare or re.sub(f"[{QUOTES}]([{QUOTES}])", r"\1", quoted) for quoted, bare in words]


def handed_on(words: list[str]) -> list[str]:
    """The arguments of a program that PowerShell starts: 5.1 sets quotes around blanks, and escapes nothing.

    https://learn.microsoft.com/en-us/powershell/module/microsoft.powershell.core/about/about_parsing
    """
    return list(arguments(" ".join(f'"{word}"' if re.search(r"\s", word) else word for word in words)))


# Without what PowerShell 5.1 and 7 hand on differently: quotation marks, empty words, a backslash at the end.
PATHS: Final = st.text(
    st.characters(exclude_characters='"\0', exclude_categories=["Cs", "Cc", "Z"]) | st.just(" "), min_size=1
)


@given(st.lists(PATHS.map(lambda text: f"C:\\{text}.yaml"), min_size=1))
def test_powershell_hands_on_every_path_as_it_was(words: list[str]) -> None:
    line = " ".join(map(Shell.POWERSHELL.word, words))
    assert powershell(line) == words
    assert handed_on(words) == words


@pytest.mark.parametrize("word", [word for word in UGLY if '"' not in word])
def test_powershell_hands_on_what_is_special_to_it(word: str) -> None:
    assert powershell(Shell.POWERSHELL.word(word)) == [word]


# ---------------------------------------------------------------- the exporter's own command

HERE: Final = Invocation(config_file="/etc/it's mine/a b.yaml", roles=("client",), clouds=("azure-public",))


def test_the_command_names_the_file_the_path_and_what_narrows_the_service() -> None:
    assert HERE.explain("https://h.example/?a&b", "proxy:corporate") == (
        "configmgr-endpoint-exporter explain 'https://h.example/?a&b' --path proxy:corporate "
        "--config.file '/etc/it'\"'\"'s mine/a b.yaml' --role client --cloud azure-public"
    )


def test_a_double_quote_of_a_url_is_pasted_in_another_spelling_that_means_the_same_target() -> None:
    target = Target('https://h.example/?q="a"')
    plan = Plan((Check(CheckKey(target), (Use(Consumer("updates", "client", "azure-public"), target.url),)),))
    word = shlex.split(BY_NAME.explain(target.url, "direct"))[2]
    found = [asked(plan, spelled) for spelled in (word, target.url)]
    assert word == filled(Command("{url}"), target) == "https://h.example/?q=%22a%22"
    assert [one.plan.checks if one else None for one in found] == [plan.checks, plan.checks]


def test_without_a_configuration_none_is_named() -> None:
    assert BY_NAME.explain("https://h.example/", "direct") == (
        "configmgr-endpoint-exporter explain 'https://h.example/' --path direct"
    )


def test_a_program_in_quotes_is_called_by_powershell() -> None:
    here = Invocation((r"C:\Program Files\x.exe",), r"C:\Users\Jürgen\it's $x.yaml", shell=Shell.POWERSHELL)
    assert here.explain("https://h.example/", "direct") == (
        r"& 'C:\Program Files\x.exe' explain 'https://h.example/' --path direct "
        r"--config.file 'C:\Users\Jürgen\it''s $x.yaml'"
    )


def test_a_role_that_is_asked_for_stands_in_place_of_those_of_the_service() -> None:
    assert shlex.split(HERE.line("check", "--role", "console"))[1:] == (
        ["check", "--role", "console", "--config.file", HERE.config_file, "--cloud", "azure-public"]
    )
    assert shlex.split(HERE.line("validate"))[1:] == ["validate", "--config.file", HERE.config_file]


@pytest.mark.parametrize(
    "call", [("explain", "https://h.example/", "--path", "direct"), ("check",), ("validate",), ("endpoints",)]
)
def test_what_is_pasted_is_understood(call: tuple[str, ...]) -> None:
    group: Any = typer.main.get_command(app)
    name, *given = shlex.split(HERE.line(*call))[1:]
    context = group.get_command(None, name).make_context(name, given)
    assert context.params["config_file"] == Path(HERE.config_file)
    assert context.params.get("path") == ("direct" if name == "explain" else None)


def test_a_service_is_asked_by_the_file_that_it_reads_wherever_somebody_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = by_hand(Source(Path("a b.yaml"), Selection(roles=("client",))), program_here())
    assert (asked.config_file, asked.roles) == (str(tmp_path / "a b.yaml"), ("client",))
    assert by_hand(Source()).config_file == ""


def test_the_program_that_is_named_is_this_one() -> None:
    done = subprocess.run([*program_here(), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"


# ---------------------------------------------------------------- other commands


EVERY: Final = [
    command
    for found in (*all_commands().reasons.values(), all_commands().walk, all_commands().certificate)
    for command in (*found.powershell, *found.posix)
]
SAFE: Final = ("port", "proxy_port", "resolver")  # nothing in these means anything to a shell


@pytest.mark.parametrize(
    "command",
    [by_path(command, proxy) for command in EVERY for proxy in (None, "corporate")],
    ids=lambda c: c.line.split()[0],
)
def test_what_is_filled_in_stands_in_quotes(command: Command) -> None:
    for name in re.finditer(r"(?<!%)\{(url|host|port|socket|proxy|proxy_host|proxy_port|resolver)\}", command.line):
        assert name[1] in SAFE or command.line[: name.start()].count("'") % 2 == 1


def test_a_quote_in_a_url_does_not_end_the_quotes() -> None:
    target = Target("https://h.example/?q='; id #")
    assert shlex.split(filled(Command("curl '{url}'"), target))[1] == target.url
    assert powershell(filled(Command("curl.exe '{url}'"), target, shell=Shell.POWERSHELL)) == ["curl.exe", target.url]


def test_curl_takes_no_url_for_a_pattern_of_several() -> None:
    assert (
        filled(Command("curl -s '{url}'"), Target("https://h.example/{a}"))
        == "curl --globoff -s 'https://h.example/{a}'"
    )
    assert filled(Command("curl.exe '{url}'"), Target("https://h.example/[1-2]")).startswith("curl.exe --globoff ")


@pytest.mark.parametrize(
    ("line", "by_proxy"),
    [
        ("curl -s 'x'", "curl --proxy '{proxy}' -s 'x'"),
        ("curl.exe -s 'x'", "curl.exe --proxy '{proxy}' -s 'x'"),
        ("a = 1\nInvoke-WebRequest 'x'", "a = 1\nInvoke-WebRequest -Proxy '{proxy}' -ProxyUseDefaultCredentials 'x'"),
        ("curl -x '{proxy}' 'x'", "curl -x '{proxy}' 'x'"),
    ],
)
def test_a_command_goes_by_the_path_of_its_target(line: str, by_proxy: str) -> None:
    assert by_path(Command(line), None).line == line
    assert by_path(Command(line), "corporate").line == by_proxy


def test_an_address_of_ipv6_stands_in_brackets_before_a_port() -> None:
    assert filled(Command("'{socket}'"), Target("https://[2001:db8::1]/")) == "'[2001:db8::1]:443'"


def test_a_firewall_request_says_how_each_role_is_tested_by_the_same_file(tmp_path: Path) -> None:
    config = tmp_path / "it's mine.yaml"
    config.write_text("site: {roles: [client, console], features: [url-forwarding]}\n")
    done = CliRunner().invoke(app, ["allowlist", "--config.file", str(config), "--format", "markdown"])
    lines = re.findall(rf"^{PROGRAM} .*$", done.stdout, re.MULTILINE)
    assert [shlex.split(line)[1:] for line in lines] == [
        ["check", "--role", role, "--config.file", str(config)] for role in ("client", "console")
    ]
    assert re.search(r"^```powershell\ncurl\.exe .*'https://HOST/'\n```$", done.stdout, re.MULTILINE)


# ---------------------------------------------------------------- as users paste it


@pytest.mark.lab
def test_the_command_of_a_page_says_what_the_page_says(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s $HOME "ö" \\ `id`'
    folder.mkdir()
    config = folder / "exporter.yaml"
    config.write_text(
        "site: {features: [url-forwarding], roles: [service-connection-point, client]}\n"
        f"proxies: {{corporate: {{url: '{lab.proxy_url}'}}}}\n"
        "via: {service-connection-point: corporate}\n"
    )
    verdicts = {}
    with lab.proxy_denies("go.microsoft.com", Denial.PAGE), running(lab, tmp_path, "--config.file", config) as exporter:
        eventually("first results", exporter.ready)
        for path in ("proxy:corporate", "direct"):
            page = exporter.get(f"/target?{urlencode({'url': 'https://go.microsoft.com/', 'path': path})}").body
            (line,) = re.findall(r"<code>([^<]*explain[^<]*)</code>", page)
            done = lab.run(["/bin/sh", "-c", unescape(line)], cwd="/")
            verdicts[path] = ("proxy_denied" in page, done.returncode, done.stdout.splitlines()[:2])
    assert verdicts["proxy:corporate"][:2] == (True, 1)
    assert verdicts["proxy:corporate"][2][0] == "DOWN: https://go.microsoft.com/ (proxy:corporate)"
    assert verdicts["proxy:corporate"][2][1].strip().startswith("proxy_denied: ")
    assert verdicts["direct"][:2] == (False, 0)
    assert verdicts["direct"][2][0] == "UP: https://go.microsoft.com/ (direct)"
