"""The race trials of a run as JUnit XML: whether each answer was right, not how fast it came.

Source: junit-10.xsd of Jenkins' xunit plugin, the strictest of the schemas in use.
"""

from collections.abc import Sequence
from xml.etree import ElementTree

from gemmbench.trial import Trial, TrialState
from gemmbench_results.export.entries import contender_name
from gemmbench_results.report.escape import xml_text

OUTCOMES = {
    TrialState.WRONG: "failure",
    TrialState.FAILED: "error",
    TrialState.SKIPPED: "skipped",
}


def junit(trials: Sequence[Trial]) -> str:
    """A test suite a suite, a test case a trial: WRONG fails, FAILED is an error."""
    root = ElementTree.Element("testsuites")
    raced = [trial for trial in trials if trial.purpose == "race"]
    for suite in dict.fromkeys(trial.suite for trial in raced):
        own = [trial for trial in raced if trial.suite == suite]
        counts = {
            name: str(sum(trial.state is state for trial in own))
            for name, state in (
                ("failures", TrialState.WRONG),
                ("errors", TrialState.FAILED),
                ("skipped", TrialState.SKIPPED),
            )
        }
        attributes = {"name": xml_text(suite), "tests": str(len(own)), **counts}
        element = ElementTree.SubElement(root, "testsuite", attributes)
        element.extend([_test_case(trial) for trial in own])
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _test_case(trial: Trial) -> ElementTree.Element:
    label = f"{trial.layer} {contender_name(trial.contender)}{' tuned' * trial.contender.tuned}"
    seconds = sum(sample.seconds for sample in trial.measurement.samples)
    attributes = {
        "classname": xml_text(f"gemmbench.{trial.suite}"),
        "name": xml_text(label),
        "time": f"{seconds:.3f}",
    }
    element = ElementTree.Element("testcase", attributes)
    outcome = OUTCOMES.get(trial.state)
    if outcome is not None:
        message = {"message": xml_text(trial.reason), "type": str(trial.state)}
        ElementTree.SubElement(element, outcome, message).text = xml_text(trial.reason)
    return element
