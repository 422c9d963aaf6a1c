"""The page from numbers: where they stand, what they open, how large it may become."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote

import pytest

from evaluator.contracts import Score
from evaluator.errors import OutputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.reporting.html import page as page_module
from evaluator.reporting.html.cells import Places, csv_address, describe, table_view
from evaluator.reporting.html.contents import Drawing, Gallery, PageContents, Picture, RunFacts
from evaluator.reporting.html.drawings import attack_drawings, shape_bias_drawings
from evaluator.reporting.html.page import MOST_BYTES, page
from evaluator.reporting.model_results import ModelResults, ReportContents
from evaluator.reporting.published.comparators import WHY_NOT_COMPARABLE
from evaluator.reporting.published.paper import printed_table, published_models, published_scores
from evaluator.reporting.table import Table
from evaluator.reporting.tables.report import report_tables
from evaluator.tests.attack_scores import whitebox
from evaluator.tests.score_rows import entry, flips, score, shape_bias

MODEL = "resnext101_32x8d_wsl"
RUN = RunFacts(
    "runs/m", "m on ImageNet-C", (("Weights", "w"), ("Seed", "0")), ("evaluator score m",)
)


def corruptions() -> list[Score]:
    whole = {"n": 50_000, "complete": True}
    cells = [
        score("imagenet-c", "top1_error", 0.1 * int(c["severity"]), **dict(c.values), **whole)
        for c in CONDITIONS
    ]
    names = dict.fromkeys(str(c["corruption"]) for c in CONDITIONS)
    errors = [score("imagenet-c", "ce", 0.5, corruption=name, **whole) for name in names]
    return [*cells, *errors, score("imagenet-c", "mce", 0.6, low=0.55, high=0.65, **whole)]


def model(*scores: Score) -> ModelResults:
    return ModelResults(MODEL, MODEL, scores)


def contents(*models: ModelResults, **more: Any) -> PageContents:
    published = {
        m.name: ModelResults("", m.model, tuple(published_scores(m.model))) for m in models
    }
    options = {"runs": (RUN,), "tables": report_tables(models), **more}
    return PageContents(models, published, {}, **options)


class Elements(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and attributes.items() <= a.items()]


def test_the_summary_has_the_interval_the_published_number_and_the_marks_in_words() -> None:
    partial = score("imagenet-c", "mce", 0.6, low=0.55, high=0.65, n=20, generated=True)
    text = " ".join(Elements(page(contents(model(partial)))).text.split())
    assert "All numbers: not the whole benchmark: 20 of 50,000 images a condition" in text
    assert "generated data, not the published benchmark." in text
    assert "mCE 60.0 % 55.0 to 65.0 51.7 %" in text


def test_marks_that_not_all_numbers_share_stand_with_their_number() -> None:
    whole = score("imagenet", "top1_error", 0.2, n=50_000, complete=True)
    part = score("imagenet-c", "mce", 0.6, n=20)
    text = " ".join(Elements(page(contents(model(whole, part)))).text.split())
    assert "mCE not the whole benchmark: 20 of 50,000 images a condition 60.0 %" in text
    assert "top-1 error 20.0 % 17.8 %" in text


def test_sections_stand_in_the_order_in_which_they_are_read() -> None:
    claims = Table("Claims of the paper", ("claim", "verdict"), (("C", "holds"),), words=(0, 1))
    scores = [*corruptions(), *flips(), *shape_bias(0.4), *whitebox()]
    tables = [*report_tables([model(*scores)]), claims]
    elements = Elements(page(contents(model(*scores), tables=tables)))
    assert [h["id"] for h in elements.all("h2") if not str(h["id"]).endswith("-title")] == [
        "summary", "claims", "paper", "imagenet-c", "imagenet-p", "attacks", "cue-conflict", "runs",
    ]  # fmt: skip


def test_every_number_of_a_run_opens_the_panel_of_its_run() -> None:
    elements = Elements(page(contents(model(*corruptions()))))
    panels = {a["id"] for t, a in elements.tags if "popover" in a}
    buttons = [b for b in elements.all("button") if b.get("class") == "n"]
    assert {b["popovertarget"] for b in buttons} == panels == {"run-1", "published"}
    own = [b["title"] for b in buttons if b["popovertarget"] == "run-1" and b.get("title")]
    assert "top-1 error, fog, severity 3: 30.00 %; 50,000 images a condition" in own
    assert len([title for title in own if title and title.startswith("top-1 error")]) == 75
    assert "evaluator score m" in elements.text


def test_cells_by_severity_are_a_heat_map() -> None:
    html = page(contents(model(*corruptions())))
    assert html.count("--v:0.3") == 15
    assert len(re.findall(r"<td style=\"--v:", html)) == 75


def test_each_comparator_of_the_paper_has_its_reason() -> None:
    rows = [row for name in ("table1", "table2", "table3") for row in printed_table(name).rows]
    others = [row for row in rows if row not in published_models()]
    assert sorted(others) == sorted(WHY_NOT_COMPARABLE)
    scores = [*corruptions(), *shape_bias(0.4), *whitebox()]
    html = page(contents(model(*scores)))
    assert html.count("Not directly comparable: ") == len(others)


def test_every_table_can_be_saved_as_csv_without_a_server() -> None:
    elements = Elements(page(contents(model(*corruptions(), *flips()))))
    links = elements.all("a", **{"class": "csv"})
    assert len(links) == len(elements.all("table", **{"class": "data"})) > 4
    texts = [unquote(str(link["href"]).partition(",")[2]) for link in links]
    assert any(
        text.startswith("corruption,1,2,3,4,5,CE\r\ngaussian_noise,10.0,20.0") for text in texts
    )
    assert len({link["download"] for link in links}) == len(links)


def test_csv_keeps_commas_and_quotes() -> None:
    address = csv_address(Table("T", ("a",), (('x, "y"',),)))
    assert unquote(address.partition(",")[2]) == 'a\r\n"x, ""y"""\r\n'


