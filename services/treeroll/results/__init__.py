"""The directory of a rollout: which files it holds, how they are written, merged, read and audited.

    run.json             what was asked for; `--resume` compares with it
    parts/KIND-N.parquet rows of trees as they finish, in order of arrival
    KIND.parquet         all parts merged, at the end (KIND: samples, nodes, trees)
    summary.json         figures
    service.log          of the service, if the rollout started one

A part is written, flushed and renamed, `samples` last: a `samples` part that exists is complete and so are the others
of its number. `trees` has a row for every task that ended, `samples` and `nodes` have rows of those with a sample. A
merged file says in its metadata which parts it contains, so a crash at any point leaves each row countable exactly
once. Row groups hold whole trees.
"""
