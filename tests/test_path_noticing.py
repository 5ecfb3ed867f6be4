"""In the laboratory: a path is known to be down, and to be up again, long before every check has had its turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

from tests.lab import PROXY_HOST, Lab
from tests.running import eventually, running

pytestmark = [pytest.mark.lab, pytest.mark.timing]

OUT_OF_TURN: Final = "configmgr_exporter_probes_out_of_turn_total"
Fault = Callable[[Lab], AbstractContextManager[None]]
SPARSE: Final = """
probe: {{interval: 5m, timeout: 2s}}
site: {{roles: [client, service-connection-point]}}
proxies: {{corporate: {{url: "{proxy}"}}}}
via: {{client: corporate}}
"""
FAULTS: Final[dict[str, Fault]] = {"proxy:corporate": lambda lab: lab.reset(PROXY_HOST), "direct": Lab.cut_line}


def test_a_path_is_known_to_be_down_and_up_again_long_before_an_interval_is_over(
    lab: Lab, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    config, took = tmp_path / "exporter.yaml", list[float]()
    config.write_text(SPARSE.format(proxy=lab.proxy_url))
    with running(lab, tmp_path, "--config.file", config) as exporter:

        def until(path: str, up: float) -> float:
            begun = time.monotonic()
            eventually(
                f"{path} is {up}",
                lambda: list(exporter.values("configmgr_path_up", path=path).values()) == [up],
                within=240,
            )
            return time.monotonic() - begun

        eventually("first results", exporter.ready)
        for path, fault in FAULTS.items():
            with fault(lab):
                down = until(path, 0)
                (since,) = exporter.values("configmgr_path_down_since_timestamp_seconds", path=path).values()
            took += (down, until(path, 1))
            figure(f"{path} fails, probed every 300 s: known after {down:.1f} s, its end after {took[-1]:.1f} s")
            assert since <= time.time()
        made = {dict(labels)["why"] for labels, number in exporter.values(OUT_OF_TURN).items() if number}
    assert max(took) < 150
    assert made >= {"suspected", "recovered"}
