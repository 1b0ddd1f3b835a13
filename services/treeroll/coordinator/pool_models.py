"""What pools serve, as records."""

from treeroll.core.model.pool import Pool
from treeroll.core.model.pool_model import UNKNOWN, PoolModel
from treeroll.pb.v1 import store_pb2 as records


def stored(pool: Pool) -> bytes:
    """What must outlive the coordinator."""
    model = pool.model or UNKNOWN
    return records.PoolModel(
        digest=model.digest,
        engine=model.engine,
        context=model.context,
        path=model.path,
        replica_id=model.replica_id,
        host=model.host,
    ).SerializeToString()


def restored(record: bytes) -> PoolModel:
    """What an earlier coordinator stored."""
    told = records.PoolModel.FromString(record)
    return PoolModel(told.digest, told.engine, told.context, told.path, told.replica_id, told.host)
