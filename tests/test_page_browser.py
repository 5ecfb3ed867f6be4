"""The pages in a real browser: they are whole, readable by everybody, small, and ask for nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser, Page, Response, Route

from exporter.web.pages import REFRESH, SOON
from tests.browser import chromium
from tests.pages import SITES, TARGET, serving
from tests.running import in_a_quiet_moment
from tests.tools.screenshots import SCHEMES

pytestmark = pytest.mark.lab

WIDE: Final = (1280, 900)
PHONE: Final = (360, 740)
COMMON_PHONE: Final = (390, 844)
OTHERS: Final = {
    "target": TARGET,
    "runbook": "/runbooks/connect_timeout",
    "request": "/firewall-request",
    "none": "/target?url=https%3A%2F%2Fdownload.microsoft.org%2F",
}
MOST_BYTES: Final = 150_000  # of the page with its style, script and icon, uncompressed
PATIENCE: Final = 300_000.0  # milliseconds that a busy machine may take
TIMES: Final = 4.0  # as long as a bare table takes the same browser; measured: 1.4 to 1.9
BARE_TABLE: Final = """() => {
    const begun = performance.now(), table = document.createElement("table");
    for (let row = 0; row < 2000; row++) {
        const cells = table.insertRow();
        for (let cell = 0; cell < 8; cell++) cells.insertCell().textContent = `${row} ${cell}`;
    }
    document.body.append(table);
    table.getBoundingClientRect();
    table.remove();
    return performance.now() - begun;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Where each site is served."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(made())) for name, made in SITES.items()}


@contextmanager
def opened(browser: Browser, size: tuple[int, int] = WIDE, *, scripts: bool = True) -> Iterator[Page]:
    """A page in a context of its own; scripts of ours may run in it against its policy."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=scripts,
        bypass_csp=scripts,
    )
    context.set_default_timeout(PATIENCE)
    try:
        yield context.new_page()
    finally:
        context.close()


# ---------------------------------------------------------------- for everybody


@pytest.mark.parametrize(
    ("size", "sites"),
    [(WIDE, ("healthy", "broken", "started", "empty")), (PHONE, ("proxyless", "empty"))],
    ids=["wide", "phone"],
)
def test_no_page_keeps_anybody_out_nor_is_wider_than_the_screen(
    browser: Browser, addresses: dict[str, str], size: tuple[int, int], sites: tuple[str, ...]
) -> None:
    looks = [addresses[site] for site in sites] + [f"{addresses['broken']}{path}" for path in OTHERS.values()]
    with opened(browser, size) as page:
        for look in looks:
            page.goto(look)
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                assert (look, scheme, violations(page)) == (look, scheme, [])
            assert page.evaluate("document.documentElement.scrollWidth") == size[0]


def violations(page: Page) -> list[tuple[str, str]]:
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in found]


def test_the_pages_work_without_scripts(browser: Browser, addresses: dict[str, str]) -> None:
    with opened(browser, scripts=False) as page:
        page.goto(addresses["broken"])
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Feature").select_option("windows-servicing")
        page.get_by_label("State").select_option("down")
        with page.expect_navigation():
            page.get_by_role("button", name="Apply").click()
        query = urlsplit(page.url).query
        rows = page.locator(".targets tbody tr").count()
        with page.expect_navigation():
            page.locator(".targets tbody a").click()
        heading = page.get_by_role("heading", level=1).inner_text()
    assert "feature=windows-servicing" in query
    assert "state=down" in query
    assert rows == 1
    assert heading == "https://download.microsoft.com/"


def test_every_link_answers_and_no_page_asks_anybody_else_for_anything(
    browser: Browser, addresses: dict[str, str]
) -> None:
    asked: set[str] = set()
    refused: list[str] = []
    with browser.new_context() as context:  # under the policy
        page = context.new_page()
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.on("console", lambda message: refused.append(message.text))
        found: set[str] = set()
        for path in ("/", "/runbooks/", *OTHERS.values()):
            page.goto(f"{addresses['broken']}{path}")
            found |= set(page.eval_on_selector_all("a:not(.skip), link", "all => all.map(each => each.href)"))
        here = {link.partition("#")[0] for link in found if link.startswith(addresses["broken"])}
        statuses = {link: page.request.get(link).status for link in sorted(here)}
    assert {link: status for link, status in statuses.items() if status != 200} == {}
    assert len(here) > 100
    assert asked == {urlsplit(addresses["broken"]).netloc}
    assert [words for words in refused if "404" not in words] == []  # one of the pages is one


# ---------------------------------------------------------------- what is seen


def test_what_is_broken_is_seen_first(browser: Browser, addresses: dict[str, str]) -> None:
    with opened(browser, COMMON_PHONE) as page:
        page.goto(addresses["broken"])
        title, headline = page.title(), page.get_by_role("heading", level=1).inner_text()
        headings = page.locator("h2").all_inner_texts()
        causes = page.locator(".causes li")
        seen = causes.all_inner_texts()
        lowest = causes.last.bounding_box()
        causes.nth(1).get_by_role("link").click()
        article = page.locator("article:target").inner_text()
    assert title == "✗ Not ready · P01 Berlin"
    assert headline == "✗ Not ready"
    assert headings[:3] == ["What is down", "TLS is inspected, which breaks these", "Readiness"]
    assert len(seen) == 3
    assert any("enterpriseregistration.windows.net: no answer" in one and "firewall" in one for one in seen)
    assert lowest is not None
    assert lowest["y"] + lowest["height"] < COMMON_PHONE[1]  # without scrolling
    assert "What to change (firewall)" in article


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("healthy", "✓ Ready"), ("empty", "○ Nothing to check"), ("pending", "… Pending"), ("started", "… Pending")],
)
def test_a_status_page_without_faults_says_so(
    browser: Browser, addresses: dict[str, str], kind: str, verdict: str
) -> None:
    with opened(browser) as page:
        page.goto(addresses[kind])
        assert page.get_by_role("heading", level=1).inner_text() == verdict
        assert "What is down" not in page.locator("h2").all_inner_texts()


def sooner(page: Page, looks: list[str]) -> None:
    """Have a page look again at once, and note each look."""

    def answered(route: Route) -> None:
        looks.append(route.request.url)
        answer = route.fetch(timeout=PATIENCE)
        text = answer.text()
        for seconds in (REFRESH, SOON):
            text = text.replace(f'data-seconds="{seconds}"', 'data-seconds="0.2"')
            text = text.replace(f'http-equiv="refresh" content="{seconds}"', 'http-equiv="refresh" content="1"')
        route.fulfill(response=answer, body=text)

    page.route("**/?*", answered)


def wait_for_looks(page: Page, looks: list[str], number: int) -> None:
    enough = len(looks) + number
    for _ in range(int(PATIENCE // 50)):
        if len(looks) >= enough:
            return
        page.wait_for_timeout(50)
    raise AssertionError(looks)


@pytest.mark.parametrize("scripts", [False, True], ids=["without scripts", "with scripts"])
def test_the_page_looks_again_by_itself_and_keeps_the_filters(
    browser: Browser, addresses: dict[str, str], *, scripts: bool
) -> None:
    with opened(browser, scripts=scripts) as page:
        looks: list[str] = []
        sooner(page, looks)
        page.goto(f"{addresses['healthy']}/?role=client&state=up")
        wait_for_looks(page, looks, 2)
        page.unroute_all(behavior="ignoreErrors")  # the look after it may be under way
    assert set(looks) == {f"{addresses['healthy']}/?role=client&state=up"}
    assert REFRESH >= 10  # seconds: nobody reads faster


def test_what_is_typed_and_opened_stays_over_a_look_and_silence_is_said(
    browser: Browser, addresses: dict[str, str]
) -> None:
    with opened(browser) as page:
        looks: list[str] = []
        sooner(page, looks)
        page.goto(f"{addresses['proxyless']}/?show=all")
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Feature").select_option("tenant-attach")
        page.get_by_label("Target contains").press_sequentially("microsoft")
        page.locator("details.printed > summary").click()
        page.evaluate("document.querySelector('h1').textContent = 'an old look'")
        page.get_by_label("Target contains").focus()
        wait_for_looks(page, looks, 2)
        page.wait_for_function("document.querySelector('h1').textContent.includes('Not ready')")
        typed = page.get_by_label("Target contains").input_value()
        chosen = page.get_by_label("Feature").input_value()
        focused = page.evaluate("document.activeElement.name")
        opened_still = page.locator("details.printed").get_attribute("open")
        hidden = page.locator("#stale").is_hidden()
        page.unroute_all(behavior="ignoreErrors")
        page.route("**/?*", lambda route: route.abort())
        page.locator("#stale").wait_for(state="visible")
        silence = page.locator("#stale").inner_text()
    assert (typed, chosen, focused, opened_still, hidden) == ("microsoft", "tenant-attach", "target", "", True)
    assert silence.startswith("The exporter has not answered since ")


def test_on_paper_it_is_two_pages_and_what_is_folded_is_on_them(browser: Browser, addresses: dict[str, str]) -> None:
    with opened(browser) as page:
        page.goto(addresses["proxyless"])
        page.emulate_media(media="print")
        folded = page.locator("details.printed tbody tr").first.bounding_box()
        left_out = page.locator("#targets").is_hidden()
        paper = page.pdf(format="A4")
    assert folded is not None
    assert folded["height"] > 0
    assert left_out
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= 2


# ---------------------------------------------------------------- two thousand targets


def test_a_page_of_two_thousand_targets_is_small_and_soon_there(
    browser: Browser, addresses: dict[str, str], figure: Callable[[str], None]
) -> None:
    with opened(browser) as page:
        answers: list[Response] = []
        page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - Playwright marks what it is given
        page.goto(addresses["large"])
        size = sum(len(answer.body()) for answer in tuple(answers))
        page_took, table_took = in_a_quiet_moment(
            lambda: (interactive(page), float(page.evaluate(BARE_TABLE))), lambda seen: seen[0] < TIMES * seen[1]
        )
        shown = page.locator("#targets .counts").inner_text()
    figure(
        f"status page, 2,000 targets: {size:,} bytes with its style, interactive after {page_took:.0f} ms, "
        f"where a bare table takes {table_took:.0f}"
    )
    assert shown == "2000"
    assert size < MOST_BYTES
    assert page_took < TIMES * table_took


def interactive(page: Page) -> float:
    page.reload()
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive"))
