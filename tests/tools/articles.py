"""Fetch the articles that the catalogue follows, and compare them with it: `python -m tests.tools.articles`.

They come as Markdown, with what they include, from the documentation's public repositories: of each only the newest
commit, and of that only the folders that hold an article. The exit status is that of `catalogue diff`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from exporter.config.articles import load_articles
from exporter.model.articles import Followed

GITHUB: Final = "https://github.com/"
BAD_INPUT: Final = 2


def fetch(articles: Iterable[Followed], folder: Path, origin: str = GITHUB) -> tuple[list[Path], list[str]]:
    """Fetch articles into a folder: where each is, and what could not be had."""
    paths_in: dict[str, list[PurePosixPath]] = {}
    for followed in articles:
        owner, name, path = followed.markdown.split("/", 2)
        paths_in.setdefault(f"{owner}/{name}", []).append(PurePosixPath(path))
    files: list[Path] = []
    faults: list[str] = []
    for repository, paths in paths_in.items():
        clone = folder / repository
        fault = _clone(f"{origin}{repository}", clone, {str(path.parent) for path in paths})
        if fault:
            faults.append(f"{repository}: {fault}")
            continue
        files += [clone / path for path in paths if (clone / path).is_file()]
        faults += [
            f"{repository}: {path} is not there any more; give its new place under `markdown` in articles.yaml"
            for path in paths
            if not (clone / path).is_file()
        ]
    return files, faults


def _clone(url: str, into: Path, folders: Iterable[str]) -> str:
    """Clone some folders of a repository; what went wrong, or nothing."""
    steps = (
        ["git", "clone", "--quiet", "--depth=1", "--filter=blob:none", "--sparse", url, str(into)],
        ["git", "-C", str(into), "sparse-checkout", "set", *sorted(folders)],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip() or f"git ended with {done.returncode}"
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Fetch, compare, and write the issue."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.articles", description=__doc__)
    parser.add_argument("--origin", default=GITHUB, help="where the repositories are")
    parser.add_argument("--output", type=Path, help="the file that the issue is written to; else to stdout")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        files, faults = fetch(load_articles()[0], Path(folder), options.origin)
        for fault in faults:
            sys.stderr.write(f"{fault}\n")
        if not files:
            return BAD_INPUT
        command = [sys.executable, "-m", "exporter", "catalogue", "diff", "--format", "markdown", *map(str, files)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
        issue = done.stdout.replace(f"{folder}/", "")
    if options.output:
        options.output.write_text(issue, encoding="utf-8", newline="\n")
    else:
        sys.stdout.write(issue)
    return BAD_INPUT if faults else done.returncode


if __name__ == "__main__":
    sys.exit(main())
