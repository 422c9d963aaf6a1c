"""Errors are one line, whatever a name holds."""

import pytest

from evaluator.errors import EvaluatorError, ParityError, printable, reason_of


@pytest.mark.parametrize(
    "name", ["two\nlines", "tab\t", "\udcff\udcfe.JPEG", "\x1b[31mred", "a\x00b"]
)
def test_a_name_is_shown_on_one_printable_line(name: str) -> None:
    assert printable(name).isprintable()
    printable(name).encode("utf-8")


def test_an_ordinary_name_is_shown_as_it_is() -> None:
    assert printable("müll/日本 [1] 'x'.JPEG") == "müll/日本 [1] 'x'.JPEG"


def test_a_reason_is_the_first_line() -> None:
    assert reason_of(ValueError("one\ntwo")) == "one"
    assert reason_of(KeyError()) == "KeyError"
    assert reason_of(FileNotFoundError(2, "No such file or directory", "x")) == (
        "No such file or directory"
    )


def test_exit_codes_are_carried_by_the_classes() -> None:
    assert EvaluatorError("x").exit_code == 1
    assert ParityError("x").exit_code == 3
