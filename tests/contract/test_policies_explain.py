"""Every registered policy says why it decides, by a rule that it explains, and the terms are what the rule compared."""

from operator import ge, gt, le, lt

import pytest
from tests.contract.test_policy_conformance import CASES, SETTINGS

from treeroll.policies import registry
from treeroll.policies.recipes import RECIPES
from treeroll.testing import LIMITS, branch
from treeroll.testing.case import Case
from treeroll.testing.prune import _paths
from treeroll.testing.watched import WatchedPolicy
from treeroll.tree.node import BranchReason
from treeroll.why import EXPLAINS, MOST_TERMS, Why, because, sentence, terms_of

# Rules that compare two numbers: how those stand to each other in every decision by the rule.
COMPARED = {
    "arpo.chance": ("draw", lt, "chance"),
    "aepo.value": ("value", gt, "tau"),
    "treeps_rag.distinct": ("alike", lt, "similarity"),
    "treeps_rag.redundant": ("alike", ge, "similarity"),
    "pets.gain": ("rise", gt, "gain"),
    "hyper.expand": ("surprisal", gt, "first"),
    "hyper.reduce": ("confidence", lt, "threshold"),
    "mars2.new": ("new", ge, "below"),
    "cascade.again": ("surprisal", gt, "bound"),
    "bavt.widen": ("gain", lt, "widen_below"),
    "gate.shut": ("score", lt, "gate"),
    "treepo.path": ("children", le, "quota"),
    "finish.short": ("tokens", lt, "min_tokens"),
    "confidence.low": ("confidence", lt, "least"),
    "confidence.decline": ("confidence", le, "most"),
    "confidence.spike": ("rise", gt, "spike"),
}
SECOND = {
    "echo.place": [("entropy", ge, "least"), ("confidence", le, "most")],
    "confidence.decline": [("streak", ge, "steps")],
    "confidence.spike": [("streak", ge, "steps")],
    "level.share": [("score", le, "best")],
    "cascade.again": [("calls", lt, "most")],
}
# Each test of `confidence` where no other one holds before it.
ALONE_TESTS = {
    "finish_tests": [],
    "confidence": [
        ({"min_confidence": None, "spike": None, "decline_confidence": 1.0}, LIMITS),
        ({"min_confidence": None, "decline_confidence": None}, LIMITS),
    ],
}
OF_RUNS = [
    case
    for case in CASES
    if case.values[0] == "branch" and {*COMPARED, *SECOND} & getattr(case.values[1], "explains", {}).keys()
]


def decides(kind):
    return list(registry.POLICIES[kind])


# `flat` begins its branches all at once, and decides nothing later.
@pytest.mark.parametrize("policy", [p for p in decides("branch") if p.name != "flat"] + decides("prune"))
def test_every_policy_that_decides_about_paths_explains_its_rules(policy):
    assert policy.explains
    for rule, said in policy.explains.items():
        assert 0 < len(terms_of(said)) <= MOST_TERMS, rule


@pytest.mark.parametrize("policy", decides("allocate"))
def test_every_allocator_explains_what_it_gives(policy):
    assert policy.explains
    assert callable(policy(policy.Params(), LIMITS).open(1).explain)


def test_every_recipe_is_of_policies_that_explain_themselves():
    explained = {policy.name for kind in ("branch", "prune") for policy in decides(kind) if hasattr(policy, "explains")}
    for recipe in RECIPES.values():
        assert {recipe.branch.name, recipe.prune.name} - {"flat"} <= explained, recipe.name


def test_a_rule_belongs_to_one_sentence():
    found = dict(EXPLAINS)
    for kind, policies in registry.POLICIES.items():
        for policy in policies:
            for rule, said in getattr(policy, "explains", {}).items():
                assert found.setdefault(rule, said) == said, (kind, rule)
    assert registry.sentences() == found


@pytest.mark.parametrize(("kind", "policy", "params", "limits"), OF_RUNS)
def test_the_terms_of_a_decision_satisfy_the_rule_that_fired(kind, policy, params, limits, monkeypatch):
    case = Case.of(kind, policy, params, limits)
    seen = []
    checked = branch.WatchedPolicy.grow

    def grow(watched, tree):
        growth = checked(watched, tree)
        return Kept(growth, seen, growth.growth)

    monkeypatch.setattr(WatchedPolicy, "grow", grow)
    branch._grown(case, branch.ORDINARY, branch.ALONE)
    forks = [expansion for expansion in seen if expansion.forks and expansion.reason is not BranchReason.INITIAL]
    assert all(expansion.why for expansion in forks)
    for expansion in seen:
        if expansion.why:
            holds(expansion.why)


class Kept:
    """A growth whose decisions are kept."""

    def __init__(self, growth, seen, inner):
        self._growth, self._seen = growth, seen
        if hasattr(inner, "timeout_s"):
            self.timeout_s = inner.timeout_s
            self.on_timeout = lambda tree: self._keep(inner.on_timeout(tree))

    def _keep(self, expansions):
        self._seen += expansions
        return expansions

    def start(self, tree):
        return self._keep(self._growth.start(tree))

    def on_node(self, tree, node):
        return self._keep(self._growth.on_node(tree, node))

    def on_idle(self, tree):
        return self._keep(self._growth.on_idle(tree))


@pytest.mark.parametrize("name", ["finish_tests", "confidence"])
def test_the_terms_of_a_verdict_satisfy_the_test_that_held(name):
    rules = set()
    for params, limits in [
        *SETTINGS.get(("prune", name), [({}, LIMITS)]),
        ({"min_tokens": 90}, LIMITS),
        *ALONE_TESTS[name],
    ]:
        policy = registry.build("prune", name, params, limits)
        for shown in _paths(limits, policy.needs.tokens):
            verdict = policy.judge(shown.segment())
            if verdict is not None:
                holds(verdict.why)
                rules.add(verdict.why.rule)
    assert rules >= {"finish.answer", "finish.eos", "finish.length", "finish.repetition", "finish.short"}
    assert name == "finish_tests" or rules >= {"confidence.low", "confidence.decline", "confidence.spike"}


def holds(why: Why):
    terms = dict(why.terms)
    compared = [COMPARED[why.rule]] if why.rule in COMPARED else []
    for one, relation, other in [*compared, *SECOND.get(why.rule, [])]:
        assert relation(terms[one], terms[other]), why


def test_a_decision_is_said_in_a_sentence_and_as_it_is_where_nobody_explains_it():
    why = because("aepo.value", change=0.25, value=0.6123456, tau=0.5, row=1, left=3)
    assert sentence(why, registry.sentences()) == (
        "its value of 0.6123 is above tau 0.5 (entropy changed by 0.25, 1 branches in a row before), and 3 rollouts "
        "are left"
    )
    assert sentence(because("theirs.rule", x=1.5), registry.sentences()) == "theirs.rule, x 1.5"
    assert sentence(because("aepo.value", tau=1), registry.sentences()) == "aepo.value, tau 1"
