"""JUnit XML as a reader sees it."""

import xml.etree.ElementTree as ET

from evaluator.reporting.junit import JUnitCase, junit_xml

HOSTILE = "<b>&\"'\x00\x1b[31m\ud800 ]]>"


def test_cases_are_counted_and_names_escaped() -> None:
    cases = [
        JUnitCase("fine", "passed", "", ["a line"]),
        JUnitCase(HOSTILE, "failure", HOSTILE, [HOSTILE, "second"]),
        JUnitCase("open", "error", "not decided"),
    ]
    root = ET.fromstring(junit_xml("gate", cases).encode())
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    counts = {"name": "gate", "tests": "3", "failures": "1", "errors": "1"}
    assert root.attrib == suite.attrib == counts
    fine, failed, undecided = suite
    assert (fine.get("name"), fine.findtext("system-out")) == ("fine", "a line")
    escaped = "<b>&\"'\\x00\\x1b[31m\\ud800 ]]>"
    assert failed.get("name") == escaped
    (failure,) = failed
    assert (failure.tag, failure.get("message"), failure.text) == (
        "failure",
        escaped,
        f"{escaped}\nsecond",
    )
    assert undecided[0].tag == "error"
