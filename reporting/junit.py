"""Results as JUnit XML, which CI services show as tests.

Source of the format: https://github.com/testmoapp/junitxml, which describes what readers expect.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import printable

JUnitOutcome = Literal["passed", "failure", "error"]


@dataclass(frozen=True)
class JUnitCase:
    """A test case.

    Attributes:
        name: Its name.
        outcome: Whether it passed, failed, or could not be decided.
        message: One line on the outcome.
        details: Lines with all that was checked.
    """

    name: str
    outcome: JUnitOutcome
    message: str
    details: Sequence[str] = ()


def junit_xml(suite: str, cases: Sequence[JUnitCase]) -> str:
    """A document with one suite.

    Characters that XML does not allow are written as escapes, as in messages.

    Args:
        suite: Name of the suite, and class of its cases.
        cases: The test cases.

    Example:
        >>> print(junit_xml("s", [JUnitCase("a<b", "passed", "")]).splitlines()[3].strip())
        <testcase classname="s" name="a&lt;b">
    """
    counts = {
        "tests": len(cases),
        "failures": sum(case.outcome == "failure" for case in cases),
        "errors": sum(case.outcome == "error" for case in cases),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    root = ET.Element("testsuites", {"name": printable(suite), **numbers})
    element = ET.SubElement(root, "testsuite", {"name": printable(suite), **numbers})
    for case in cases:
        names = {"classname": printable(suite), "name": printable(case.name)}
        of_case = ET.SubElement(element, "testcase", names)
        lines = "\n".join(printable(line) for line in case.details)
        if case.outcome == "passed":
            ET.SubElement(of_case, "system-out").text = lines
        else:
            fault = ET.SubElement(of_case, case.outcome, {"message": printable(case.message)})
            fault.text = lines
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
