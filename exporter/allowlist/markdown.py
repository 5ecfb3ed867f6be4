"""The allow list as a change request: Rules -> Markdown that goes to the firewall team as it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from exporter.allowlist.comparison import Comparison
from exporter.allowlist.difference import Difference, by_change
from exporter.allowlist.down import Seen
from exporter.allowlist.rows import Block, Row, by_path, documents, whose
from exporter.allowlist.rules import Rule
from exporter.model.patterns import is_wildcard
from exporter.model.vocabulary import Role, Support
from exporter.report.evidence import moment
from exporter.report.invocation import BY_NAME, Invocation
from exporter.report.markdown import code, prose, table_row
from exporter.text.printable import escaped

_PURPOSE: Final = """\
Microsoft Configuration Manager needs the outgoing connections below for the features that are named with them.
Microsoft documents them in
[Internet access requirements](https://learn.microsoft.com/en-us/intune/configmgr/core/plan-design/network/internet-endpoints)
and in the documents under [Reasons](#reasons). Please let them through.

- `*.name` stands for every name below `name`, at any depth, and not for `name` itself.
- `http` and `https` are TCP.
- The rules are about names: the addresses behind them change without notice.
- Please report what cannot be allowed as it stands here, rather than a part of it."""

_TESTS: Final = """\
One destination, in PowerShell (put in its URL; on Linux the command is `curl`, and `NUL` is `/dev/null`):

```powershell
curl.exe -sS --head --max-time 10 -o NUL -w '%{http_code}' 'https://HOST/'
```

A status of the service itself is good, also 403 or 404. A timeout, a reset, the block page of a proxy or a certificate
that does not verify is not. `CRYPT_E_NO_REVOCATION_CHECK` says that the addresses for revocation are closed: with
`--ssl-no-revoke` curl goes on without them, Configuration Manager may not."""


def change_request(
    rules: Iterable[Rule], roles: Mapping[str, Role], command: Invocation = BY_NAME, seen: Iterable[Seen] = ()
) -> str:
    """Purpose, from where, what, the constraints, the reasons, how to test. Whatever a text holds, it stays text.

    `command` is how the exporter is called so that it reads the same configuration; `seen` is what is down.
    """
    needed, failed = tuple(rules), tuple(seen)
    return "\n".join(
        (
            *("# Firewall request: Microsoft Configuration Manager", "", "## Purpose", "", _PURPOSE),
            *_sources(needed, roles),
            *_sections(needed, "##"),
            *_incomplete(needed),
            *_logged(failed),
            *_constraints(needed, failed),
            *_reasons(needed),
            *("", "## How to test", *_tests(needed, command), "", _TESTS),
            *_examples(needed),
        )
    )


def difference_markdown(found: Difference) -> str:
    """What to let through in addition, what no longer, and what else has changed."""
    lines = ["# Changes to the firewall request: Microsoft Configuration Manager", "", prose(found.headline)]
    for title, rules in (("Please allow", found.added), ("No longer needed", found.removed)):
        if rules:
            lines += ("", f"## {title}", *_sections(rules, "###"))
    if found.changed:
        lines += ("", "## Changed", "", *_table("Destination", "Role", "Path", "Change"))
        for changes, alike in by_change(found).items():
            said = "; ".join(prose(change) for change in changes)
            lines += (table_row((code(rule.what), code(rule.role), code(rule.path), said)) for rule in alike)
    return "\n".join(lines)


def comparison_markdown(compared: Comparison) -> str:
    """The verdict, what the list lacks, and what could not be judged."""
    lines = ["# Allow list compared: Microsoft Configuration Manager", "", f"**{prose(compared.headline)}**"]
    if compared.missing:
        lines += ("", "## Missing", *_sections(compared.missing, "###"))
    if compared.unjudged:
        lines += ("", "## Not judged", "", *_table("Destination", "Why"))
        lines += dict.fromkeys(table_row((code(rule.what), prose(why))) for rule, why in compared.unjudged)
    return "\n".join(lines)


def _sections(rules: Iterable[Rule], level: str) -> Iterator[str]:
    """A section for each path, a table for those who need the same."""
    for path, blocks in by_path(rules).items():
        yield from ("", f"{level} {prose(whose(path).capitalize())}")
        for block in blocks:
            yield from _block(block, f"{level}#")


def _block(block: Block, level: str) -> Iterator[str]:
    roles, features = (", ".join(code(slug) for slug in slugs) for slugs in (block.roles, block.features))
    yield from ("", f"{level} For {roles}: {features}", "")
    said = [f"Importance: {block.importance}."]
    if block.authenticated_proxy is not None:
        said.append(f"Authenticated proxy: {block.authenticated_proxy}.")
    yield from (" ".join(said), "")
    yield from _table("Destination", "Protocol and port", "TLS inspection", "When")
    for row in block.rows:
        yield table_row((code(row.host), prose(", ".join(row.opened)), _inspection(row), prose(_when(row))))


def _inspection(row: Row) -> str:
    if row.tls_inspection is None:
        return "no TLS"
    return "**unsupported**" if row.tls_inspection is Support.UNSUPPORTED else row.tls_inspection


def _when(row: Row) -> str:
    """The condition, unless one of the needs has none: then it is needed anyhow."""
    conditions = [need.condition for need in row.needed_for]
    return "" if None in conditions else "; or: ".join(dict.fromkeys(filter(None, conditions)))


def _sources(rules: Iterable[Rule], roles: Mapping[str, Role]) -> Iterator[str]:
    yield from ("", "## From where", "")
    yield from _table("Role", "What it is", "Its way out", "Addresses (please fill in)")
    for slug in sorted({rule.role for rule in rules}):
        role = roles[slug]
        yield table_row((code(slug), prose(role.title), prose(role.proxy_note or ""), ""))


def _incomplete(rules: Iterable[Rule]) -> Iterator[str]:
    missing = sorted({(rule.host, rule.missing) for rule in rules if rule.missing})
    if missing:
        yield from ("", "## Not complete yet", "", "What stands in angle brackets is still to be named.", "")
        yield from _table("Destination", "To do")
        yield from (table_row((code(host), prose(todo))) for host, todo in missing)


def _logged(seen: Iterable[Seen]) -> Iterator[str]:
    """What to search for in the log of whoever stopped it."""
    rows = tuple(seen)
    if rows:
        yield from ("", "## What the log shows", "")
        yield from ("These probes failed. Please search the log for them; the times are UTC.", "")
        yield from _table("Time", "From", "To", "Name or request", "What came of it")
    for row in rows:
        yield table_row(_logged_row(row))


def _logged_row(row: Seen) -> tuple[str, ...]:
    result, one = row.result, row.connection
    message = prose(result.failure.message if result.failure else "")
    began = f"{moment(one.at if one else result.started):%Y-%m-%d %H:%M:%S}"
    if one is None:
        return began, "", "", code(result.key.target.url), message
    name = one.request or (f"SNI {one.server_name}" if one.server_name else result.key.target.url)
    return began, code(str(one.source)) if one.source else "", code(one.to), code(name), message


def _constraints(rules: Iterable[Rule], seen: Iterable[Seen]) -> Iterator[str]:
    needed = tuple(rules)
    lists = (
        (
            "TLS is inspected here, and that is why they fail; please exempt them:",
            {
                f"{one.result.key.target.host}, with a certificate of {one.inspected_by}"
                for one in seen
                if one.inspected_by
            },
        ),
        (
            "The documents do not support TLS inspection of these; please exempt them:",
            {rule.host for rule in needed if rule.tls_inspection is Support.UNSUPPORTED},
        ),
        (
            "The documents do not support a proxy that asks for a login here; please let these through without one:",
            {f"{rule.host} for {rule.role}" for rule in needed if rule.authenticated_proxy is Support.UNSUPPORTED},
        ),
        (
            "No web proxy carries these; please let them through the firewall itself:",
            {rule.what for rule in needed if rule.authenticated_proxy is None},
        ),
    )
    yield from ("", "## Constraints")
    if not any(found for _, found in lists):
        yield from ("", "None is known.")
    for sentence, found in lists:
        if found:
            yield from ("", sentence, "", *(f"- {code(name)}" for name in sorted(found)))


def _reasons(rules: Iterable[Rule]) -> Iterator[str]:
    yield from ("", "## Reasons", "")
    yield from _table("Feature", "Documents")
    for feature, docs in documents(rules).items():
        yield table_row((code(feature), ", ".join(prose(url) for url in docs)))


def _tests(rules: Iterable[Rule], command: Invocation) -> Iterator[str]:
    """What tests all of it, for each role."""
    yield from (
        "",
        "From a computer of each role, or from one whose traffic takes the same way, everything at once:",
        "",
    )
    lines = [escaped(command.line("check", "--role", role)) for role in sorted({rule.role for rule in rules})]
    yield from (f"```{command.shell}", *lines, "```")
    yield from ("", "It ends with `READY` and exit status 0; what is still closed is listed.")


def _examples(rules: Iterable[Rule]) -> Iterator[str]:
    """Names below the wildcards: nobody can test the wildcard itself."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        if is_wildcard(rule.host) and not rule.missing:
            found.setdefault(rule.host, set()).update(rule.targets)
    if found:
        yield from ("", "Names that are known below the wildcards, to test with; all others count as well:", "")
        yield from _table("Wildcard", "URLs")
        for host, urls in sorted(found.items()):
            yield table_row((code(host), ", ".join(code(url) for url in sorted(urls)) or "none is known"))


def _table(*header: str) -> Iterator[str]:
    yield table_row(header)
    yield table_row(("---",) * len(header))
