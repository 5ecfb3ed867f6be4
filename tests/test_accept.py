"""The form in which a scraper gets its metrics, whatever it asks for."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from exporter.metrics.accept import form_for, takes_gzip
from exporter.metrics.text import Exposition, render

OLDEST: Final = "text/plain; version=0.0.4; charset=utf-8"
NEWER: Final = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPEN: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ASKED: Final = {
    "": OLDEST,
    "*/*": OLDEST,
    "text/*;q=0.3": OLDEST,
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": OLDEST,
    "application/json": OLDEST,
    ";;;,,,": OLDEST,
    'text/plain;version="0.0.4': OLDEST,
    # quotes, cases, blanks
    'application/openmetrics-text;version="1.0.0"': f"{OPEN}; escaping=underscores",
    'text/plain;version="0.0.4"': OLDEST,
    "Text/Plain ; Version = 1.0.0 ; Escaping=allow-utf-8": f"{NEWER}allow-utf-8",
    # versions that nobody knows
    "application/openmetrics-text;version=1.0.0-rc1": OLDEST,
    "application/openmetrics-text;version=abc": OLDEST,
    "application/openmetrics-text;version=2.0.0": OLDEST,
    "application/openmetrics-text;version=0.0.1": OLDEST,
    "text/plain; version=9.9.9": OLDEST,
    "application/openmetrics-text;version=9.0.0,text/plain;version=1.0.0;q=0.1": f"{NEWER}underscores",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited": OLDEST,
    # quality
    "application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.9": OLDEST,
    "text/plain;version=0.0.4;q=0.2,application/openmetrics-text;version=1.0.0;q=0.9": f"{OPEN}; escaping=underscores",
    "application/openmetrics-text;version=1.0.0;q=0,text/plain": OLDEST,
    "application/openmetrics-text;version=1.0.0;q=0.000": OLDEST,
    "application/openmetrics-text;q=x": OPEN,
    "application/openmetrics-text": OPEN,
    "*/*;q=0": OLDEST,
    # Prometheus 2.42 and 3
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1": f"{OPEN}; escaping=underscores",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1": f"{OPEN}; escaping=allow-utf-8",
}


def scraped(accept: str) -> tuple[str, str]:
    registry = Exposition()
    Gauge("configmgr_some", "Something.", registry=registry).set(1)
    body, headers = render(registry, accept, "")
    return body.decode(), headers["Content-Type"]


@pytest.mark.parametrize("accept", ASKED)
def test_the_best_form_that_is_known_is_written(accept: str) -> None:
    body, content_type = scraped(accept)
    assert content_type.startswith(ASKED[accept])
    read = openmetrics if content_type.startswith("application/") else plain
    assert [family.name for family in read(body)] == ["configmgr_some"]


pieces = st.sampled_from(
    [*'",;=\\ *q', "text/plain", "application/openmetrics-text", "version=", "1.0.0", "0.0.4", "q=", "0.5", "é", "\x00"]
)


@given(st.lists(pieces).map("".join) | st.text())
def test_whatever_is_asked_there_is_an_answer(accept: str) -> None:
    body, content_type = scraped(accept)
    assert content_type.startswith((OLDEST, NEWER, OPEN))
    assert "configmgr_some 1.0" in body
    assert form_for(form_for(accept)) == form_for(accept)
    assert takes_gzip(f"gzip, {accept}") or '"' in accept


@pytest.mark.parametrize(
    ("offered", "packed"),
    [("gzip", True), ("deflate, GZIP;q=1.0", True), ("gzip;q=0", False), ("gzip; q=0.0, br", False), ("", False)],
)
def test_only_who_takes_gzip_gets_it(offered: str, packed: bool) -> None:
    _, headers = render(Exposition(), "", offered)
    assert ("Content-Encoding" in headers) is packed
