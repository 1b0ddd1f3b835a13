"""Every Redis key treeroll writes, and what is in it. Schema version 1: a change a reader could notice makes it 2, and
earlier versions of treeroll refuse to open what has it.

All keys start with `treeroll:1:{s00}:`. The braces are a Redis Cluster hash tag: one shard, one slot, so that one
script may touch all of its keys. There is one shard now. In the table `<run>`, `<tree>` and `<group>` are ids as they
are, but for `%` and `:`, which are written `%25` and `%3a`, so that no two ids share a key.

    key                        type    holds
    owner                      hash    epoch: of the coordinator that may write; name: its process, for people; commit:
                                       number of its last commit; tick: its time then, or at the last lease if that
                                       was later, in microseconds. It goes on from owner to owner and stands still
                                       without one; beats: how often owners said that they live, beside
                                       commits; ticks, happenings: bytes that these streams have ever had; line: the
                                       epoch since which nothing was lost, if anything was;
                                       schema: the number above; version: of treeroll, for people
    secret                     hash    key: random bytes in hexadecimal, by which a service with tokens knows the leases
                                       that it gave
    runs                       hash    run id -> run record
    feeds                      hash    run id -> entries ever appended to the run's feed
    weights                    hash    pool -> record of its weights
    models                     hash    pool -> record of the model that its replicas serve
    sessions                   hash    replica -> record of its latest session
    opened                     hash    run id -> "<epoch>:<entries>" of its feed as owners took the store over, less
                                       those with no fewer entries than a later one; joined by spaces, ascending
    expired                    hash    run id -> trees at the beginning of the run's feed that are gone
    ended                      hash    run id -> tick of the owner since which the run has ended and nobody has asked
                                       for trees of it
    status                     string  the owner's latest snapshot, about a second old while there is one
    points                     stream  what that said before, without its tables: one entry a second, of about the last
                                       hour; field p: a snapshot
    ticks                      stream  what the owner decided of trees, one entry for each run and tick: id "<place>-0",
                                       the bytes that the stream has ever had with this entry; field e: `treeroll.
                                       records.events`; field r: run id. The newest, of store.events_mb
    happenings                 stream  the same of what happened to the fleet and the runs, without r; the newest, of
                                       4 MB
    tasks:<run>                hash    "<epoch>:<task id>" -> "<content digest> <tree id>"
    history:<run>              hash    task id -> "<successes> <scored leaves> <epoch> <tokens> <weights>", decayed
    memory:<run>               hash    what its policies and books remember, by part, as JSON
    tree:<tree>                hash    header: tree header; feed: its place in the run's feed, once the tree ended
    nodes:<tree>               list    node records; the element at index n is node n (0 is the root, the prompt)
    journal:<tree>             list    what became of the tree beside its nodes, until it enters its run's feed
    rewards:<tree>             hash    "<node>:<scorer>:<version>" -> reward record
    feed:<run>                 stream  one entry per ended tree: id "<seq>-0", seq = 1, 2, 3 ...; field tree: tree id
    group:<run>:<group>        hash    epoch: how often the group was moved to a saved state (none: never); move: id of
                                       the last move
    leases:<run>:<group>       zset    seq (16 digits) of each entry on lease -> deadline, in microseconds of the
                                       owner's tick; 0: given back; inf: in a global batch
    redelivered:<run>:<group>  hash    seq -> number of the delivery that was acknowledged, for entries delivered more
                                       than once in this epoch (all others were acknowledged under their first delivery)
    steps:<run>:<group>        hash    global batches that ranks share. last: number of the last one taken; through: all
                                       up to this one are acknowledged; <n>: record of batch n; <n>:world: its ranks;
                                       <n>:seqs: its entries, joined by spaces; <n>:acked: ranks that are done with
                                       their shares, joined by spaces; <n>:done: 1 once it is acknowledged, until all
                                       before it are, too

Records are serialised protobuf messages (`protos/treeroll/v1`); numbers are decimal ASCII.

Who only reads needs no lock: every write is one script. To consume a feed directly, make a consumer group of your own
on `feed:<run>` (`XGROUP CREATE ... 0`, `XREADGROUP`, `XACK`) and read `tree:`, `nodes:` and `rewards:` of each entry.
Such a group shows up in `group_names` and `group_state` but has no leases, so nothing is taken from its consumers, and
its acknowledgements count: a tree expires once every group has acknowledged it, and its entry goes with it. Do not mix
direct reads and the feed service in one group. Never `XTRIM` past the last acknowledged entry of the slowest group.
"""

SCHEMA = 1
PREFIX = "treeroll:1:{s00}:"

OWNER = f"{PREFIX}owner"
RUNS = f"{PREFIX}runs"
SECRET = f"{PREFIX}secret"
FEEDS = f"{PREFIX}feeds"
OPENED = f"{PREFIX}opened"
EXPIRED = f"{PREFIX}expired"
ENDED = f"{PREFIX}ended"
WEIGHTS = f"{PREFIX}weights"
MODELS = f"{PREFIX}models"
SESSIONS = f"{PREFIX}sessions"
STATUS = f"{PREFIX}status"
POINTS = f"{PREFIX}points"
TICKS = f"{PREFIX}ticks"
HAPPENINGS = f"{PREFIX}happenings"
LOGS = {"ticks": TICKS, "happenings": HAPPENINGS}

# Points that are kept, about: of an hour.
KEPT_POINTS = 3600
# Bytes of happenings that are kept, about.
KEPT_HAPPENINGS = 4 << 20

# Fields of `owner`, `tree:<tree>` and of a feed entry.
EPOCH = "epoch"
HEADER = "header"
TREE = "tree"


def tasks(run_id: str) -> str:
    """Submitted tasks of a run."""
    return f"{PREFIX}tasks:{_part(run_id)}"


def history(run_id: str) -> str:
    """How often the run's tasks succeeded."""
    return f"{PREFIX}history:{_part(run_id)}"


def memory(run_id: str) -> str:
    """What the run's policies and books remember."""
    return f"{PREFIX}memory:{_part(run_id)}"


def tree(tree_id: str) -> str:
    """Header of a tree and its place in the feed."""
    return f"{PREFIX}tree:{_part(tree_id)}"


def nodes(tree_id: str) -> str:
    """Node records of a tree."""
    return f"{PREFIX}nodes:{_part(tree_id)}"


def journal(tree_id: str) -> str:
    """What became of a growing tree beside its nodes."""
    return f"{PREFIX}journal:{_part(tree_id)}"


def rewards(tree_id: str) -> str:
    """Reward records of a tree."""
    return f"{PREFIX}rewards:{_part(tree_id)}"


def feed(run_id: str) -> str:
    """Stream of the run's ended trees."""
    return f"{PREFIX}feed:{_part(run_id)}"


def group(run_id: str, group: str) -> str:
    """How often a group was moved."""
    return f"{PREFIX}group:{_part(run_id)}:{_part(group)}"


def leases(run_id: str, group: str) -> str:
    """Deadlines of a group's leases."""
    return f"{PREFIX}leases:{_part(run_id)}:{_part(group)}"


def redelivered(run_id: str, group: str) -> str:
    """Which delivery of a group's redelivered entries was acknowledged."""
    return f"{PREFIX}redelivered:{_part(run_id)}:{_part(group)}"


def steps(run_id: str, group: str) -> str:
    """Global batches of a group."""
    return f"{PREFIX}steps:{_part(run_id)}:{_part(group)}"


def _part(identifier: str) -> str:
    return identifier.replace("%", "%25").replace(":", "%3a")
