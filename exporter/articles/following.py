"""Read saved articles, recognise each, and compare it with the shipped catalogue: files -> Differences, or mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from exporter.articles.article import Article
from exporter.articles.difference import Difference, compared, recognised
from exporter.articles.reading import Unreadable, read
from exporter.config.articles import load_articles
from exporter.model.articles import Followed
from exporter.text.printable import one_line, short


def compared_all(paths: Iterable[Path], directory: Path | None = None) -> tuple[list[Difference], list[str]]:
    """What differs, article by article; and the sources that are none, each with what to do.

    `directory`: the catalogue; None: the shipped one. Raises DocumentError where that has mistakes.
    """
    articles, rows = load_articles(directory)
    differences: list[Difference] = []
    mistakes: list[str] = []
    for path in paths:
        try:
            article = read(path)
            differences.append(compared(article, _recognised(article, articles), rows))
        except Unreadable as error:
            mistakes.append(f"{path}: {error}")
    return differences, mistakes


def _recognised(article: Article, articles: tuple[Followed, ...]) -> Followed:
    followed = recognised(article, articles)
    if followed is None:
        title = next(iter(article.titles), "")
        what = f"is titled {short(one_line(title))!r}" if title else "has no title"
        known = "; ".join(followed.titles[0] for followed in articles)
        raise Unreadable(f"{what}, and none of the articles that the catalogue follows: {known}")
    return followed
