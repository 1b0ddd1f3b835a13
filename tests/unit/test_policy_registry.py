"""Names, parameters and refusals of policies and recipes."""

import ast
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import treeroll.policies
from treeroll.errors import InvalidInput
from treeroll.policies import recipes, registry
from treeroll.policies.branch.flat import Flat
from treeroll.policies.branch.treepo import TreePO
from treeroll.policies.resolve import build_policies, resolve
from treeroll.policy.base import Limits

LIMITS = Limits(leaves=8, segment_tokens=10, max_depth=4, max_tokens=100)
# Wide enough for the defaults of every policy.
AMPLE = Limits(leaves=512, segment_tokens=10, max_depth=3, max_tokens=100)
FORBIDDEN = {"asyncio", "grpc", "redis", "ray", "time", "random", "os", "vllm", "torch", "numpy"}


def refusal(kind, name, params):
    with pytest.raises(InvalidInput) as caught:
        registry.build(kind, name, params, LIMITS)
    return str(caught.value)


def test_every_policy_builds_from_nothing_and_says_what_it_is():
    for kind, classes in registry.POLICIES.items():
        for policy in classes:
            built = registry.build(kind, policy.name, {}, replace(AMPLE, max_tokens=4096))
            assert isinstance(built, policy)
            assert policy.summary
            assert "\n" not in policy.summary
            assert policy.paper
            assert policy.__doc__


def test_names_are_unique_within_a_kind():
    for classes in registry.POLICIES.values():
        assert len({policy.name for policy in classes}) == len(classes)


def test_unknown_kinds_and_names_list_what_exists():
    assert refusal("brnch", "flat", {}) == (
        "there is no policy kind 'brnch'; the kinds are segment, branch, prune, advantage, placement, allocate, route"
    )
    assert refusal("branch", "treeop", {}) == (
        "there is no branch policy 'treeop'; there is treepo, flat, spo, treerpo, tree_grpo, ib_tpo, treerl, arpo, "
        "aepo, treeps_rag, echo, hbpo, deepsearch, rest_mcts, mars2, hyper, tree_planner, rebase, dora, ets, bavt, "
        "uct, cost_band, depth_first, pets, pets_online, cascade"
    )


def test_unknown_keys_list_the_parameters():
    assert refusal("segment", "fixed", {"holding": True}) == (
        "segment policy 'fixed' has no parameter 'holding'; its parameters are: hold, aligned"
    )
    assert "its parameters are: none" in refusal("branch", "flat", {"b": 2})


def test_wrong_values_say_where_what_and_what_is_allowed():
    assert refusal("branch", "treepo", {"branching": 0}) == (
        "branch policy 'treepo': branching is 0; it must be greater than or equal to 1"
    )
    assert refusal("branch", "treepo", {"sync": "levels"}) == (
        "branch policy 'treepo': sync is 'levels'; it must be 'level' or 'path'"
    )
    both = refusal("prune", "finish_tests", {"repetition_count": 1, "repetition_chars": "many"})
    assert both.count("prune policy 'finish_tests'") == 2


def test_long_values_are_not_echoed_whole():
    assert len(refusal("branch", "treepo", {"sync": "x" * 10_000})) < 200
    assert len(refusal("branch", "x" * 10_000, {})) < 400


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"sync": "path", "split": "logprob_weighted"}, ["split=logprob_weighted", "sync=path"]),
        (
            {"sync": "path", "total_budget": "by_response_token", "token_cap": 9},
            ["total_budget=by_response_token", "sync=path"],
        ),
        ({"total_budget": "by_response_token"}, ["token_cap", "total_budget=by_response_token"]),
        ({"token_cap": 100}, ["token_cap", "total_budget=by_response_token"]),
        ({"tau_schedule": "ascending"}, ["tau_schedule=ascending", "split=fixed_avg"]),
        ({"random_div_min": 5}, ["random_div_min 5", "random_div_max 4"]),
        ({"tau_min": 50}, ["tau_min 50", "tau_max 10"]),
        ({"initial": "random", "initial_min": 9}, ["initial_min 9", "initial_max 8"]),
    ],
)
def test_combinations_that_cannot_work_name_both_settings(params, named):
    sentence = refusal("branch", "treepo", params)
    assert sentence.startswith("branch policy 'treepo': ")
    assert all(setting in sentence for setting in named)


