"""Tables and numbers as CSV."""

import csv
from pathlib import Path

from evaluator.reporting.csv_files import csv_files, slug
from evaluator.reporting.table import Table
from evaluator.tests.command_line import error_of, run
from evaluator.tests.written_runs import write_run


def test_tables_of_one_name_have_files_of_their_own() -> None:
    table = Table("A: b, c", ("x", "y"), (("1, 2", 'say "hi"'),))
    files = csv_files([table, table, table, Table("", ("z",), ())], [])
    assert sorted(files) == ["a-b-c-2.csv", "a-b-c-3.csv", "a-b-c.csv", "scores.csv", "table.csv"]
    assert list(csv.reader(files["a-b-c.csv"].splitlines())) == [["x", "y"], ["1, 2", 'say "hi"']]


def test_names_have_no_characters_that_a_file_system_refuses() -> None:
    assert slug("../../etc: <b>&é") == "etc-b"


def test_report_writes_every_number(tmp_path: Path) -> None:
    runs = write_run(tmp_path / "run")
    done = run("report", runs, "--csv", tmp_path / "csv", "--latex", tmp_path / "t.tex")
    assert done.returncode == 0, done.stderr
    assert r"\begin{tabular}" in (tmp_path / "t.tex").read_text()
    with (tmp_path / "csv" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (mce,) = [row for row in rows if row["metric"] == "mean_error"]
    assert float(mce["value"]) == 0.5
    assert float(mce["low"]) < 0.5 < float(mce["high"])
    assert (mce["model"], mce["benchmark"], mce["n"]) == ("resnet50", "imagenet-c", "10")
    assert "robustness.csv" in {p.name for p in (tmp_path / "csv").iterdir()}


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    runs = write_run(tmp_path / "run")
    (tmp_path / "csv").write_text("")
    assert "csv" in error_of(run("report", runs, "--csv", tmp_path / "csv"))
