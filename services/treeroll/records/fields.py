"""The table of record fields: of every field of a node, sample and tree its type, source and meaning.

Whatever reads, stores, checks or describes records is made from it: client records, Parquet columns, audits of files,
`docs/records.md` (`python -m treeroll.records.page`). A new field of a node is a field of its message and a row here.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from treeroll.records.column import (
    DType,
    Origin,
    columns_of,
    made_on_first_use,
    of_credit,
    of_node,
    of_path,
    of_task,
    of_tree,
    record,
)
from treeroll.why import Why

SCHEMA_VERSION = 1

Int32 = NDArray[np.int32]
Float32 = NDArray[np.float32]

BOOL, INT32, INT64, FLOAT32, FLOAT64 = DType.BOOL, DType.INT32, DType.INT64, DType.FLOAT32, DType.FLOAT64
STRING, TEXT, JSON, STRINGS = DType.STRING, DType.TEXT, DType.JSON, DType.STRINGS
INT32S, FLOAT32S, SPANS, REWARDS, SCORES = DType.INT32S, DType.FLOAT32S, DType.SPANS, DType.REWARDS, DType.SCORES
WHY = DType.WHY


class WeightSpan(NamedTuple):
    """Consecutive tokens made by one weight version."""

    version: int
    tokens: int


class Reward(NamedTuple):
    """What one scorer version said about one node. `value` is None when the scorer failed; `error` then says why."""

    scorer: str
    version: int
    value: float | None
    error: str


@record()
class Node:
    """One segment. The root holds the prompt, every other node its own tokens only. docs/records.md has the fields."""

    node_id: str = of_path(STRING, "`<tree_id>:<path>`; the root's path is empty.")
    tree_id: str = of_tree(STRING, "The tree it belongs to.")
    parent_id: str | None = of_path(STRING, "Its parent; null for the root.", proto="Node.parent")
    path: str = of_node(STRING, "Sibling indices from the root down, joined by dots.")
    depth: int = of_node(INT32, "Segments between the root and this node.")
    sibling_index: int = of_node(INT32, "0 is the branch that ran on through the boundary.")
    token_start: int = of_node(
        INT32, "Position of its first token in the whole sequence, prompt included.", unit="tokens"
    )
    token_ids: Int32 = of_node(INT32S, "Its tokens.", shape="N")
    logprobs: Float32 = of_node(
        FLOAT32S, "Of each token when it was sampled; empty for the root.", unit="nats", shape="N"
    )
    logprobs_mode: str = of_tree(STRING, '"processed" (of the distribution sampled from) or "raw".')
    entropies: Float32 = of_node(
        FLOAT32S,
        "Top-k entropy estimate of each token; empty unless the run asked for `top_logprobs`.",
        unit="nats",
        shape="N",
    )
    weight_versions: list[WeightSpan] = of_node(
        SPANS, "Spans that cover the sampled ones of token_ids in order; empty for the root."
    )
    kv_mixed: bool = of_node(
        BOOL, "It holds tokens that new weights decoded on KV of older ones: of neither policy alone."
    )
    inserted_tokens: int = of_node(
        INT32,
        "Of token_ids, at the beginning, so many were put there by the branch policy: otherwise as an observation.",
        unit="tokens",
    )
    observation_tokens: int = of_node(
        INT32,
        "Of token_ids, at the end, so many are a tool's observation: not sampled, logprob 0, in no weight span.",
        unit="tokens",
    )
    model: str = of_node(
        STRING, "Which of the service's models made it: the tree's, or the branch's own; \"\" without names."
    )
    temperature: float = of_node(FLOAT32, "What its branch sampled at: the run's, or the branch's own.")
    max_tokens: int | None = of_node(
        INT32, "Most completion tokens that its branch may have come to; null: the run's.", unit="tokens"
    )
    top_p: float = of_tree(FLOAT32, "Nucleus sampling: the share of probability sampled from.")
    top_k: int = of_tree(INT32, "So many most likely tokens were sampled from; 0: all.")
    min_p: float = of_tree(FLOAT32, "Tokens less likely than so much of the likeliest were not sampled; 0: off.")
    repetition_penalty: float = of_tree(FLOAT32, "Logits of the path's earlier tokens were divided by it; 1: off.")
    min_tokens: int = of_tree(INT32, "Completion tokens before which nothing ended a path.", unit="tokens")
    text: str = of_node(TEXT, "Its tokens as text, without those that end a text and padding.")
    branch_reason: str = of_node(
        STRING,
        'Why the branch that made it was started: "prompt" (root), "initial", "fork", "fallback". All its nodes '
        "say so.",
    )
    decision: str = of_node(STRING, '"boundary" or "retrospective": what the decision to start the branch had read.')
    group: int = of_node(
        INT32, "Label that growth gave the branch, from 1, for credit to compare leaves by; 0 is none."
    )
    why: Why | None = of_node(
        WHY,
        "The rule by which its branch was started, with the numbers that it compared; null but for the first node of a "
        "branch, and where its policy gives none.",
    )
    waited_s: float | None = of_node(
        FLOAT64, "That its branch waited for a replica; null but for the first node of an engine request.", unit="s"
    )
    masked_by: str = of_node(
        STRING, 'The account that had too little room for its branch meanwhile: "tokens", "leaves", ...; else empty.'
    )
    status: str = of_node(STRING, '"inner", "leaf", "pruned" or "open".')
    stop_reason: str = of_node(STRING, 'Of leaves: "eos", "stop", "answer", "length", "depth", ...; else empty.')
    ended_by: Why | None = of_node(
        WHY,
        "The rule that ended a path here, with its numbers: a test, a policy that let a held path end, or an account "
        "without room for a branch; null where nothing ended, and where nobody says.",
    )
    replica_id: str = of_node(STRING, "The replica that made it.")
    incarnation: int = of_node(INT64, "Start number of that replica.")
    attempt: int = of_node(INT32, "1 for the branch's first try, +1 for each re-grant after a loss.")
    cached_tokens: int | None = of_node(
        INT32,
        "Prefix tokens found in the KV cache; null for a node that a running request reached by decoding on.",
        unit="tokens",
    )
    recomputed_tokens: int | None = of_node(
        INT32, "Prefix tokens that were computed again; null as cached_tokens is.", unit="tokens"
    )
    dropped_tokens: int = of_node(
        INT32,
        "Tokens past this node, reported with it and thrown away; overshoot of stopped branches is in the run's waste.",
        unit="tokens",
    )
    started_at: float = of_node(
        FLOAT64, "When its branch's request was made, since the epoch; for people only.", unit="s"
    )
    finished_at: float = of_node(
        FLOAT64, "When its last token was reported, since the epoch; for people only.", unit="s"
    )
    rewards: list[Reward] = of_credit(
        REWARDS,
        "Those in force, at most one per scorer and version; value is null where the scorer failed, and error "
        "says why.",
        proto="Node.rewards",
    )
    value: float | None = of_credit(
        FLOAT64, "Mean reward of the scored leaves at or below; null when none is scored.", proto="Node.value"
    )
    n_leaves: int = of_node(INT32, "Complete leaves at or below.")
    tin: int = of_node(INT32, "Depth-first interval: q sees k exactly if tin[k] <= tin[q] < tout[k].")
    tout: int = of_node(INT32, "End of that interval.")


@made_on_first_use(but=frozenset({"index", "completion_ids", "logprobs", "advantages"}))
@record(slots=False)
class Sample:
    """One path. C is the number of completion tokens; per-token columns are [C], int32 or float32.

    Token ids, logprobs and advantages are made for the whole tree at once; all else on first use, because a trainer
    pays for what it reads. docs/records.md has the fields.
    """

    schema_version: int = of_path(INT32, "Version of this table.")
    sample_id: str = of_path(STRING, "`<tree_id>:<path of the leaf>`.")
    tree_id: str = of_tree(STRING, "The tree it is a path of.")
    task_id: str = of_task(STRING, "The task's id.")
    group_id: str = of_tree(STRING, "What advantages are relative to: the tree.", proto="Tree.tree_id")
    epoch: int = of_task(INT32, "Pass over the data set.")
    index: int = of_path(INT32, "Position in the group, in path order: the same whatever the placement.")
    group_size: int = of_path(INT32, "Samples of the tree.", proto="Tree.leaves")
    group: int = of_node(
        INT32,
        "Label that growth gave the leaf's branch, from 1, for credit to compare leaves of one tree by; 0 is none.",
    )
    n_scored: int = of_credit(INT32, "Samples of the tree that have a reward.", proto="Tree.n_scored")
    n_censored: int = of_tree(
        INT32,
        "Branches of the tree that were cut before they ended; the samples left favour short answers when it is not 0.",
    )
    prompt_ids: Int32 = of_path(INT32S, "Tokens of the prompt.", shape="P")
    completion_ids: Int32 = of_path(INT32S, "Tokens after the prompt.", shape="C")
    model_mask: Int32 = of_path(
        INT32S,
        "1: made by `model`; 0: a tool's observation, inserted by the branch policy, or made by another model.",
        shape="C",
    )
    prompt_text: str = of_task(TEXT, "The prompt as given, or rendered by the chat template.")
    completion_text: str = of_path(TEXT, "The completion as text, without what ends it and padding.")
    logprobs: Float32 = of_path(FLOAT32S, "Of each completion token when it was sampled.", unit="nats", shape="C")
    logprobs_mode: str = of_tree(STRING, '"processed" (of the distribution sampled from) or "raw".')
    entropies: Float32 = of_path(
        FLOAT32S,
        "Top-k entropy estimate of each completion token; empty unless the run asked for `top_logprobs`.",
        unit="nats",
        shape="C",
    )
    model: str = of_tree(
        STRING,
        'Of the service\'s models the one that grew its tree; "" if there is only one, without a name. Branches '
        "may be of another: the nodes of `path_node_ids` say theirs.",
    )
    temperature: float = of_tree(FLOAT32, "The run's; branches may have sampled at another.")
    temperatures: Float32 = of_path(
        FLOAT32S, "What each completion token's branch sampled at: the run's, or its own.", shape="C"
    )
    top_p: float = of_tree(FLOAT32, "Nucleus sampling: the share of probability sampled from.")
    top_k: int = of_tree(INT32, "So many most likely tokens were sampled from; 0: all.")
    min_p: float = of_tree(FLOAT32, "Tokens less likely than so much of the likeliest were not sampled; 0: off.")
    repetition_penalty: float = of_tree(FLOAT32, "Logits of the path's earlier tokens were divided by it; 1: off.")
    min_tokens: int = of_tree(INT32, "Completion tokens before which nothing ended a path.", unit="tokens")
    reward: float | None = of_credit(FLOAT64, 'In force for this leaf; null unless reward_status is "ok".')
    rewards: dict[str, float | None] = of_credit(
        SCORES, "The newest version of each scorer's value; null where it failed.", proto="Node.rewards"
    )
    reward_status: str = of_credit(STRING, '"ok", "missing" (nobody scored it) or "error" (a scorer failed).')
    advantages: Float32 | None = of_credit(
        FLOAT32S, "Per token, before batch whitening; null without a reward.", shape="C"
    )
    path_node_ids: list[str] = of_path(STRINGS, "Nodes from depth 1 to the leaf.")
    path_offsets: Int32 = of_path(INT32S, "Where each of them starts in completion_ids.", unit="tokens")
    path_weight: float = of_path(
        FLOAT64,
        "With it, averages over leaves are unbiased: the product of 1 / (children of the node that count). "
        "Children count that a boundary decision started and that had no model, temperature, inserted text or "
        "token limit of their own; below others it is 0.",
        proto="LeafCredit.path_weight",
    )
    loss_weights: Float32 = of_path(FLOAT32S, "Per token; 1 by default.", shape="C")
    min_weight_version: int = of_path(INT64, "Oldest weights that made tokens of the path, by `model`.")
    max_weight_version: int = of_path(INT64, "Newest of those weights.")
    kv_mixed: bool = of_path(BOOL, "Whether any node on the path is.", proto="Node.kv_mixed")
    staleness: int | None = of_path(
        INT64,
        "Weights in force when the tree was delivered - min_weight_version; null for one that was not delivered.",
    )
    staleness_newest: int | None = of_path(INT64, "The same by max_weight_version.")
    status: str = of_tree(STRING, 'Of the tree: "complete" or "partial".')
    stop_reason: str = of_node(STRING, 'Why the path ended: "eos", "stop", "answer", "length", "depth", ...')
    is_truncated: bool = of_path(BOOL, "Cut by a length or depth cap.")
    tokenizer_hash: str = of_tree(STRING, "Hash of the tokenizer files and chat template that made prompt_ids.")
    answer: str | None = of_task(TEXT, "The task's answer, if it had one.")
    extra: dict[str, Any] = of_task(JSON, "The task's other fields.", proto="Tree.extra_json")

    def renew(self, fresh: "Sample") -> None:
        """Take over the credit of the same path, read later. All other columns stay, whoever wrote them."""
        for column in SAMPLE_COLUMNS:
            if column.origin is Origin.CREDIT:
                setattr(self, column.name, getattr(fresh, column.name))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: all columns, without the tree they are made from."""
        return {column.name: getattr(self, column.name) for column in SAMPLE_COLUMNS}