def test_text_is_escaped_wherever_it_comes_from() -> None:
    markup = "<img src=x onerror=alert(1)>\"'&"
    number = score("imagenet-c", "mce", 0.6, n=20, run=markup, weights=markup)
    results = ModelResults(markup, markup, (number,))
    gallery = Gallery(
        markup,
        Table(markup, (markup,), ((markup,),), (markup,)),
        (Picture(b"", (1, 1), markup, (markup,)),),
        markup,
        (markup,),
    )
    run = RunFacts(markup, markup, ((markup, markup),), (markup,))
    claims = Table(f"Claims of the paper{markup}", (markup,), ((markup,),), (markup,))
    tables = [*report_tables([results]), claims]
    html = page(
        contents(
            results, runs=(run,), tables=tables, reliability=[(markup, markup)],
            examples=(gallery,), maximized=(gallery,), no_drawings=markup, version=markup,
        )
    )  # fmt: skip
    elements = Elements(html)
    assert "onerror" not in {name for _, attributes in elements.tags for name in attributes}
    assert {tag["alt"] for tag in elements.all("img")} == {markup}
    assert elements.text.count(markup) > 20


def test_the_page_asks_nothing_of_the_network() -> None:
    html = page(contents(model(*corruptions())))
    elements = Elements(html)
    addresses = [a.get(name) for _, a in elements.tags for name in ("src", "href") if name in a]
    assert {str(a)[:1] if str(a)[0] == "#" else str(a).partition(",")[0] for a in addresses} == {
        "#", "data:text/csv;charset=utf-8",
    }  # fmt: skip
    assert "default-src 'none'" in html
    assert "@import" not in html
    assert "url(" not in html


def test_the_own_script_is_small() -> None:
    assert len(page_module._file("page.js").encode()) <= 10_000


def test_a_number_in_words_says_what_it_is() -> None:
    number = score(
        "whitebox", "accuracy_under_attack", 0.5, epsilon=8 / 255, steps=10, n=7, skipped=2
    )
    assert describe(number) == (
        "accuracy under attack, epsilon 8/255, 10 steps: 50.00 %; 7 images a condition; 2 skipped"
    )
    refused = score("imagenet-p", "mt5d", reason="no baseline")
    assert describe(refused) == "mT5D: refused: no baseline"


def test_rows_and_columns_know_their_model_for_the_highlight() -> None:
    places = Places({}, [entry(name="a"), entry(name="b")])
    table = Table("b: T", ("x", "a*+"), (("b, as published", "1"), ("c", "2")))
    view = table_view(table, "t", places)
    assert view.model == 1
    assert [model for _, model in view.header] == [None, 0]
    assert [model for model, _ in view.rows] == [1, None]


