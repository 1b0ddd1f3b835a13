"""How a service is, in sentences: the worst first, and advice only where nothing is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.watch.rules import RULES, STALE_S, Severity
from treeroll.watch.view import View

ALARMS = (Severity.PAGE, Severity.WARN)


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of a verdict, and the rule that it comes from."""

    rule: str
    severity: Severity
    sentence: str
    page: str
    """See `rules.Found`."""


def verdict(view: View) -> list[Finding]:
    """What is wrong, worst first; empty is health.

    Of a service that says nothing nothing else is known. Advice hides behind alarms: slots that are idle, say, are
    mostly a symptom of something else.
    """
    found: list[Finding] = []
    silent = view.latest is None or view.age_s > STALE_S
    for rule in RULES:
        if (silent and rule.needs_news) or (rule.severity is Severity.ADVICE and any_alarm(found)):
            continue
        found += [Finding(rule.name, rule.severity, one.sentence, one.page) for one in rule.look(view)]
    return found


def any_alarm(findings: Sequence[Finding]) -> bool:
    """Whether somebody has to do something."""
    return any(finding.severity in ALARMS for finding in findings)
