"""What `check --textfile` leaves to the exporter that is there already, read by a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.families import Seen, registry_for, textfile
from tests.lab import Lab
from tests.running import Answer, command, eventually, http, program
from tests.test_end_to_end import FEATURE, HOST
from tests.test_report import SNAPSHOTS

NODE_EXPORTER: Final = "127.0.0.1:9100"


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def node_exporter(lab: Lab, directory: Path, log: Path) -> Iterator[str]:
    """A node_exporter that collects the files of a directory and nothing else; gives the URL of its metrics."""
    only = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={directory}"]
    url = f"http://{NODE_EXPORTER}/metrics"

    def answer() -> Answer | None:
        found = http(lab, url)
        return found if found.status == 200 else None

    with program(lab, log, ["prometheus-node-exporter", *only, f"--web.listen-address={NODE_EXPORTER}"]):
        eventually("it answers", answer)
        yield url


@pytest.mark.lab
def test_a_node_exporter_exposes_what_the_last_check_found(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "collected/configmgr.prom"
    file.parent.mkdir()
    check = ("check", "--feature", FEATURE, "--textfile", file)
    with node_exporter(lab, file.parent, tmp_path / "log") as url:
        well = command(lab, *check)
        before, text = samples(http(lab, url).body), file.read_text()
        with lab.reset(HOST):
            ill = command(lab, *check)
        after = samples(http(lab, url).body)
    checking = lab.run(["promtool", "check", "metrics"], input=text)
    assert (well.returncode, ill.returncode) == (0, 1), well.stderr + ill.stderr
    assert (checking.returncode, checking.stdout + checking.stderr) == (0, "")
    assert samples(text).items() <= before.items()
    assert [seen["node_textfile_scrape_error", frozenset()] for seen in (before, after)] == [0, 0]
    assert 0.0 not in {value for (name, _), value in before.items() if name == "configmgr_feature_ready"}
    assert 0.0 in {value for (name, _), value in after.items() if name == "configmgr_feature_ready"}
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_textfile_holds_the_state_that_a_scrape_does_and_nothing_of_the_process(name: str) -> None:
    scraped = samples(generate_latest(registry_for(Seen(SNAPSHOTS[name]))).decode())
    ours = {series: value for series, value in scraped.items() if series[0].startswith("configmgr_")}
    assert ours
    assert samples(textfile(SNAPSHOTS[name]).decode()) == ours


@pytest.mark.lab
def test_a_file_that_cannot_be_written_is_refused_and_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    taken = tmp_path / "configmgr.prom"
    taken.mkdir()
    for file, why in ((taken, "Is a directory"), (tmp_path / "configmgr.txt", "does not end in .prom")):
        done = command(lab, "check", "--feature", FEATURE, "--textfile", file, env={**lab.env, "COLUMNS": "300"})
        assert done.returncode == 2
        assert why in done.stderr
    assert list(tmp_path.iterdir()) == [taken]