@record()
class TreeRow:
    """What became of a task's tree, one without a sample included. docs/records.md has the fields."""

    tree_id: str = of_tree(STRING, "The tree.")
    run_id: str = of_tree(STRING, "The run it was grown for.")
    task_id: str = of_task(STRING, "The task's id.")
    epoch: int = of_task(INT32, "Pass over the data set.")
    status: str = of_tree(
        STRING, '"complete", "partial" (branches cut), "failed" (no complete leaf) or "filtered" (dropped).'
    )
    stop_reason: str = of_tree(
        STRING,
        'Why branches were cut: "cancelled", "deadline", "budget", "lost" or "stale"; empty if it ended by itself.',
    )
    error: str = of_tree(TEXT, "Why it is partial or failed, as a sentence; else empty.")
    n_leaves: int = of_path(INT32, "Samples it has.", proto="Tree.leaves")
    most_leaves: int = of_tree(INT32, "Most leaves that its growth would have made.")
    n_scored: int = of_credit(INT32, "Samples that have a reward.", proto="Tree.n_scored")
    n_censored: int = of_tree(INT32, "Branches that were cut before they ended.")
    granted: int = of_tree(INT64, "Reserved when branches were granted.", unit="tokens", proto="Ledger.granted")
    spent: int = of_tree(INT64, "Generated and reported, waste included.", unit="tokens", proto="Ledger.spent")
    returned: int = of_tree(INT64, "Reserved and not needed.", unit="tokens", proto="Ledger.returned")
    excess: int = of_tree(INT64, "Of granted, decoded beyond what was reserved.", unit="tokens", proto="Ledger.excess")
    wasted_tokens: int = of_path(INT64, "Of spent, what is in no sample.", unit="tokens")
    lost_tokens_max: int = of_tree(
        INT64, "Upper bound on what lost replicas generated and never reported.", unit="tokens"
    )
    wall_s: float = of_tree(
        FLOAT64, "From its start to its end, scoring included; 0 for one that never started.", unit="s"
    )
    replicas: list[str] = of_path(STRINGS, "Those that made its nodes.")
    model: str = of_tree(STRING, 'The model that grew it; "" if there is only one, without a name.')
    allotted_leaves: int = of_tree(
        INT32, "Leaves that the run's allocator gave the task; 0: as many as the run asks for."
    )
    allotted_by: Why | None = of_tree(
        WHY, "Why the allocator gave it so many, with its numbers; null where it was not asked, or does not say."
    )


