"""Files of rules: what they may say, and the one line about what is wrong."""

from pathlib import Path

import pytest

import evaluator
from evaluator.errors import InputError
from evaluator.workflow.gate.rules import Rule, read_rules

TOP1 = '[[rule]]\nbenchmark = "imagenet"\nmetric = "top1_error"\n'
MCE = '[[rule]]\nbenchmark = "imagenet-c"\nmetric = "mce"\n'


def read(folder: Path, text: str) -> tuple[Rule, ...]:
    (folder / "rules.toml").write_text(text)
    return read_rules(folder / "rules.toml").rules


def test_a_rule_is_named_after_what_it_says(tmp_path: Path) -> None:
    rules = read(tmp_path, TOP1 + "max = 0.3\n" + MCE + "severity = [1, 2]\nmax_increase = 0.01\n")
    assert [rule.name for rule in rules] == [
        "imagenet top1_error max 0.3",
        "imagenet-c severity=1,2 mce max_increase 0.01",
    ]
    assert list(rules[1].selections) == [
        {"benchmark": "imagenet-c", "severity": 1},
        {"benchmark": "imagenet-c", "severity": 2},
    ]


def test_changes_are_limits_of_the_difference(tmp_path: Path) -> None:
    (rule,) = read(tmp_path, TOP1 + "max_increase = 0.01\nmax_decrease = 0.1\nbaseline = 'old'\n")
    assert (rule.minimum, rule.maximum, rule.is_change) == (-0.1, 0.01, True)
    assert rule.baseline == tmp_path / "old"


def test_an_epsilon_may_be_a_fraction(tmp_path: Path) -> None:
    (rule,) = read(tmp_path, "[[rule]]\nmetric = 'm'\nepsilon = ['8/255', 0.01, 1]\nmin = 0\n")
    assert rule.conditions == {"epsilon": (8 / 255, 0.01, 1)}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[rule]\n", "is not a TOML file: "),
        ("x = " + "[" * 9000, "is not a TOML file: "),
        ("", r"has no rule. Start each with \[\[rule\]\]"),
        ("[rule]\nmetric = 'x'\n", r"rule must be a list of tables: start each with \[\[rule\]\]"),
        ("[[rules]]\n", "unknown key rules. Did you mean rule?"),
        ("baseline = 3\n" + TOP1 + "max = 1\n", "baseline must be the folder of a run; got 3"),
        (TOP1, "rule 1: no limit: give max, min, max_increase or max_decrease"),
        (TOP1 + "mx = 0.1\n", "rule 1: unknown key mx. Did you mean max?"),
        (TOP1 + "max = nan\n", "max must be a finite number; got nan"),
        (TOP1 + "max = -inf\n", "max must be a finite number; got -inf"),
        (TOP1 + f"max = {10**400}\n", "max must be a finite number; got inf"),
        (TOP1 + "max = '0.1'\n", "max must be a number; got '0.1'"),
        (TOP1 + "max = true\n", "max must be a number; got true"),
        (TOP1 + "max = 25\n", "max = 25, but top1_error is a fraction: write 0.25 for 25 %"),
        (MCE + "max = 70\n", "max = 70, but mce is a fraction: write 0.7 for 70 %"),
        (TOP1 + "max = 0.1\nmin = 0.2\n", "no number is at least 0.2 and at most 0.1"),
        (TOP1 + "max = 0.1\nmax_increase = 0.2\n", "max and max_increase limit different numbers"),
        (TOP1 + "max = 0.1\nbaseline = 'a'\n", "baseline is used by max_increase and max_decrease"),
        (MCE + "severity = '3'\nmax = 1\n", "severity must be a whole number; got '3'"),
        (MCE + "severity = []\nmax = 1\n", "the list severity is empty"),
        (MCE + "epsilon = 'a/b'\nmax = 1\n", "epsilon must be a number such as 0.01 or 8/255"),
        (MCE + "steps = 3\nmax_increase = 1\n", "steps cannot be a condition; attacks"),
        (
            "[[rule]]\nbenchmark = 'whitebox'\nmetric = 'm'\nmax_increase = 1\n",
            "whitebox is an attack, and attacks have only max and min",
        ),
        ("[[rule]]\nbenchmark = 'imagnet'\nmetric = 'm'\nmax = 1\n", "Did you mean imagenet or"),
        ("[[rule]]\nmax = 1\n", "no metric: give for example"),
        ("[[rule]]\nparity = false\n", "parity = false has no meaning"),
        ("[[rule]]\nparity = true\nmax = 1\n", "parity = true goes without max"),
        ("[[rule]]\nparity = true\nseverity = 1\n", "severity cannot be a condition in a rule on"),
        (2 * (TOP1 + "max = 1\n"), "2 rules are called 'imagenet top1_error max 1'"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault.replace("?", r"\?")) as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "rules.toml"))


def test_a_file_that_is_missing_or_not_text_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        evaluator.gate(tmp_path, tmp_path / "none.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not a TOML file"):
        evaluator.gate(tmp_path, tmp_path / "binary")