def test_batch_coupled_modes_are_not_offered():
    assert "divergence" in refusal("branch", "treepo", {"divergence": "by_infer_step_token_budget"})


def test_describe_lists_every_policy_with_its_parameters():
    rows = {(row.kind, row.name): row for row in registry.describe()}
    assert {kind for kind, _ in rows} == set(registry.POLICIES)
    parameters = {row.name: row for row in rows["branch", "treepo"].parameters}
    assert parameters.keys() == TreePO.Params.model_fields.keys()
    assert (parameters["branching"].type, parameters["branching"].default) == ("int", "2")
    assert parameters["branching"].bounds == ">= 1, <= 1024"
    assert parameters["sync"].type == "level | path"
    lists = {row.name: row.type for row in rows["segment", "per_depth"].parameters}
    assert lists["tokens"] == "list of int | none"
    assert (parameters["token_cap"].type, parameters["token_cap"].default) == ("int | none", "none")
    assert all(parameter.description for row in rows.values() for parameter in row.parameters)


def test_recipes_build_with_their_own_limits():
    for name, recipe in recipes.RECIPES.items():
        built = build_policies(name)
        assert built.branch.max_leaves == recipe.limits.leaves
        assert recipe.summary
        assert recipe.paper


def test_the_treepo_recipe_has_the_papers_defaults():
    recipe = recipes.get("treepo")
    assert recipe.limits == Limits(leaves=16, segment_tokens=512, max_depth=14, max_tokens=7168)
    params = TreePO.Params(**recipe.branch.params)
    assert (params.branching, params.split, params.fallback) == (2, "fixed_avg", "random")
    assert params.leaf_order == "finished_first"


@pytest.mark.parametrize(
    ("name", "limits", "branch"),
    [
        ("spo", Limits(216, 600, 3, 4096), {"fanouts": (6, 6, 6)}),
        ("treerpo", Limits(512, 384, 3, 1152), {"arity": 8}),
        ("tree_grpo", Limits(6, 512, 14, 7168), {"chains": 2, "picks": 2, "rounds": 1}),
        ("ib_tpo", Limits(12, 512, 14, 7168), {"initial": 4, "rounds": 9, "nodes": 1, "forks": 1, "beta": 5.0}),
        (
            "echo",
            Limits(64, 128, 56, 7168),
            {"answers": 16, "entropy": 3.5, "entropy_rise": 0.2, "max_width": 4},
        ),
        ("hbpo", Limits(16, 4096, 1, 4096), {"budgets": (512, 1024, 2048, 2560)}),
        ("deepsearch", Limits(64, 256, 64, 16384), {"width": 8, "terminals": 8}),
        ("arpo", Limits(16, 4096, 4, 4096), {"initial": 8, "beam": 2, "base": 0.5, "weight": 0.2}),
        ("hyper", Limits(80, 64, 64, 4096), {"warm_up": 16, "keep": 10, "pool": 80}),
        ("tree_planner", Limits(16, 4096, 1, 4096), {"samples": 8, "places": 4, "forks": 2}),
        ("pets", Limits(64, 512, 14, 7168), {"initial": 4, "batch": 1, "gain": 0.02}),
        ("pets_online", Limits(16, 512, 14, 7168), {"budgets": (16,) * 5}),
        (
            "rest_mcts",
            Limits(33, 256, 16, 4096),
            {"width": 3, "iterations": 16, "roll_forward": 3, "exploration": 0.7},
        ),
        ("mars2", Limits(8, 1024, 32, 32768), {}),
    ],
)
def test_the_other_recipes_have_the_shapes_of_their_papers(name, limits, branch):
    recipe = recipes.get(name)
    assert (recipe.limits, recipe.branch.params) == (limits, branch)
    assert recipe.branch.name == name


def test_the_spo_recipe_frees_its_last_segment():
    assert build_policies("spo").segment.boundaries(33, 32, 100_000) == [641, 1249, 33 + 4096]


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(InvalidInput, match="there is no recipe 'treep'; there is treepo, flat, spo, "):
        recipes.get("treep")


