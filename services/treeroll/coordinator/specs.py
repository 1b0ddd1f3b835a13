"""From what clients send to what the core takes: run specifications and tokenised tasks, checked in full."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

import numpy as np

from treeroll import clock, plain_json
from treeroll.config import RunConfig, check_run_id, parse
from treeroll.coordinator.allocation import allocator
from treeroll.coordinator.budgets import run_budget, total_tokens
from treeroll.coordinator.delivery import delivery_rules
from treeroll.coordinator.models import check_branch_models, route_policy, run_models
from treeroll.coordinator.prompts import ChatSettings, prompt_of
from treeroll.coordinator.records import CLIENT_SCORER
from treeroll.core.model.history import History
from treeroll.core.model.run import RunSpec, StalenessBound, TaskSpec
from treeroll.core.model.weights import OnUpdate
from treeroll.errors import InvalidInput
from treeroll.pb.v1 import rollout_pb2 as api
from treeroll.policies import plugins, recipes
from treeroll.policies.clashes import entropy_clashes
from treeroll.policies.resolve import SECTIONS, Resolution, resolve, shape
from treeroll.policy.allocate import BudgetAllocator
from treeroll.policy.base import BranchPolicy, Limits
from treeroll.sampling import Sampling
from treeroll.scorers.base import MAX_REWARD
from treeroll.scorers.registry import check as check_scorer
from treeroll.scorers.rules import ANYTHING, ScorerRules
from treeroll.tasks import MAX_ID_CHARS
from treeroll.tokenizer import Tokenizer
from treeroll.tree.rng import hash64


def run_config(config_json: str, where: str) -> RunConfig:
    """Parse a run's JSON configuration."""
    try:
        values = plain_json.loads(config_json or "{}")
    except ValueError as error:
        raise InvalidInput(f"{where}: the configuration is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InvalidInput(f"{where}: the configuration must be a JSON object")
    return parse(RunConfig, values, where)


def resolved(config: RunConfig) -> Resolution:
    """The policies of a configuration. InvalidInput for a recipe, a policy or a parameter that cannot be."""
    limits = shape(
        recipes.get(config.recipe), config.leaves, config.segment_tokens, config.max_depth, config.max_tokens
    )
    return resolve(config.recipe, limits, {section: getattr(config, section) for section in SECTIONS})


def run_spec(
    run_id: str,
    config: RunConfig,
    vocabulary: int,
    *,
    pools: Sequence[str] = ("",),
    rules: ScorerRules = ANYTHING,
    history: History | None = None,
    owner: str = "",
) -> RunSpec:
    """Resolve a configuration to policies. InvalidInput names what cannot work.

    The service has models of so many tokens; `pools` are their names, "" that of the only one of a service that names
    none.
    """
    check_run_id(run_id)
    resolution = resolved(config)
    limits, policies = resolution.limits, resolution.policies
    top_logprobs = resolution.recipe.top_logprobs if config.top_logprobs is None else config.top_logprobs
    if config.temperature == 0 and limits.leaves > 1:
        raise InvalidInput(
            f"temperature 0 and leaves {limits.leaves} cannot work together: all leaves of a tree would be equal"
        )
    for clash in entropy_clashes(policies, top_logprobs, vocabulary):
        raise InvalidInput(clash)
    if policies.branch.needs.rewards and config.scorer in (None, CLIENT_SCORER):
        raise InvalidInput(
            f"recipe '{config.recipe}' grows trees by the rewards of their leaves, but scorer is {config.scorer!r}, so "
            f"none come while a tree grows; set scorer"
        )
    judge = _judge(config, policies.branch)
    check_branch_models(policies.branch, resolution.chosen["branch"].name, pools)
    allocate = allocator(config, resolution)
    route = route_policy(config, limits, allocate)
    rules.check_timeout(config.scorer_timeout_s)
    for scorer in (config.scorer, judge):
        if scorer is not None:
            check_scorer(scorer, rules)
    return RunSpec(
        run_id=run_id,
        config_json=_in_full(config, limits, top_logprobs),
        seed=config.seed,
        max_tokens=limits.max_tokens,
        sampling=_sampling(config, limits, top_logprobs, vocabulary),
        segment=policies.segment,
        branch=policies.branch,
        prune=policies.prune,
        advantage=policies.advantage,
        scorer=config.scorer,
        judge=judge,
        weight=config.weight,
        models=run_models(config, route, pools),
        route=route,
        allocate=allocate,
        branch_for=None if allocate is None else resolution.growth_of,
        history=history,
        on_update=OnUpdate(config.on_update),
        staleness=_staleness(config),
        budget=run_budget(config, limits.max_tokens, policies.segment),
        owner=owner,
        delivery=delivery_rules(config, _most_leaves(resolution, allocate)),
        fingerprint=_fingerprint(config, resolution),
    )


def _fingerprint(config: RunConfig, resolution: Resolution) -> str:
    """Of all that says how trees grow: the policies by name, with their parameters and, if they are not ours, their
    version."""
    chosen: dict[str, Any] = {**resolution.settings(), "allocate": config.allocate, "route": config.route}
    versions = {kind: plugins.version(kind, str(one["name"])) for kind, one in chosen.items() if one}
    said = json.dumps([chosen, versions, asdict(resolution.limits)], sort_keys=True)
    return blake2b(said.encode(), digest_size=16).hexdigest()


def _staleness(config: RunConfig) -> StalenessBound | None:
    if config.max_staleness is None:
        return None
    return StalenessBound(config.max_staleness, config.staleness_by == "newest", config.when_stale == "withhold")


def _most_leaves(resolution: Resolution, allocate: BudgetAllocator | None) -> int:
    """Leaves that any tree of the run may have."""
    branch = resolution.policies.branch
    return branch.max_leaves if allocate is None else resolution.growth_of(allocate.most).max_leaves


def _sampling(config: RunConfig, limits: Limits, top_logprobs: int, vocabulary: int) -> Sampling:
    sampling = Sampling.of(config, top_logprobs=top_logprobs, eos_token_ids=())
    if sampling.min_tokens > limits.max_tokens:
        raise InvalidInput(
            f"min_tokens {sampling.min_tokens} is above max_tokens {limits.max_tokens}, so no path could end by itself;"
            f" lower min_tokens"
        )
    if sampling.stop_token_ids and max(sampling.stop_token_ids) >= vocabulary:
        raise InvalidInput(
            f"stop_token_ids has {max(sampling.stop_token_ids)}, but the model's ids are below {vocabulary}"
        )
    return sampling


def _judge(config: RunConfig, branch: BranchPolicy) -> str | None:
    """The run's judge, if its growth waits for one."""
    wanted = branch.needs.judge
    if wanted and config.judge in (None, CLIENT_SCORER):
        raise InvalidInput(
            f"recipe '{config.recipe}' grows trees by what a judge says of unfinished paths, but judge is "
            f"{config.judge!r}, so none says anything while a tree grows; set judge to a scorer"
        )
    if not wanted and config.judge is not None:
        raise InvalidInput(
            f"judge is '{config.judge}', but nothing in recipe '{config.recipe}' asks it; set branch.value to judge in "
            f"a recipe that has it, or leave judge out"
        )
    return config.judge


def check_inserts(spec: RunSpec, tokenizer: Tokenizer) -> None:
    """InvalidInput for a text that a policy would put into paths and the model's tokenizer cannot write."""
    for kind, policy in (("segment", spec.segment), ("branch", spec.branch)):
        for text in policy.needs.inserts:
            tokenizer.check_writes(text, f"{kind} policy '{policy.name}'")


def _in_full(config: RunConfig, limits: Limits, top_logprobs: int) -> str:
    """The configuration with what its recipe gave it, and the budget of tokens under both its names."""
    resolved = {**config.model_dump(mode="json"), **asdict(limits), "top_logprobs": top_logprobs}
    resolved["budget_tokens"] = resolved["budget"]["tokens"] = total_tokens(config)
    return json.dumps(resolved, sort_keys=True)


def task_spec(run_id: str, epoch: int, task: api.Task, tokenizer: Tokenizer, chat: ChatSettings) -> TaskSpec:
    """Tokenise and check one task of a run with these chat settings. InvalidInput names it."""
    where = f"task '{task.task_id}'"
    if not 1 <= len(task.task_id) <= MAX_ID_CHARS:
        raise InvalidInput(f"{where}: a task id has 1 to {MAX_ID_CHARS} characters")
    prompt = prompt_of(task, tokenizer, chat, where)
    tokenizer.check_prompt(prompt.ids, where)
    extra_json = _extra(task.extra_json, where)
    answer = task.answer if task.HasField("answer") else None
    digest = blake2b(digest_size=16)
    for part in (prompt.sent, repr(answer).encode(), extra_json.encode()):
        digest.update(len(part).to_bytes(8, "little") + part)
    return TaskSpec(
        task_id=task.task_id,
        epoch=epoch,
        tree_id=f"{hash64('tree', run_id, task.task_id, epoch):016x}",
        prompt_ids=np.asarray(prompt.ids, "<i4").tobytes(),
        prompt_text=prompt.text,
        digest=digest.hexdigest(),
        answer=answer,
        extra_json=extra_json,
        submitted_at=clock.wall(),
    )


def _extra(raw: str, where: str) -> str:
    try:
        extra = plain_json.loads(raw or "{}")
    except ValueError as error:
        raise InvalidInput(f"{where}: extra fields are not JSON: {error}") from None
    if not isinstance(extra, dict):
        raise InvalidInput(f"{where}: extra fields must be a JSON object")
    return json.dumps(extra, sort_keys=True)


def check_reward(report: api.RewardReport) -> None:
    """InvalidInput for a reward that is no finite number, or that has no name."""
    if not abs(report.value) <= MAX_REWARD:
        raise InvalidInput(
            f"reward of node '{report.path}' of tree {report.tree_id} is {report.value}, "
            f"not finite or beyond {MAX_REWARD:g}"
        )