def heavy(pictures: int, svg: int = 0) -> PageContents:
    gallery = Gallery("G", Table("G", ("a",), ()), (Picture(b"x" * pictures, (9, 9), "", ()),))
    drawings = {"attacks": [Drawing(f"<svg><!--{'x' * svg}--></svg>", "label")]}
    return contents(model(*whitebox()), examples=(gallery,), drawings=drawings)


def test_a_page_that_would_be_too_large_leaves_out_thumbnails_then_figures() -> None:
    small = page(heavy(1000, 1000))
    assert "Left out" not in small
    without = page(heavy(MOST_BYTES))
    assert "Left out, since a page has at most 5 MB: thumbnails." in without
    assert "<svg>" in without
    assert "data:image" not in without
    neither = page(heavy(MOST_BYTES, MOST_BYTES))
    assert "at most 5 MB: thumbnails, figures." in neither
    assert max(len(html) for html in (small, without, neither)) < MOST_BYTES


def test_a_page_that_stays_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_BYTES", 1000)
    with pytest.raises(
        OutputError, match=r"expected at most 0\.001 MB\. Its 1 models are too many"
    ):
        page(heavy(1))


def test_the_caps_of_thumbnails_stand_on_the_page() -> None:
    gallery = Gallery("G", Table("G", ("a",), ()))
    html = page(contents(model(*corruptions()), examples=(gallery,), maximized=(gallery,)))
    assert "At most 12 images and 12 videos are shown, frames at most 112 px wide" in html
    assert "At most 24 images are shown, at most 112 px wide" in html


def test_the_numbers_of_a_table_have_the_shape_of_its_rows() -> None:
    scores = [*corruptions(), *flips(), *shape_bias(0.4), *whitebox()]
    numbered = [table for table in report_tables([model(*scores)]) if table.numbers]
    assert len(numbered) > 5
    for table in numbered:
        assert [len(row) for row in table.numbers] == [len(row) for row in table.rows]


def test_printed_numbers_open_their_source_and_refused_ones_nothing() -> None:
    table = Table("T", ("m", "a", "b", "c"), (("x", "1", "", "refused"),), numbers=((None,) * 4,))
    ((_, cells),) = table_view(table, "t", Places({}, [])).rows
    assert [cell.panel for cell in cells] == ["", "published", "", ""]


def test_a_table_of_one_run_leads_to_it() -> None:
    places = Places({"runs/m": "run-1"}, [], {"T": "runs/m"})
    ((_, cells),) = table_view(Table("T", ("m", "a"), (("x", "1"),)), "t", places).rows
    assert [cell.panel for cell in cells] == ["", "run-1"]


def test_bytes_of_a_path_that_are_not_text_are_escaped() -> None:
    run = RunFacts("runs/m", "m", (("Data", "/data/\udcff"),))
    assert "/data/\\udcff" in page(contents(model(*corruptions()), runs=(run,)))


def test_names_in_figures_are_text() -> None:
    pytest.importorskip("matplotlib")
    markup = "<b onclick=x>$\\frac&"
    results = ModelResults(markup, markup, tuple(whitebox()))
    (drawing,) = attack_drawings(ReportContents([results], []))
    assert "<b " not in drawing.svg
    assert "&lt;b onclick=x&gt;" in drawing.svg
    assert "#222222" not in drawing.svg
    assert 'role="img"' in drawing.svg
    titles = re.findall("<title>([^<]*)", drawing.svg)
    assert any(title.endswith(": 43.0 %, epsilon 0.06") for title in titles), titles


def test_ids_of_two_figures_do_not_meet() -> None:
    pytest.importorskip("matplotlib")
    models = ReportContents([entry(*shape_bias(0.4), *shape_bias(0.3, "argmax", 1201))], [])
    ids = [set(re.findall(' id="([^"]+)"', drawing.svg)) for drawing in shape_bias_drawings(models)]
    assert len(ids) == 2
    assert not ids[0] & ids[1]
    for drawing, known in zip(shape_bias_drawings(models), ids, strict=True):
        assert set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", drawing.svg)) <= known


def test_only_an_attack_as_in_the_paper_has_its_number_beside_it() -> None:
    name = "accuracy under white-box attack, epsilon 0.06, 10 steps"
    for protocol, published in (("paper", "34.4 %"), ("standard", "none")):
        text = " ".join(Elements(page(contents(model(*whitebox(protocol))))).text.split())
        assert f"{name} 43.0 % 42.0 to 45.0 {published}" in text
