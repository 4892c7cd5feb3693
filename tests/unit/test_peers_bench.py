"""The bench against peers: its arithmetic, what it reads, its table, charts and last line."""

import json
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks.peers.charts import Bar, chart
from benchmarks.peers.figures import Spread, number, ratio, rotated, spread_text
from benchmarks.peers.main import main
from benchmarks.peers.reading import Marks
from benchmarks.peers.report import Report, write
from benchmarks.peers.roster import SYSTEMS
from benchmarks.peers.run import Outcome, Runner
from benchmarks.peers.settings import FULL, QUICK
from benchmarks.peers.summary import summarise
from benchmarks.peers.system import SYSTEMS as FOLDER
from benchmarks.peers.system import WORKLOADS, System
from benchmarks.peers.table import TABLES, render
from benchmarks.peers.workloads import _start_rate

BY_NAME = {system.name: system for system in SYSTEMS}
DIRECT, RQ, BULLMQ = BY_NAME["laneway-direct"], BY_NAME["rq"], BY_NAME["bullmq"]


def outcome(**figures: list[dict[str, float]]) -> Outcome:
    return Outcome(versions={"x": "1"}, figures=figures)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (61234.5, "61,200")],
)
def test_a_figure_has_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_spread_shows_its_range_only_when_there_is_one() -> None:
    assert spread_text(Spread.of([2.0, 1.0, 3.0])) == "2.00 (1.00 to 3.00)"
    assert spread_text(Spread.of([2.0])) == "2.00"


def test_each_system_is_first_in_turn() -> None:
    assert [rotated("abc", by)[0] for by in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated("abc", 2)) == ["a", "b", "c"]
    assert rotated([], 3) == []


def test_a_ratio_is_against_the_best_and_missing_without_one() -> None:
    assert ratio(10.0, [2.0, 4.0], "most") == 2.5
    assert ratio(1.0, [2.0, 4.0], "least") == 0.5
    assert ratio(None, [1.0], "most") is None
    assert ratio(1.0, [], "most") is None


def test_starts_per_second_leave_the_cold_tenth_out() -> None:
    starts = [0, *(10_000_000_000 + n * 1_000_000 for n in range(9))]
    assert _start_rate(starts) == pytest.approx(1_000)


def _marks(folder: Path, pid: int, tasks: int, starts: dict[int, int], ended: tuple[int, ...] = ()) -> None:
    columns = [starts.get(n, 0) for n in range(tasks)]
    data = struct.pack("<Q", pid).ljust(64, b"\0") + struct.pack(f"<{tasks}Q", *columns)
    data += bytes(int(n in starts) for n in range(tasks)) + bytes(int(n in ended) for n in range(tasks))
    (folder / f"{pid}.marks").write_bytes(data)


def test_marks_of_all_processes_are_read_together(tmp_path: Path) -> None:
    marks = Marks(tmp_path, 4)
    assert marks.missing(0, 4) == 4
    _marks(tmp_path, 7, 4, {0: 50, 1: 60}, ended=(1,))
    _marks(tmp_path, 8, 4, {1: 40, 3: 70}, ended=(1,))
    assert marks.missing(0, 4) == 1
    assert marks.missing(3, 4) == 0
    assert marks.times_begun(0, 4) == [1, 2, 0, 1]
    assert marks.times_ended(0, 4) == [0, 2, 0, 0]
    assert marks.starts(0, 4) == [50, 40, 0, 70]
    assert marks.starts(0, 4, but=frozenset({8})) == [50, 60, 0, 0]


def _report(outcomes: dict[str, Outcome], systems: list[System], workloads: tuple[str, ...] = WORKLOADS) -> Report:
    return Report(systems, outcomes, FULL, workloads, {"Redis": "7.0"}, 90)


def test_the_table_says_what_is_best_what_failed_and_what_cannot_be() -> None:
    arq = BY_NAME["arq"]
    outcomes = {
        DIRECT.name: outcome(urgent=[{"p50_ms": 1.0, "p99_ms": 2.0}]),
        RQ.name: Outcome(failures={"urgent": "a |\n<b>"}),
        arq.name: Outcome(),
    }
    order = next(table for table in TABLES if table.title == "Order")
    text = "\n".join(render(order, [DIRECT, RQ, arq], outcomes, FULL))
    assert "| Laneway direct | **1.00** | **2.00** | - | - |" in text
    assert "| RQ | failed [1] | failed [1] | - | - |" in text
    assert "[1] RQ, urgent: a / (b)" in text
    assert "| arq | no: no priority within a worker |" in text


def test_what_is_not_back_in_time_is_told_in_place_of_seconds() -> None:
    table = next(table for table in TABLES if table.title == "Recovery")
    found = outcome(recovery=[{"held": 50.0, "not_back": 50.0, "ended_twice": 0.0}])
    text = "\n".join(render(table, [BULLMQ], {BULLMQ.name: found}, FULL))
    assert "| BullMQ | not within the limit | 50.0 | 0 |" in text


def test_depth_is_compared_with_the_shallow_queue_of_the_same_run() -> None:
    table = next(table for table in TABLES if table.title == "Depth")
    found = outcome(
        depth=[{"bytes_per_task": 300.0, "queued": 1e6, "starts_per_s": 90.0}],
        drain_one=[{"per_s": 1.0, "starts_per_s": 100.0}],
    )
    text = "\n".join(render(table, [DIRECT], {DIRECT.name: found}, FULL))
    assert "| **300** | 1,000,000 | **0.900** |" in text


