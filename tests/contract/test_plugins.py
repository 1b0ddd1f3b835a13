"""Policies of other distributions: found by entry point, or refused in a sentence that names the distribution."""

import sys

import pytest
from tests.support.distribution import install

from treeroll.errors import InvalidInput
from treeroll.policies import plugins, registry
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits

LIMITS = Limits(leaves=8, segment_tokens=10, max_depth=4, max_tokens=100)
# A policy class; tests change words of it.
SOURCE = """
from treeroll.policies.branch.flat import Flat

class Mine(Flat):
    name = "mine"
    summary = "as flat"
    paper = "none"
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that distributions can be installed to."""
    monkeypatch.syspath_prepend(tmp_path)
    plugins.declared.cache_clear()
    before = set(sys.modules)
    yield tmp_path
    plugins.declared.cache_clear()
    for module in set(sys.modules) - before:
        del sys.modules[module]


def refusal(kind="branch", name="mine", ask=None):
    with pytest.raises(InvalidInput) as caught:
        registry.build(kind, name, {}, LIMITS) if ask is None else ask()
    return str(caught.value)


def test_a_policy_of_another_distribution_is_built_listed_and_swapped_in(site):
    install(site, "my-policies", {"branch.mine": "my_module:Mine"}, {"my_module": SOURCE})
    assert type(registry.build("branch", "mine", {}, LIMITS)).__name__ == "Mine"
    assert [row.summary for row in registry.describe() if row.name == "mine"] == ["as flat"]
    assert build_policies("treepo", LIMITS, {"branch": {"name": "mine"}}).branch.max_leaves == 8


def test_its_parameters_are_checked_as_ours_are(site):
    install(site, "my-policies", {"branch.mine": "my_module:Mine"}, {"my_module": SOURCE})
    with pytest.raises(InvalidInput, match="branch policy 'mine' has no parameter 'b'; its parameters are: none"):
        registry.build("branch", "mine", {"b": 1}, LIMITS)


def test_names_that_exist_include_it_without_importing_it(site):
    install(site, "my-policies", {"branch.mine": "no_such_module:Mine"}, {})
    assert refusal(name="mime").endswith(", mine")


def test_nothing_is_imported_for_a_run_that_does_not_ask(site):
    install(site, "broken", {"branch.mine": "no_such_module:Mine", "nonsense": "x:y"}, {})
    assert registry.build("branch", "flat", {}, LIMITS).max_leaves == 8


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("Other = 1", "cannot be loaded: AttributeError"),
        ("Mine = 1", "is no class"),
        (SOURCE.replace('"none"', "None"), "has no paper, one line of text"),
        (SOURCE + "    Params = dict", "has no Params, a subclass of treeroll.policy.Params"),
        (SOURCE.replace('name = "mine"', 'name = "yours"'), "calls itself 'yours'; entry point and class must agree"),
        (SOURCE + "    def __init__(self): pass", "cannot be built: TypeError"),
        (SOURCE + "    def __init__(self, params, limits): pass\n    max_leaves = property()", "has no 'max_leaves'"),
    ],
    ids=str,
)
def test_a_broken_policy_is_refused_and_names_its_distribution(site, source, said):
    install(site, "my-policies", {"branch.mine": "my_module:Mine"}, {"my_module": source})
    sentence = refusal()
    assert sentence.startswith("branch policy 'mine' of distribution 'my-policies' ")
    assert said in sentence
    assert "\n" not in sentence


def test_a_constructor_may_refuse_by_itself(site):
    source = SOURCE + "    def __init__(self, params, limits):\n        raise InvalidInput('pace is above leaves')"
    install(
        site,
        "my-policies",
        {"branch.mine": "my_module:Mine"},
        {"my_module": "from treeroll.errors import InvalidInput\n" + source},
    )
    assert refusal() == "pace is above leaves"


def test_a_name_of_ours_is_refused(site):
    install(site, "my-policies", {"branch.flat": "my_module:Mine"}, {"my_module": SOURCE})
    expected = (
        "branch policy 'flat' of distribution 'my-policies' has the name of one of treeroll's own; "
        "it must take another, or be uninstalled"
    )
    assert refusal(name="flat") == expected == refusal(ask=registry.describe)


def test_two_distributions_with_one_name_are_refused(site):
    install(site, "b", {"branch.mine": "b_module:Mine"}, {"b_module": SOURCE})
    install(site, "a", {"branch.mine": "a_module:Mine"}, {"a_module": SOURCE})
    assert refusal() == (
        "branch policy 'mine' of distribution 'a' has the same name as that of 'b'; uninstall all but one"
    )


@pytest.mark.parametrize("point", ["mine", "brunch.mine", "branch."])
def test_an_entry_point_without_kind_or_name_is_refused_when_policies_are_listed(site, point):
    install(site, "my-policies", {point: "my_module:Mine"}, {"my_module": SOURCE})
    assert refusal(ask=registry.describe) == (
        f"distribution 'my-policies' declares '{point}' in entry point group treeroll.policies; "
        "it must be KIND.NAME, where KIND is one of segment, branch, prune, advantage, placement, allocate, route"
    )
