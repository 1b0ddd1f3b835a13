"""Named bundles of policies with the defaults of their paper: `--recipe treepo`."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from treeroll.errors import InvalidInput
from treeroll.policies.recipe import Choice, Recipe
from treeroll.policies.registry import echo
from treeroll.policies.search_recipes import SEARCHES
from treeroll.policy.base import Limits

# 14 segments of 512 tokens, the best of the paper's shapes; treepo and flat share it, so that they compare.
PAPER_LIMITS: Final = Limits(leaves=16, segment_tokens=512, max_depth=14, max_tokens=14 * 512)
# Paths end where the model or the last boundary ends them, and nowhere else.
ENDS_ONLY: Final = Choice("finish_tests", MappingProxyType({"boxed": "off", "repetition": "off"}))

_TREEPO = Recipe(
    name="treepo",
    summary="trees of 16 leaves, forks at every segment, cut paths regrown, prefix-group advantages",
    paper="TreePO, arXiv 2508.17445",
    about="14 segments of 512 tokens are the best of the paper's shapes; branching, fallback, splits and averages "
    "are its defaults.",
    limits=PAPER_LIMITS,
    segment=Choice("fixed"),
    branch=Choice(
        "treepo",
        MappingProxyType({"branching": 2, "fallback": "random", "leaf_order": "finished_first", "split": "fixed_avg"}),
    ),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("treepo", MappingProxyType({"aggregate": "average"})),
)

_FLAT = Recipe(
    name="flat",
    summary="16 independent samples per task with GRPO advantages: the baseline",
    paper="GRPO, DeepSeekMath, arXiv 2402.03300",
    about="GRPO's samples and credit. Ours: shape and finish tests are treepo's, so that the two differ in "
    "branching and credit only.",
    limits=PAPER_LIMITS,
    segment=Choice("fixed"),
    branch=Choice("flat"),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("grpo"),
)

_PETS = replace(
    _FLAT,
    name="pets",
    summary="4 samples, then one by one until the majority of answers is settled; up to 64 leaves",
    paper="PETS, arXiv 2602.16745",
    about="16 samples on average and 64 at most are the source's. Ours: four first samples; the rest is flat's, so "
    "that they compare.",
    limits=replace(PAPER_LIMITS, leaves=64),
    branch=Choice("pets", MappingProxyType({"initial": 4, "batch": 1, "gain": 0.02})),
)
_PETS_ONLINE = replace(
    _PETS,
    name="pets_online",
    summary="4 samples, then at once as many more as their agreement has a budget for; 16 leaves unless you say",
    about="Four first samples, and 16 on average, are the source's. Ours: budgets do not differ until you set them; "
    "the rest is flat's, so that they compare.",
    limits=PAPER_LIMITS,
    branch=Choice("pets_online", MappingProxyType({"budgets": (16, 16, 16, 16, 16)})),
)

_SPO = Recipe(
    name="spo",
    summary="six children at each of three depths, the last segment free; up to 216 leaves",
    paper="SPO-tree, arXiv 2505.23564",
    about="Depth and last free level are the paper's, 600 tokens its length for long answers in mathematics. Ours: "
    "max_tokens.",
    limits=Limits(leaves=6 * 6 * 6, segment_tokens=600, max_depth=3, max_tokens=4096),
    segment=Choice("per_depth"),
    branch=Choice("spo", MappingProxyType({"fanouts": (6, 6, 6)})),
    prune=ENDS_ONLY,
    advantage=Choice("spo"),
)

_LATE_FORK = Recipe(
    name="late_fork",
    summary="8 samples that fork in two where three quarters of a usual answer are written; 16 leaves",
    paper="ours",
    about="All of it is ours. Set segment_tokens to three quarters of what an answer usually has, and max_tokens to "
    "the most that it may have. Eight roots are the cautious shape; `branch.fanouts=[4,4]` saves more tokens, and "
    "pays where the outcome is decided late. docs/learning-figures.md has the derivation and what was measured.",
    limits=Limits(leaves=16, segment_tokens=3 * 1024, max_depth=2, max_tokens=8192),
    segment=Choice("per_depth"),
    branch=Choice("spo", MappingProxyType({"fanouts": (8, 2)})),
    prune=ENDS_ONLY,
    advantage=Choice("ancestors"),
)

_TREERPO = Recipe(
    name="treerpo",
    summary="eight children at every node, three segments deep; up to 512 leaves",
    paper="TreeRPO, arXiv 2506.05183",
    about="Eight children, three depths and steps of 384 tokens are the paper's.",
    limits=Limits(leaves=8**3, segment_tokens=384, max_depth=3, max_tokens=3 * 384),
    segment=Choice("fixed"),
    branch=Choice("treerpo", MappingProxyType({"arity": 8})),
    prune=ENDS_ONLY,
    advantage=Choice("treerpo"),
)

_TREE_GRPO = Recipe(
    name="tree_grpo",
    summary="two chains, then two more from randomly drawn nodes of each; 6 leaves",
    paper="Tree-GRPO, arXiv 2509.21240",
    about="Two chains and two draws for each are the source's, and a boxed answer is its answer. Ours: segments of "
    "fixed length, as long as treepo's, stand for agent steps.",
    limits=replace(PAPER_LIMITS, leaves=6),
    segment=Choice("fixed"),
    branch=Choice("tree_grpo", MappingProxyType({"chains": 2, "picks": 2, "rounds": 1})),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "off"})),
    advantage=Choice("tree_grpo"),
)

_IB_TPO = Recipe(
    name="ib_tpo",
    summary="4 samples, then 8 more one by one from the node with the best information-bottleneck score; 12 leaves",
    paper="IB-TPO, arXiv 2605.28109",
    about="4 first samples, 9 rounds of one and beta 5 are the paper's, as steps are of segment policy `delimiter` "
    "with its defaults. Ours: segments of fixed length, as long as treepo's, because trees of a model that "
    "writes no blank line, such as the demo model, could fork at the prompt alone.",
    limits=replace(PAPER_LIMITS, leaves=12),
    segment=Choice("fixed"),
    branch=Choice("ib_tpo", MappingProxyType({"initial": 4, "rounds": 9, "nodes": 1, "forks": 1, "beta": 5.0})),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("ib_tpo"),
)

_DEEPSEARCH = Recipe(
    name="deepsearch",
    summary="tree search, eight segments at a time, until eight endings are backed up; up to 64 leaves",
    paper="DeepSearch, arXiv 2509.25454",
    about="Eight children, eight endings, and paths of up to 64 segments of 256 tokens are the release's.",
    limits=Limits(leaves=64, segment_tokens=256, max_depth=64, max_tokens=16384),
    segment=Choice("fixed", MappingProxyType({"hold": True})),
    branch=Choice("deepsearch", MappingProxyType({"width": 8, "terminals": 8})),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("deepsearch"),
)

_TREERL = Recipe(
    name="treerl",
    summary="6 answers, then two more from before each answer's two most surprising tokens; 30 leaves",
    paper="TreeRL, arXiv 2506.11902",
    about="Answers, places and forks are the release's script's, which trains on 16 of the 30 leaves: "
    "`LeafSelection(16)`. Ours: max_tokens is the length of their runs.",
    limits=Limits(leaves=30, segment_tokens=8192, max_depth=1, max_tokens=8192),
    segment=Choice("full_rollout"),
    branch=Choice("treerl", MappingProxyType({"chains": 6, "places": 2, "rounds": 1, "forks": 2})),
    prune=ENDS_ONLY,
    advantage=Choice("treerl"),
)

_ECHO = Recipe(
    name="echo",
    summary="16 answers, then up to 3 more from where each was first unsure, up to 64 leaves",
    paper="ECHO, arXiv 2602.02150",
    about="64 samples, up to four continuations of an answer, and entropies over 10 candidates are the release's. "
    "Ours: how many answers come first, so that four from each make 64; the length of paths, and segments "
    "short enough for prune tests to save tokens.",
    limits=Limits(leaves=64, segment_tokens=128, max_depth=56, max_tokens=56 * 128),
    segment=Choice("fixed"),
    branch=Choice("echo", MappingProxyType({"answers": 16, "entropy": 3.5, "entropy_rise": 0.2, "max_width": 4})),
    prune=Choice("confidence", MappingProxyType({"boxed": "off", "repetition": "off"})),
    advantage=Choice("grpo"),
    top_logprobs=10,
)

_HBPO = Recipe(
    name="hbpo",
    summary="16 samples in four sub-groups that are told, and kept to, 512, 1024, 2048 and 2560 tokens",
    paper="HBPO, arXiv 2507.15844",
    about="16 samples, the budgets, and the context of 4,096 tokens are the paper's. Ours: a budget is also a limit.",
    limits=Limits(leaves=16, segment_tokens=4096, max_depth=1, max_tokens=4096),
    segment=Choice("full_rollout"),
    branch=Choice("hbpo", MappingProxyType({"budgets": (512, 1024, 2048, 2560)})),
    prune=ENDS_ONLY,
    advantage=Choice("hbpo"),
)

_AGENT_LIMITS: Final = Limits(leaves=16, segment_tokens=4096, max_depth=4, max_tokens=4096)
_ARPO = Recipe(
    name="arpo",
    summary="8 rollouts of an agent that branch by chance behind its calls, up to 16 leaves",
    paper="ARPO, arXiv 2507.19849",
    about="All figures are the release's, 3 calls in a path and entropies over 10 candidates among them; answers "
    "are not tested for, they end with the model's own EOS.",
    limits=_AGENT_LIMITS,
    segment=Choice("agent_step"),
    branch=Choice("arpo", MappingProxyType({"initial": 8, "beam": 2, "base": 0.5, "weight": 0.2})),
    prune=ENDS_ONLY,
    advantage=Choice("grpo"),
    top_logprobs=10,
)

_REST_MCTS = Recipe(
    name="rest_mcts",
    summary="tree search, three segments at a time, until one path succeeds; labels for a value model; up to 33 leaves",
    paper="ReST-MCTS*, arXiv 2406.03816",
    about="Steps of up to 256 tokens are the paper's. Ours: the depth, and iterations as many as make a tree worth "
    "training on.",
    limits=Limits(leaves=33, segment_tokens=256, max_depth=16, max_tokens=16 * 256),
    segment=Choice("fixed", MappingProxyType({"hold": True})),
    branch=Choice("rest_mcts", MappingProxyType({"width": 3, "iterations": 16, "roll_forward": 3, "exploration": 0.7})),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("rest_mcts"),
)

_MARS2 = Recipe(
    name="mars2",
    summary="8 answers one after the other; Thompson sampling says where each begins, and which model gives it",
    paper="MARS2, arXiv 2604.14564",
    about="8 answers and their length are the release's. Ours: segments, for it has whole answers.",
    limits=Limits(leaves=8, segment_tokens=1024, max_depth=32, max_tokens=32768),
    segment=Choice("fixed"),
    branch=Choice("mars2"),
    prune=ENDS_ONLY,
    advantage=Choice("mars2"),
)

_HYPER = Recipe(
    name="hyper",
    summary="16 paths; every 64 tokens unsure ones end, and while all are unsure the others fork; up to 80 leaves",
    paper="HyPER, arXiv 2602.06527",
    about="The interval of 64 tokens, the first paths, the best of them and the largest pool are as notes of others "
    "have them, because the paper was not read. Ours: the rest.",
    limits=Limits(leaves=80, segment_tokens=64, max_depth=64, max_tokens=64 * 64),
    segment=Choice("fixed", MappingProxyType({"hold": True})),
    branch=Choice("hyper", MappingProxyType({"warm_up": 16, "keep": 10, "pool": 80})),
    prune=Choice("finish_tests", MappingProxyType({"boxed": "boxed_as_eos", "repetition": "last"})),
    advantage=Choice("grpo"),
)

_TREE_PLANNER = Recipe(
    name="tree_planner",
    summary="8 answers, then two more from each of the four places where most tokens are shared; 16 leaves",
    paper="ours, after Tree-Planner, arXiv 2310.08582",
    about="All of it is ours.",
    limits=Limits(leaves=16, segment_tokens=4096, max_depth=1, max_tokens=4096),
    segment=Choice("full_rollout"),
    branch=Choice("tree_planner", MappingProxyType({"samples": 8, "places": 4, "forks": 2})),
    prune=ENDS_ONLY,
    advantage=Choice("grpo"),
)

_AEPO = Recipe(
    name="aepo",
    summary="16 rollouts of an agent, shared out between prompt and branches by entropy",
    paper="AEPO, arXiv 2510.14545",
    about="Ours: the shape is ARPO's. The paper also changes advantages and clipping, in the trainer.",
    limits=_AGENT_LIMITS,
    segment=Choice("agent_step"),
    branch=Choice("aepo", MappingProxyType({"beta": 1.0, "alpha": 0.5, "gamma": 0.2, "tau": 0.5, "forks": 1})),
    prune=ENDS_ONLY,
    advantage=Choice("grpo"),
    top_logprobs=10,
)

_TREEPS_RAG = Recipe(
    name="treeps_rag",
    summary="two children behind every call of an agent, without those that were told the same; up to 16 leaves",
    paper="TreePS-RAG, arXiv 2601.06922",
    about="Ours: all figures; the shape is ARPO's, in which two children at each of four steps make 16 leaves.",
    limits=_AGENT_LIMITS,
    segment=Choice("agent_step"),
    branch=Choice("treeps_rag", MappingProxyType({"fanout": 2, "similarity": 0.9, "embedder": "ngrams"})),
    prune=ENDS_ONLY,
    advantage=Choice("treeps_mc"),
)

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            _TREEPO,
            _FLAT,
            _SPO,
            _LATE_FORK,
            _TREERPO,
            _TREE_GRPO,
            _IB_TPO,
            _DEEPSEARCH,
            _TREERL,
            _ECHO,
            _HBPO,
            _ARPO,
            _AEPO,
            _TREEPS_RAG,
            _REST_MCTS,
            _MARS2,
            _HYPER,
            _TREE_PLANNER,
            _PETS,
            _PETS_ONLINE,
            *SEARCHES,
        )
    }
)


def get(name: str) -> Recipe:
    """The recipe of this name."""
    if name not in RECIPES:
        raise InvalidInput(f"there is no recipe {echo(name)}; there is {', '.join(RECIPES)}")
    return RECIPES[name]
