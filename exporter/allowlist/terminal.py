"""The allow list for a terminal: Rules -> a console of any width."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table

from exporter.allowlist.comparison import Comparison
from exporter.allowlist.difference import Difference, by_change
from exporter.allowlist.rows import Block, by_path, documents, whose
from exporter.allowlist.rules import Rule
from exporter.model.vocabulary import Support
from exporter.report.terminal import Page
from exporter.text.numbers import plural

_INSPECTION: Final = {
    Support.SUPPORTED: "yes",
    Support.CONDITIONAL: "conditional",
    Support.UNSUPPORTED: "NO",
    Support.UNSPECIFIED: "",
    None: "",
}


def print_rules(rules: Iterable[Rule], console: Console) -> None:
    """By path, then by the roles that need it and for what; at the end the documents, and how to read it."""
    needed = tuple(rules)
    page = Page(console)
    _print_blocks(needed, page)
    page.line("Documents", "bold")
    for feature, docs in documents(needed).items():
        page.line(f"{feature}:", indent=2)
        for url in docs:
            page.line(url, indent=4)
    page.gap()
    for sentence in (
        "A wildcard stands for every name below it, at any depth, and not for the name itself.",
        "TLS inspection: whether the documents support it; empty where they do not say.",
        f"{plural(len(needed), 'rule')}, {plural(len({rule.host for rule in needed}), 'host')}",
    ):
        page.line(sentence)


def print_difference(found: Difference, console: Console) -> None:
    """What was added and removed, as rules, and what changed, in words; the sum last."""
    page = Page(console)
    for title, rules in (("ADDED", found.added), ("REMOVED", found.removed)):
        if rules:
            page.line(f"{title}: {plural(len(rules), 'rule')}", "bold")
            _print_blocks(rules, page)
    if found.changed:
        page.line(f"CHANGED: {plural(len(found.changed), 'rule')}", "bold")
        for changes, alike in by_change(found).items():
            for change in changes:
                page.line(change, indent=2)
            for rule in alike:
                page.line(f"{rule.what} for {rule.role} ({rule.path})", indent=6)
        page.gap()
    page.line(found.headline, "bold")


def print_comparison(compared: Comparison, console: Console) -> None:
    """What the list lacks, what could not be judged and why, and the verdict last."""
    page = Page(console)
    if compared.missing:
        page.line("MISSING", "bold red")
        _print_blocks(compared.missing, page)
    if compared.unjudged:
        page.line("Not judged", "yellow")
        for sentence in dict.fromkeys(f"{rule.what}: {why}" for rule, why in compared.unjudged):
            page.line(sentence, indent=2)
        page.gap()
    page.line(compared.headline, "bold red" if compared.missing else "bold")


def _print_blocks(rules: Iterable[Rule], page: Page) -> None:
    for path, blocks in by_path(rules).items():
        page.line(whose(path), "bold")
        page.gap()
        for block in blocks:
            page.line(f"for {', '.join(block.roles)}: {', '.join(block.features)}", "italic")
            if block.authenticated_proxy is not None:
                page.line(f"authenticated proxy: {block.authenticated_proxy}", "italic")
            page.table(_table(block, page))


def _table(block: Block, page: Page) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("host", "protocol and port", "TLS inspection"):
        table.add_column(name, overflow="fold")
    for row in block.rows:
        cells = (row.host, ", ".join(row.opened), _INSPECTION[row.tls_inspection])
        table.add_row(*(page.text(cell) for cell in cells))
        if row.missing:
            table.add_row(page.text(f"  TO DO: {row.missing}", "yellow"))
    return table
