"""`confseg doctor`: what works on this machine."""

from __future__ import annotations

from gluon_confseg import doctor
from gluon_confseg.cli.output import Output

SUMMARY = "Say what works on this machine, what does not, and what to do about it."


def add_arguments(parser) -> None:
    """None of its own."""


def run(arguments) -> Output:
    """All findings; a failure where one is a problem."""
    findings = doctor.examine()
    problems = sum(finding.problem is not None for finding in findings)
    text = "\n".join(finding.line() for finding in findings)
    record = {"usable": not problems, "findings": [finding._asdict() for finding in findings]}
    failure = f"{problems} of {len(findings)} findings are problems; each says what to do"
    return Output(text, record, failure if problems else None)