def test_overrides_change_single_parameters():
    assert build_policies("treepo", LIMITS, {"segment": {"hold": True}}).segment.hold
    branch = resolve("treepo", overrides={"branch": {"sync": "path"}}).chosen["branch"]
    assert branch.params["sync"] == "path"
    assert branch.params["branching"] == 2


def test_a_name_swaps_the_policy_and_drops_the_recipes_parameters():
    assert isinstance(build_policies("treepo", LIMITS, {"branch": {"name": "flat"}}).branch, Flat)
    same = resolve("treepo", overrides={"branch": {"name": "treepo", "branching": 3}}).chosen["branch"].params
    assert (same["branching"], same["fallback"]) == (3, "random")


def test_a_policy_that_chooses_which_paths_go_on_refuses_to_let_them_run():
    with pytest.raises(InvalidInput, match=r"'deepsearch' chooses .* policy 'fixed' lets them run; set segment\.hold"):
        build_policies("deepsearch", None, {"segment": {"hold": False}})


def clash(recipe, overrides, **limits):
    with pytest.raises(InvalidInput) as caught:
        build_policies(recipe, Limits(**{**asdict(AMPLE), **limits}), overrides)
    return str(caught.value)


def test_a_segment_policy_that_cannot_hold_is_not_told_to():
    sentence = clash("deepsearch", {"segment": {"name": "full_rollout"}})
    assert sentence.endswith("but segment policy 'full_rollout' lets them run; choose one that has segment.hold")


def test_fanouts_below_the_last_segment_a_path_can_have_are_refused():
    assert clash("spo", {"segment": {"tokens": [30]}}) == (
        "branch policy 'spo': fanouts 6,6,6 asks for forks at 3 depths, but with segment policy 'per_depth' no path is "
        "deeper than 2 (tokens [30], segment_tokens 10, max_depth 3, max_tokens 100); "
        "fork at fewer depths or allow more segments"
    )
    assert clash("treerpo", {}, max_tokens=20) == (
        "branch policy 'treerpo': arity 8 at each of max_depth 3 asks for forks at 3 depths, but with segment policy "
        "'fixed' no path is deeper than 2 (segment_tokens 10, max_depth 3, max_tokens 20); "
        "fork at fewer depths or allow more segments"
    )
    assert "'full_rollout' no path is deeper than 1 (segment_tokens 10" in clash(
        "spo", {"segment": {"name": "full_rollout"}}
    )
    assert build_policies("treerpo", replace(AMPLE, max_tokens=21)).branch.max_leaves == 512


def test_a_minimum_length_that_no_path_reaches_is_refused():
    assert clash("flat", {"prune": {"min_tokens": 31}}) == (
        "prune policy 'finish_tests': min_tokens 31 is above the 30 tokens that segment policy 'fixed' gives a path "
        "(segment_tokens 10, max_depth 3, max_tokens 100), so all would be discarded; lower min_tokens or allow longer "
        "paths"
    )
    build_policies("flat", AMPLE, {"prune": {"min_tokens": 30}})


def test_wrong_overrides_are_refused():
    with pytest.raises(InvalidInput, match="section 'brunch'; the sections are segment, branch, prune, advantage"):
        build_policies("treepo", LIMITS, {"brunch": {}})
    with pytest.raises(InvalidInput, match="branch policy 'flat' has no parameter 'sync'"):
        build_policies("flat", LIMITS, {"branch": {"sync": "path"}})


@pytest.mark.parametrize("name", ["leaves", "segment_tokens", "max_depth", "max_tokens"])
def test_limits_below_one_are_refused(name):
    shape = {"leaves": 1, "segment_tokens": 1, "max_depth": 1, "max_tokens": 1, name: 0}
    with pytest.raises(InvalidInput, match=f"{name} is 0"):
        build_policies("treepo", Limits(**shape))


def test_policies_are_pure():
    for source in Path(next(iter(treeroll.policies.__path__))).rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & FORBIDDEN, source


def test_parameters_that_policies_share_are_listed_after_their_own():
    rows = {row.name: row for row in registry.describe() if row.kind == "branch"}
    names = [parameter.name for parameter in rows["ib_tpo"].parameters]
    assert names == ["initial", "rounds", "nodes", "forks", "beta", "success", "settled_after", "settled_at_most"]