NODE_COLUMNS = columns_of(Node)
SAMPLE_COLUMNS = columns_of(Sample)
TREE_COLUMNS = columns_of(TreeRow)
# Columns of a sample with one value per completion token; entropies and advantages may have none at all.
PER_TOKEN = tuple(column.name for column in SAMPLE_COLUMNS if column.shape == "C")

# Fields of messages that no record shows, and why.
NOT_SHOWN = {
    "Node.number": "a place in time; `path` is the same in every run",
    "Node.parent_chars": "where a stored node begins inside its parent; nodes as they are shown never do",
    "Node.end": "how the engine's request ended, for a coordinator that starts again",
    "Node.observation_chars": "where the observation begins in `text`, for a coordinator that starts again",
    "Tree.number": "for a coordinator that starts again",
    "Tree.seen": "for a coordinator that starts again",
    "Tree.submitted_at": "a time of the service's clock, for who watches it; `wall_s` says how long it took",
    "Tree.started_at": "the same",
    "Tree.ended_at": "the same",
    "Tree.n_nodes": "for who lists trees without reading them",
    "Tree.late_tokens": "for who lists trees without reading them; `wasted_tokens` is the sum",
    "Tree.dropped_tokens": "the same",
    "Tree.pruned_tokens": "the same",
    "Tree.censored_tokens": "the same",
    "Tree.replicas": "the same; nodes say it each for itself",
    "Tree.path_ends": "in `ended_by` of the nodes that they name",
    "Tree.dropped_by": "for a coordinator that starts again; `error` says it",
    "Tree.nodes": "rows of their own",
    "Tree.ledger": "columns of its own",
    "Tree.stop": "a setting of the run, in `TreeRecord.stop` and `run.json`",
    "Tree.stop_token_ids": "a setting of the run, in `TreeRecord.stop_token_ids` and `run.json`",
    "Tree.weight_version": "a lower bound of what its samples say exactly, in `min_weight_version`",
    "Tree.has_cuts": "whether stored nodes are split when they are read",
    "Ledger.outstanding": "0 in a tree that has ended",
    "LeafCredit.leaf": "the leaf's number; `sample_id` names it",
}
