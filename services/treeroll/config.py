"""Configuration: one frozen model per process, bounds in the types, unknown keys refused.

`RunConfig` is what a client sends with `create_run`; the others are sections of what `treeroll serve` reads. `--set
a.b=c` overrides single keys. Errors name the key.
"""

import json
import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from treeroll.addresses import has_port, join, split, within
from treeroll.chat.variables import plain_kwargs
from treeroll.checks import no_truth_for_numbers
from treeroll.errors import InvalidInput
from treeroll.sampling import MAX_STOP_CHARS, MAX_STOPS

# Beyond this, sums of amounts would not fit the integers of records.
MAX_AMOUNT = 2**62
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
StopString = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]
Filter = Literal["zero_advantage", "truncated"]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Config(BaseModel):
    """Base of all configuration models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        return no_truth_for_numbers(cls.model_fields[str(field.field_name)].annotation, value)


class BudgetConfig(Config):
    """What a run may use at most; None: no limit. docs/budgets.md says what is guaranteed."""

    tokens: Amount | None = None
    """Tokens the whole run may generate."""
    leaves: Amount | None = None
    """Complete leaves."""
    expansions: Amount | None = None
    """Branches beside each tree's initial ones, from their first segment on."""
    tool_calls: Amount | None = None
    """Calls that tools answer."""
    seconds: float | None = Field(default=None, gt=0.0, le=1e9)
    """Seconds from the creation of the run until its time is over."""
    deadline: datetime | None = None
    """Time of day, ISO 8601 with a zone, such as 2027-01-31T18:00:00+01:00."""
    tokens_per_second: Amount | None = None
    """Rate of a token bucket; each branch takes what it may need when it starts."""
    burst_tokens: Amount | None = None
    """What the bucket holds; None: one second's worth, and at least max_tokens."""
    task_tokens: Amount | None = None
    """Tokens of all trees of one task, over all epochs."""
    tree_tokens: Amount | None = None
    """Tokens of each tree."""

    @field_validator("deadline", mode="before")
    @classmethod
    def _is_a_time_with_a_zone(cls, value: Any) -> datetime | None:
        try:
            when = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            when = False
        if when is None or (isinstance(when, datetime) and when.tzinfo is not None):
            return when
        raise ValueError("must be a time in ISO 8601 with its zone, such as 2027-01-31T18:00:00+01:00")

    @model_validator(mode="after")
    def _a_burst_has_a_rate(self) -> "BudgetConfig":
        if self.burst_tokens is not None and self.tokens_per_second is None:
            raise ValueError("budget.burst_tokens is set without budget.tokens_per_second, so it says nothing")
        return self


