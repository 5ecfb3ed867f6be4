"""`config init` and `config schema`: to begin a configuration, and to be helped by an editor while writing it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from exporter.cli.completion import known_clouds, known_roles
from exporter.cli.options import writing
from exporter.config import catalogue as shipped
from exporter.config.json_schema import Kind, schema_of
from exporter.config.wizard import QUESTIONS, Answers, Question, fault, written
from exporter.model.vocabulary import Catalogue
from exporter.service.by_hand import by_hand, program_here
from exporter.service.load import Source

DEFAULT_FILE: Final = Path("exporter.yaml")
BACK: Final = "<"
Said = str | tuple[str, ...]

config = typer.Typer(
    help="Create a configuration, or print its JSON Schema.", no_args_is_help=True, rich_markup_mode=None
)


@config.command()
def init(
    output: Annotated[
        Path, typer.Option("--output", readable=False, metavar="FILE", help="The configuration to write.")
    ] = DEFAULT_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if there is one.")] = False,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="Ask nothing, as without a terminal: what no option says is left out.")
    ] = False,
    cloud: Annotated[
        list[str] | None,
        typer.Option("--cloud", metavar="SLUG", help="A cloud of the site; repeatable.", autocompletion=known_clouds),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="SLUG", help="A role that the site has; repeatable.", autocompletion=known_roles
        ),
    ] = None,
    gateway: Annotated[
        str | None, typer.Option("--gateway", metavar="NAME", help="The cloud management gateway's service name.")
    ] = None,
    region: Annotated[str | None, typer.Option("--gateway-region", metavar="REGION", help="Its Azure region.")] = None,
    proxy: Annotated[
        str | None, typer.Option("--proxy", metavar="URL", help="A web proxy, as http://host:port.")
    ] = None,
    username: Annotated[
        str | None, typer.Option("--proxy-user", metavar="NAME", help="Who signs in to the proxy.")
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            "--proxy-password-file", metavar="FILE", help="Holds the password; relative to the configuration."
        ),
    ] = None,
    via: Annotated[
        list[str] | None,
        typer.Option(
            "--proxy-role",
            metavar="SLUG",
            help="A role that goes through the proxy; repeatable; else all.",
            autocompletion=known_roles,
        ),
    ] = None,
    version: Annotated[
        str | None, typer.Option("--site-version", metavar="YYMM", help="The site's version of Configuration Manager.")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream-sup", metavar="NAME", help="The software update point that this one gets updates from."
        ),
    ] = None,
    intune: Annotated[
        str | None, typer.Option("--intune-region", metavar="REGION", help="Where the Intune tenant is.")
    ] = None,
    ca_file: Annotated[
        str | None,
        typer.Option("--ca-file", metavar="FILE", help="The root by which a proxy inspects TLS, in PEM."),
    ] = None,
) -> None:
    """Ask a few questions about the site and write a commented configuration. Options answer in advance."""
    if os.path.lexists(output) and not force:
        raise typer.BadParameter(f"{output} exists; give --force to overwrite it.", param_hint="--output")
    interview = _Interview(output, shipped.load(), asking=sys.stdin.isatty() and not no_input)
    given: dict[str, Said | None] = {
        "clouds": tuple(cloud or ()),
        "roles": tuple(role or ()),
        "gateway": gateway,
        "region": region,
        "proxy": proxy,
        "username": username,
        "password_file": password_file,
        "via": tuple(via or ()),
        "version": version,
        "upstream": upstream,
        "intune": intune,
        "ca_file": ca_file,
    }
    answers = interview.all_answered(given)
    with writing(output, "--output"), output.open("w" if force else "x", encoding="utf-8", newline="\n") as out:
        out.write(written(answers, interview.catalogue))
    typer.echo(f"{output}: written. What can be reached from here:")
    typer.echo(f"  {replace(by_hand(Source(), program_here()), config_file=str(output)).line('check')}")


@dataclass(frozen=True, slots=True)
class _Interview:
    """Questions about a file, answered in advance or asked until the answer fits."""

    file: Path
    catalogue: Catalogue
    asking: bool

    def all_answered(self, given: Mapping[str, Said | None]) -> Answers:
        """The answers to all questions; whoever answers may go back to the question before, and so to any."""
        if self.asking:
            typer.echo(f"{BACK} goes back to the question before.")
        answers, number, asked = Answers(), 0, list[int]()
        while number < len(QUESTIONS):
            question = QUESTIONS[number]
            try:
                answers = self.answered(answers, question, given[question.field])
            except _Back:
                number = asked.pop() if asked else number
                answers = replace(
                    answers, **{later.field: getattr(Answers(), later.field) for later in QUESTIONS[number:]}
                )
                continue
            if self.asking and not given[question.field] and (not question.after or getattr(answers, question.after)):
                asked.append(number)
            number += 1
        return answers

    def answered(self, before: Answers, question: Question, given: Said | None) -> Answers:
        """The answers so far, and that to one more question. Raises _Back."""
        default: Said = getattr(before, question.field)
        if question.after and not getattr(before, question.after):
            if given:
                raise typer.BadParameter(f"goes with {_option(question.after)}.", param_hint=question.option)
            return before
        if given or not self.asking:
            return self._fitting(before, question, given or default)
        known = self._known(question)
        for number, (word, title) in enumerate(known, 1):
            typer.echo(f"{number:>3}  {word:{max(len(word) for word, _ in known)}}  {title}".rstrip())

        def read(line: str) -> Answers:
            if line.strip() == BACK:
                raise _Back
            words = tuple(_meant(word, known) for word in line.replace(",", " ").split())
            one = words[0] if known and len(words) == 1 else line.strip()
            return self._fitting(before, question, (words or default) if question.many else one)

        shown = ", ".join(default)
        return cast("Answers", typer.prompt(question.text, shown, value_proc=read, show_default=bool(shown)))

    def _known(self, question: Question) -> list[tuple[str, str]]:
        """The words that answer a question, with what they mean, where these are few."""
        match question.field:
            case "clouds":
                return [(cloud.slug, cloud.title) for cloud in self.catalogue.clouds.values()]
            case "roles" | "via":
                return [(role.slug, role.title) for role in self.catalogue.roles.values()]
            case "intune":
                return [(value, "") for value in self.catalogue.parameters["intune_region"].values]
            case _:
                return []

    def _fitting(self, before: Answers, question: Question, said: Said) -> Answers:
        more: dict[str, Any] = {question.field: said}
        answers = replace(before, **more)
        if wrong := fault(answers, question, self.file, self.catalogue):
            raise typer.BadParameter(wrong, param_hint=question.option)
        return answers


class _Back(Exception):
    """Somebody wants the question before."""


def _meant(word: str, known: list[tuple[str, str]]) -> str:
    """The word of a number in the list that was shown."""
    return known[int(word) - 1][0] if word.isdecimal() and 0 < int(word) <= len(known) else word


def _option(field: str) -> str:
    return next(question.option for question in QUESTIONS if question.field == field)


@config.command()
def schema(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"Of which file: {', '.join(Kind)}.")] = Kind.EXPORTER,
) -> None:
    """Write the JSON Schema by which an editor completes and checks a file."""
    typer.echo(json.dumps(schema_of(kind, shipped.load()), indent=2))
