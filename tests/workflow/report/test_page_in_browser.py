"""The page in a browser: accessible, offline, usable by keyboard, at three widths and in the dark.

Chromium is a system package, so these tests are skipped where it is not installed.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import Condition
from evaluator.tests.command_line import run
from evaluator.tests.second_cue_conflict import LEFTOVER
from evaluator.tests.written_cue_runs import NAMES, write_cue_run
from evaluator.tests.written_runs import write_run
from evaluator.tests.written_videos import still_videos, write_videos

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,  # a browser starts
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    names = [*NAMES, LEFTOVER]
    for model, right in (("resnext101_32x8d_wsl", 8), ("alexnet", 3)):
        runs = folder / "runs" / model
        write_run(runs / "c", model=model, right=right)
        write_run(runs / "clean", model=model, conditions=(Condition(),), right=right + 1)
        write_cue_run(runs / "cue", folder / "gone", names=names, model=model, seed=right)
        write_videos(runs / "p", still_videos(3, ["snow"]), model=model)
    done = run("report", folder / "runs", "--html", folder / "page.html")
    assert done.returncode == 0, done.stderr
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, html: Path) -> Iterator[Any]:
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    opened.goto(html.as_uri())
    yield opened
    context.close()


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Any, html: Path, width: int, scheme: str
) -> None:
    context = browser.new_context(
        offline=True, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url))
    page.goto(html.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert [v["id"] for v in axe.Axe().run(page).response["violations"]] == []
    if width == 360:
        page.locator("button.n").first.click()
        assert [v["id"] for v in axe.Axe().run(page).response["violations"]] == []
    assert [message for message in messages if not message.startswith("data:")] == [html.as_uri()]
    context.close()


def test_a_number_opens_and_closes_by_keyboard(page: Any) -> None:
    number = page.locator("button.n").first
    number.focus()
    page.keyboard.press("Enter")
    panel = page.locator("[popover]:popover-open")
    assert panel.count() == 1
    assert "top-1 error" in panel.locator(".what").inner_text()
    assert "Weights SHA-256" in panel.inner_text()
    page.keyboard.press("Escape")
    assert panel.count() == 0
    assert page.evaluate("document.activeElement.matches('button.n')")


def test_a_number_opens_without_script(browser: Any, html: Path) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(html.as_uri())
    assert not page.locator("#tools").is_visible()
    page.locator("button.n").first.click()
    assert page.locator("[popover]:popover-open").count() == 1
    context.close()


def test_a_table_is_sorted_and_gets_its_order_back(page: Any) -> None:
    table = page.locator("table.data", has=page.get_by_text("gaussian_noise")).last
    header = table.locator("thead th").nth(1)

    def rows() -> list[str]:
        texts: list[str] = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
        return texts

    original = rows()
    for direction in ("ascending", "descending"):
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == direction
        values = [float(text.rstrip("*+^")) for text in rows() if text]
        assert values == sorted(values, reverse=direction == "descending")
    header.locator("button").click()
    assert rows() == original
    assert header.get_attribute("aria-sort") is None


def test_rows_are_filtered_and_a_model_is_highlighted_everywhere(page: Any) -> None:
    page.get_by_label("Filter rows").fill("fog")
    shown = page.locator("table.data tbody tr:visible").all_inner_texts()
    assert shown
    assert all("fog" in text for text in shown)
    assert page.locator("#count").inner_text() == f"{len(shown)} rows"
    page.get_by_label("Filter rows").fill("")
    page.get_by_label("Highlight").select_option("alexnet")
    lit = page.locator(".on").all()
    assert len(lit) > 5
    assert {element.get_attribute("data-m") for element in lit} == {"0"}
    assert page.locator("svg .dim").count() > 0


def test_a_table_is_downloaded_as_csv(page: Any, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.locator("a.csv").first.click()
    download.value.save_as(tmp_path / "t.csv")
    assert download.value.suggested_filename == "robustness.csv"
    rows = list(csv.reader((tmp_path / "t.csv").read_text().splitlines()))
    assert rows[0][:2] == ["model", "top-1 error %"]
    assert rows[1][0] == "alexnet"


def test_everything_is_printed(page: Any, tmp_path: Path) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("#run-1").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".bar").is_visible()
    for whole in (".card", "table.data", "table.data tr"):
        style = f"getComputedStyle(document.querySelector('{whole}')).breakInside"
        assert page.evaluate(style) == "avoid"
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


def test_motion_is_reduced_where_asked(page: Any) -> None:
    behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(behaviour) == "auto"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(behaviour) == "smooth"