class RunConfig(Config):
    """One run: what to grow and how to reward it."""

    model: str | None = None
    """Which of the service's models grows the trees, by its name in generator.pools; None: the only one."""
    recipe: str = "treepo"
    """Named bundle of policies: see `treeroll policies`."""
    leaves: int | None = Field(default=None, ge=1, le=4096)
    """Complete leaves wanted per tree; None: the recipe's, as for the next two."""
    segment_tokens: int | None = Field(default=None, ge=1, le=65536)
    """Wanted tokens per segment; boundaries are aligned to the engine's KV block."""
    max_depth: int | None = Field(default=None, ge=1, le=1024)
    """Most segments on a path."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most completion tokens on a path; None: segment_tokens * max_depth if one of them is given, else the recipe's."""
    temperature: float = Field(default=1.0, ge=0.0, le=10.0)
    """What logits are divided by; 0: the likeliest token, always."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Tokens are drawn from the likeliest ones that together have this probability; 1: off."""
    top_k: int = Field(default=0, ge=0)
    """0, or -1 as in vLLM and verl: off."""
    min_p: float = Field(default=0.0, ge=0.0, le=1.0)
    """Tokens less likely than so much of the likeliest one are not sampled; 0: off."""
    repetition_penalty: float = Field(default=1.0, gt=0.0, le=100.0)
    """What logits of tokens that the path has already, prompt included, are divided by (multiplied where negative)."""
    min_tokens: int = Field(default=0, ge=0)
    """Completion tokens of a path before which no end of sequence, stop id or stop string ends it."""
    stop: tuple[StopString, ...] = Field(default=(), max_length=MAX_STOPS)
    """Texts that end a path with the token that completes one; it stays in the path. One text, or a list."""
    stop_token_ids: tuple[TokenId, ...] = Field(default=(), max_length=MAX_STOPS)
    """Ids that end a path, beside the model's end of sequence."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Fixes every policy decision, and with the simulated engine every token."""
    weight: float = Field(default=1.0, ge=1e-3, le=1e3)
    """Share of the fleet while other runs want it too: twice the weight, twice the tokens."""
    on_update: Literal["continue", "recompute", "stop", "finish_first"] = "continue"
    """What growing trees do when weights are published: go on; go on with their KV computed again; end; or grow to
    their end before the weights come. docs/weights.md says what each is worth."""
    max_staleness: int | None = Field(default=None, ge=0, lt=2**31)
    """Most versions that a tree may be behind the weights in force when it is delivered; None: no bound."""
    staleness_by: Literal["oldest", "newest"] = "oldest"
    """Which of its trained tokens says how far a tree is behind."""
    when_stale: Literal["withhold", "mark"] = "withhold"
    """A tree beyond max_staleness is delivered without its samples, as a failure; or as it is, for `Sample.staleness`
    says it."""
    budget_tokens: Amount | None = None
    """Tokens the whole run may generate; None: no limit. Short for budget.tokens."""
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    """Whatever else is limited."""
    scorer: str | None = None
    """`math`, `math:boxed`, `exact`, `arith`, `regex:PATTERN`, `python:module:function`, `http://...`, `client`: see
    docs/tasks-and-scorers.md."""
    judge: str | None = None
    """Scorer of unfinished paths, from 0 to 1, for branch policies whose `value` is `judge`; written like `scorer`."""
    scorer_timeout_s: float = Field(default=10.0, gt=0.0, le=3600.0)
    """Seconds that a scorer or a judge may take for one path."""
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    """Top logprobs fetched for per-token entropy estimates; 0: none; None: the recipe's."""
    per_request_seed: bool = False
    """Ask the engine for one seed per branch (slower; siblings still differ)."""
    ignore_eos: bool = False
    """Decode on through end-of-sequence tokens (benchmarks)."""
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further variables for the chat template, such as enable_thinking; what a task sets itself comes first."""
    chat_date: date | None = None
    """The day that chat templates take for today; None: the day on which the run is created, if they ask for it."""
    segment: dict[str, Any] = Field(default_factory=dict)
    """Overrides of the recipe's segment policy: parameters, or `name` to swap it."""
    branch: dict[str, Any] = Field(default_factory=dict)
    """The same of its branch policy: where trees fork."""
    prune: dict[str, Any] = Field(default_factory=dict)
    """The same of its prune policy: where paths end."""
    advantage: dict[str, Any] = Field(default_factory=dict)
    """The same of its credit: what leaves' rewards come to, token by token."""
    allocate: dict[str, Any] = Field(default_factory=dict)
    """How leaves are shared out over tasks: `name` and parameters; empty: every task gets `leaves`."""
    route: dict[str, Any] = Field(default_factory=dict)
    """Which of several models grows each task's tree: `name` and parameters; empty: `model`."""
    ahead: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    """Most trees that grow, or that the slowest consumer group has not acknowledged; None: growth waits for nobody."""
    group_idle_s: float = Field(default=600.0, ge=1.0, le=1e9)
    """Seconds without a word of a group after which `ahead` does not wait for it any more."""
    min_scored: int | None = Field(default=None, ge=1, le=4096)
    """Trees with fewer scored leaves are dropped when they end; None: none for that reason."""
    drop: tuple[Filter, ...] = ()
    """Trees that are dropped when they end: `zero_advantage` (of no token) and `truncated` (all leaves, by length)."""
    order: Literal["fifo", "window"] = "fifo"
    """Trees leave as they end, or in the order of their tasks but for a `window`."""
    window: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    """With order `window`: a tree waits while a task so many places before it, or more, has not left; 1: in order."""
    history_decay: float = Field(default=0.5, ge=0.0, le=1.0)
    """What a task's results still count one epoch later, for allocators and routes."""
    history_version_decay: float = Field(default=0.99, ge=0.0, le=1.0)
    """The same for one version of weights later."""
    history_from: str | None = None
    """Run whose tasks' results this run's allocator and route start with."""

    @field_validator("chat_template_kwargs")
    @classmethod
    def _are_variables(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            return plain_kwargs(kwargs)
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    @field_validator("top_k", mode="before")
    @classmethod
    def _minus_one_is_off(cls, value: Any) -> Any:
        return 0 if value == -1 and value is not True else value

    @field_validator("stop", "stop_token_ids", "drop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if value is None:
            return ()
        return (value,) if isinstance(value, str | int) else value

    @model_validator(mode="after")
    def _staleness_has_a_bound(self) -> "RunConfig":
        for key, default in (("staleness_by", "oldest"), ("when_stale", "withhold")):
            if self.max_staleness is None and getattr(self, key) != default:
                raise ValueError(f"{key} is set without max_staleness, so it says nothing")
        return self

    @model_validator(mode="after")
    def _a_window_is_an_order(self) -> "RunConfig":
        if (self.order == "window") != (self.window is not None):
            raise ValueError(f"order is '{self.order}', window is {self.window}: set both, order=window and its size")
        return self

    @model_validator(mode="after")
    def _one_budget_of_tokens(self) -> "RunConfig":
        short, full = self.budget_tokens, self.budget.tokens
        if short is not None and full is not None and short != full:
            raise ValueError(f"budget_tokens is {short} and budget.tokens is {full}; they are the same cap, give one")
        return self


class TasksConfig(Config):
    """How a task file is read: where its rows have what a task needs. Dots lead into objects."""

    prompt: str | None = Field(default=None, min_length=1)
    """Field with the prompt: text, chat messages or token ids; None: `prompt`, `messages` or `prompt_ids`."""
    answer: str | None = Field(default=None, min_length=1)
    """Field with the reference answer, such as `solution` or `reward_model.ground_truth`; None: `answer`."""
    id: str | None = Field(default=None, min_length=1)
    """Field with the task's id, such as `extra_info.index`, which every row must have; None: `id`, and a row without it
    is called by its line."""


class CoordinatorConfig(Config):
    """The coordinator and feed."""

    host: str = "127.0.0.1"
    """Beyond loopback (127.0.0.1 and the like, ::1, localhost) only with TLS and tokens: see access."""
    port: int = Field(default=7070, ge=0, le=65535)
    """0: any free port."""
    health_port: int | None = Field(default=None, ge=1, le=65535)
    """A second port of that host which answers health checks alone, without TLS: for probes that have none, as those of
    Kubernetes. None: they are answered where all else is."""
    advertise: str | None = None
    """HOST or HOST:PORT by which replicas on other nodes of a Ray cluster reach this service; None: `host`."""
    heartbeat_s: float = Field(default=2.0, gt=0.0, le=60.0)
    """How often an idle replica speaks."""
    lease_s: float = Field(default=10.0, gt=0.0, le=3600.0)
    """A replica silent this long loses its branches."""
    mute_s: float = Field(default=30.0, gt=0.0, le=3600.0)
    """A replica that has branches and makes no token this long is suspect; others get its branches."""
    run_ahead: int = Field(default=2, ge=1, le=64)
    """Segments a branch may decode past its last durable one."""
    placement: str = "parent_affinity"
    """How branches choose replicas: see `treeroll policies`."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """Replicas that may fail a branch in their engines before it ends as lost; where there are fewer, requests that may
    fail once all of them have failed one. Replicas that die do not count."""
    max_losses: int = Field(default=2, ge=2, le=1000)
    """Replicas that may die with one task on them, the last with nothing else, before the task is quarantined."""
    kv_hold: float = Field(default=0.8, gt=0.0, le=1.0)
    """No new tree starts on a replica whose KV cache is fuller than this share."""
    live_trees: int | None = Field(default=None, ge=1)
    """Most trees growing at once with each model; default: as many as its replicas have slots."""
    stage_s: float = Field(default=600.0, gt=0.0, le=86400.0)
    """Seconds that replicas may take to check published weights; then the version is refused."""
    load_s: float = Field(default=120.0, gt=0.0, le=86400.0)
    """Seconds that a replica may take to load weights that are in force; then it is started anew."""
    finish_s: float = Field(default=600.0, gt=0.0, le=86400.0)
    """Seconds that published weights wait for trees of runs whose on_update is finish_first; then those trees end."""
    standby: bool = False
    """Take `store.url` over when its owner has been silent for 5 s, and serve then; nobody else has it: at once."""
    keep_weights: int = Field(default=2, ge=1, le=64)
    """Versions whose directories stay in use, the one in force included, though no replica holds them any more."""
    temp_dir: Path | None = None
    """Where that which goes with the service lies meanwhile: Ray's session, logs, and the embedded Redis' data unless
    `store.dir` is given; None: $TMPDIR. Sockets go to /tmp where their paths would be too long here."""

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @field_validator("advertise")
    @classmethod
    def _somebody_reaches_it(cls, advertise: str | None) -> str | None:
        if advertise is None:
            return None
        host = split(advertise)[0] if has_port(advertise) else advertise.strip("[]")
        if within(host) != host:
            raise ValueError(f"is {advertise}, which means all addresses of a host and leads nowhere: name one of them")
        return advertise if has_port(advertise) else host

    def reached_at(self, port: int) -> str:
        """The address by which replicas are to reach a service that listens on this port."""
        if self.advertise is None:
            return join(within(self.host), port)
        return self.advertise if has_port(self.advertise) else join(self.advertise, port)

    @model_validator(mode="after")
    def _heard_before_it_is_lost(self) -> "CoordinatorConfig":
        if 3 * self.heartbeat_s > self.lease_s:
            raise ValueError(
                f"heartbeat_s {self.heartbeat_s:g} is more than a third of lease_s {self.lease_s:g}: "
                "idle replicas would lose their leases"
            )
        return self


class StoreConfig(Config):
    """Where state lives."""

    url: str | None = None
    """redis://, rediss://, unix://, or "file:PATH" of a file that holds one of them, since it may have a password; or
    "memory". None: an embedded Redis in `dir`."""
    durability: Literal["everysec", "always"] = "everysec"
    """`always`: nothing acknowledged is lost even on power failure; `everysec`: a second of it, two on a busy disk."""
    dir: Path | None = None
    """Data directory of the embedded Redis; None: a temporary one that goes with the service."""
    keep_acknowledged_s: float | None = Field(default=3600.0, ge=0)
    """Seconds that a tree stays after all consumer groups of its run acknowledged it; None: till its run is deleted."""
    keep_finished_s: float | None = Field(default=604800.0, ge=0)
    """Seconds that a run stays after it ended and nobody asked for its trees any more, counted while a service runs;
    then all of it is deleted, also what no group acknowledged. 0 or None: for ever."""
    events_mb: int = Field(default=64, ge=0, le=65536)
    """Megabytes of what was decided of trees, with the numbers that rules compared, that the store keeps as a log, for
    the dashboard's Events and events.parquet of a rollout: 64 are some 700,000 decisions; 0: none. Why a node is there
    and why its path ended is in its record all the same."""


class DashboardConfig(Config):
    """The dashboard: beside a service a process of its own, which reads the store."""

    host: str = "127.0.0.1"
    """Where it listens. Beyond loopback only with TLS and tokens, which are those of section access."""
    port: int | Literal["off"] | None = None
    """1 to 65535; 0: any free port. `off`: none is started beside the service. None: 7071, or any free one if that is
    taken; for a rollout, 0 where a person watches it at a terminal, and else `off`."""

    @field_validator("port", mode="before")
    @classmethod
    def _is_a_port_or_off(cls, value: Any) -> Any:
        if value is False or value == "off":  # YAML takes the word for a truth
            return "off"
        if value is not None and not (isinstance(value, int) and 0 <= value <= 65535):
            raise ValueError("must be 'off' or a port from 0 to 65535")
        return value


class ScorersConfig(Config):
    """The scorer pool."""

    workers: int = Field(default=1, ge=1, le=256)
    """Processes that score."""
    python_modules: tuple[str, ...] | None = None
    """What `python:` and `verifiers:` scorers of runs may be: MODULE, with all that it has and all below it, or
    MODULE:FUNCTION. None: anything, but where access.tokens is set nothing."""
    http_origins: tuple[str, ...] | None = None
    """Servers that `http:` scorers of runs may ask, as http://HOST:PORT. None: any, where access.tokens is set none."""
    longest_s: float | None = Field(default=None, gt=0.0, le=3600.0)
    """The largest scorer_timeout_s of a run. None: 3600, where access.tokens is set 60."""


M = TypeVar("M", bound=BaseModel)


def check_run_id(run_id: Any) -> None:
    """InvalidInput for a name that no run can have."""
    if not isinstance(run_id, str) or not _RUN_ID.fullmatch(run_id):
        raise InvalidInput(f"run id {run_id!r} must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")


def parse(model: type[M], values: dict[str, Any], where: str) -> M:
    """Validate; raise InvalidInput with one sentence naming `where` and the key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(f"{where}: {describe(error, model)}") from None


def describe(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first problem of a pydantic error as a sentence."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "value"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = f"; known keys are {', '.join(sorted(model.model_fields))}" if model and len(first["loc"]) == 1 else ""
        return f"unknown key '{key}'{known}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    message = str(first["msg"]).replace("Input should be", "should be").removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        return message  # of a whole section: it names its keys
    return f"'{key}' {message[0].lower()}{message[1:]}, got {first['input']!r}"


def apply_overrides(values: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """Apply `a.b=c` settings to nested values; c is read as JSON if it is JSON, else as a string."""
    merged: dict[str, Any] = json.loads(json.dumps(values, default=str))
    for setting in settings:
        key, separator, raw = setting.partition("=")
        if not separator or not key.strip():
            raise InvalidInput(f"--set {setting!r} is not of the form section.key=value")
        try:
            value = json.loads(raw)
        except ValueError:
            value = raw
        *parents, last = key.strip().split(".")
        place = merged
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InvalidInput(f"--set {setting!r}: '{parent}' is not a section")
        place[last] = value
    return merged
