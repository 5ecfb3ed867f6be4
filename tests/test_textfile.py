"""What `check --textfile` leaves to the exporter that is there already, read by a real one."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from exporter.cli import app
from exporter.metrics.families import Seen, registry_for, textfile
from exporter.model.vocabulary import Snapshot
from tests.lab import Lab
from tests.running import Answer, command, eventually, http, program
from tests.test_end_to_end import FEATURE, HOST
from tests.test_report import SNAPSHOTS

NODE_EXPORTER: Final = "127.0.0.1:9100"
MOMENT: Final = 3600  # seconds; not a time since the process or the machine began


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
    for of_the_process in ("configmgr_exporter_log_lines_dropped_total", "configmgr_exporter_start_timestamp_seconds"):
        del ours[of_the_process, frozenset()]
    assert ours
    written = samples(textfile(SNAPSHOTS[name]).decode())
    when = written.pop(("configmgr_exporter_check_timestamp_seconds", frozenset()))
    assert written == ours
    assert when <= time.time()
    assert when > time.time() - MOMENT


@pytest.mark.lab
def test_a_file_that_cannot_be_written_is_refused_and_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    taken = tmp_path / "configmgr.prom"
    taken.mkdir()
    for file, why in (
        (taken, "it is a folder"),
        (tmp_path / "configmgr.txt", "does not end in .prom"),
    ):
        done = command(lab, "check", "--feature", FEATURE, "--textfile", file, env={**lab.env, "COLUMNS": "300"})
        assert done.returncode == 2
        assert why in done.stderr
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("missing/configmgr.prom", "No such file or directory"),
        ("taken.prom", "it is a folder"),
        ("configmgr.txt", "does not end in .prom"),
    ],
)
def test_where_no_file_can_be_written_nothing_is_probed(file: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "taken.prom").mkdir()
    config = tmp_path / "exporter.yaml"
    config.write_text(PLACE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        config.write_text(PLACE.format(port=listener.getsockname()[1]))
        done = CliRunner().invoke(app, ["check", "--config.file", str(config), "--textfile", str(tmp_path / file)])
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (done.exit_code, done.stdout) == (2, "")
    assert why in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exporter.yaml", "taken.prom"]


PLACE: Final = """\
site: {{features: [here]}}
groups: [{{feature: here, title: Here, roles: [client], endpoints: [{{pattern: "http://127.0.0.1:{port}/"}}]}}]
probe: {{attempts: 1}}
via: {{}}
"""


def test_the_metrics_of_a_check_can_be_printed_as_they_are_written(tmp_path: Path) -> None:
    config, file = tmp_path / "exporter.yaml", tmp_path / "configmgr.prom"
    config.write_text(PLACE.format(port=1))
    call = ["check", "--config.file", str(config), "--format", "prometheus", "--textfile", str(file)]
    done = CliRunner().invoke(app, call)
    printed, written = (samples(text) for text in (done.stdout, file.read_text()))
    assert done.exit_code == 1
    assert printed.keys() == written.keys()
    assert [value for (name, _), value in printed.items() if name == "configmgr_endpoint_up"] == [0.0]
    assert printed["configmgr_exporter_check_timestamp_seconds", frozenset()] > time.time() - MOMENT


def test_the_report_is_shown_though_the_file_cannot_be_written_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = tmp_path / "exporter.yaml", tmp_path / "collected"
    folder.mkdir()
    config.write_text(PLACE.format(port=1))

    def gone_meanwhile(*_: object) -> Snapshot:
        folder.rmdir()
        return SNAPSHOTS["broken"]

    monkeypatch.setattr("exporter.cli.check.run_on_loop", gone_meanwhile)
    done = CliRunner().invoke(app, ["check", "--config.file", str(config), "--textfile", str(folder / "c.prom")])
    assert done.exit_code == 2
    assert "DOWN: " in done.stdout
    assert "cannot be written: No such file or directory" in done.stderr


def test_metrics_do_not_go_with_a_comparison(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["check", "--against", str(tmp_path / "list"), "--format", "prometheus"])
    assert done.exit_code == 2
    assert "--format prometheus does not go with --against, which probes nothing" in done.stderr


def test_a_link_that_somebody_puts_beside_the_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "exporter.yaml").write_text(
        "site: {features: [own], roles: [client]}\nprobe: {attempts: 1}\n"
        "groups: [{feature: own, endpoints: [{pattern: 'http://127.0.0.1:9/'}]}]\n"
    )
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr("secrets.token_hex", lambda _: "known")
    (tmp_path / "metrics.prom.known").symlink_to(elsewhere)
    asked = ["check", "--config.file", str(tmp_path / "exporter.yaml"), "--textfile", str(tmp_path / "metrics.prom")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert not elsewhere.exists()