def test_a_chart_is_sound_xml_that_tells_its_figures_in_words() -> None:
    bars = [Bar("<Slow>", Spread.of([10.0, 12.0]), False), Bar("Ours", Spread.of([5_000.0]), True)]
    root = ElementTree.fromstring(chart("Drain", "tasks per second", bars, better="most"))
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.index("Ours") < texts.index("<Slow>")
    described = root.find("{http://www.w3.org/2000/svg}desc")
    assert described is not None and described.text == "tasks per second, more is better: Ours 5,000; <Slow> 11.0"
    widths = [float(node.attrib["width"]) for node in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[1] > widths[2] > 0


def test_a_chart_refuses_what_has_no_place_on_its_axis() -> None:
    with pytest.raises(ValueError, match="above 0"):
        chart("x", "y", [Bar("a", Spread.of([0.0]), False)], better="most")


def _drained(one: float, all: float) -> dict[str, list[dict[str, float]]]:
    return {"drain_one": [{"per_s": one}], "drain_all": [{"per_s": all}]}


def test_the_last_line_compares_with_the_best_of_the_peers() -> None:
    outcomes = {
        "laneway-direct": outcome(**_drained(50.0, 60.0), enqueue=[{"bulk_per_s": 10.0}]),
        "laneway-kafka": outcome(**_drained(44.0, 41.0), enqueue=[{"bulk_per_s": 10.0}]),
        "rq": outcome(**_drained(10.0, 12.0), enqueue=[{"bulk_per_s": 20.0}]),
        "bullmq": outcome(**_drained(25.0, 30.0)),
    }
    report = _report(outcomes, [BY_NAME[name] for name in outcomes], ("enqueue", "drain_one", "drain_all"))
    assert summarise(report) == {
        "drain_all_vs_best_peer": 2.0,
        "drain_one_vs_best_python": 5.0,
        "kafka_drain_per_s": 44,
        "bulk_enqueue_vs_best": 0.5,
        "idle_p99_vs_best": None,
        "half_load_p99_vs_best": None,
        "urgent_p99_vs_best": None,
        "bytes_per_task": None,
        "exact": True,
    }


@pytest.mark.parametrize(
    ("change", "exact"),
    [
        ({"failures": {"drain_one": "2 of 300 tasks did not run exactly once"}}, False),
        ({"figures": {"recovery": [{"not_back": 1.0}], "drain_one": [{}]}}, False),
        ({"figures": {"recovery": [{"not_back": 0.0}]}}, False),
        ({"figures": {"recovery": [{"not_back": 0.0}], "drain_one": [{}]}}, True),
    ],
    ids=["one failed", "one task was lost", "one workload is missing", "all is well"],
)
def test_exact_is_true_only_when_laneway_did_everything(change: dict[str, dict[str, str]], exact: bool) -> None:
    report = _report({DIRECT.name: Outcome(**change)}, [DIRECT], ("drain_one", "recovery"))  # type: ignore[arg-type]
    assert summarise(report)["exact"] is exact


def test_a_peers_failure_does_not_make_laneway_inexact() -> None:
    outcomes = {DIRECT.name: outcome(drain_one=[{"per_s": 1.0}]), RQ.name: Outcome(failures={"drain_one": "x"})}
    assert summarise(_report(outcomes, [DIRECT, RQ], ("drain_one",)))["exact"] is True


def test_the_page_has_tables_charts_settings_and_samples(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "stale.svg").write_text("old")
    outcomes = {DIRECT.name: outcome(**_drained(50.0, 60.0)), RQ.name: outcome(**_drained(5.0, 6.0))}
    report = Report([DIRECT, RQ], outcomes, QUICK, ("drain_one", "drain_all"), {"Redis": "7.0"}, 90)
    page = write(report, tmp_path, "make bench-peers").read_text()
    assert "This was a short run" in page
    assert "### Drain" in page and "### Latency" not in page
    assert "SimpleWorker" in page and "| Redis | 7.0 |" in page
    charts = sorted(path.name for path in (tmp_path / "benchmarks").glob("*.svg"))
    assert charts == ["drain-all.svg", "drain-one.svg"]
    assert all(f"(benchmarks/{name})" in page for name in charts)
    samples = json.loads((tmp_path / "benchmarks" / "samples.json").read_text())
    assert samples["systems"]["rq"]["figures"]["drain_one"] == [{"per_s": 5.0}]


def test_a_system_that_cannot_be_installed_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(system: System) -> None:
        raise OSError(f"no {system.language}")

    monkeypatch.setattr("benchmarks.peers.run.install", refuse)
    said: list[str] = []
    outcomes = Runner([RQ, BULLMQ], QUICK, ("drain_one",), said.append).run()
    assert outcomes["rq"].failures == {"drain_one": "not installed: no Python"}
    assert said == ["RQ: not installed: no Python", "BullMQ: not installed: no Node"]


def test_an_unknown_name_is_refused_with_the_right_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "sidekiq"])
    assert "no sidekiq: there are laneway-direct, laneway-kafka, celery" in capsys.readouterr().err


def test_each_system_has_an_adapter_and_says_how_it_is_set_up() -> None:
    for system in SYSTEMS:
        assert system.path.is_dir() and system.path.parent == FOLDER
        assert system.settings and system.versions
        assert set(system.cannot) | set(system.notes) <= {*WORKLOADS, "drain"}


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s.language == "Python" and not s.ours], ids=lambda s: s.name)
def test_each_python_peer_pins_every_package_once(system: System) -> None:
    lines = (system.path / "requirements.txt").read_text().split()
    names = [line.split("==")[0].lower() for line in lines]
    assert all(line.count("==") == 1 for line in lines)
    assert len(names) == len(set(names))
    assert set(map(str.lower, system.versions)) <= set(names)


def test_the_node_peers_lock_names_no_place_to_download_from() -> None:
    lock = json.loads((BULLMQ.path / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages and all("resolved" not in package for package in packages.values())
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
