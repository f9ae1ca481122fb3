"""What an error of the store says: can it do nothing now, is it no master, or is it the question?"""

from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from proxy.store.slots import NodeAway, is_refused


def is_the_stores_own(error: RedisError) -> bool:
    """It cannot work now, whatever it is asked: away, loading, full, read-only, alone. Else it is what we asked for."""
    if not isinstance(error, ResponseError) or isinstance(error, OutOfMemoryError) or is_refused(error):
        return True
    return any(sign in str(error) for sign in _OWN_TROUBLE)


def is_one_nodes(error: object) -> bool:
    """A node of a cluster is away, and the others are not: only what lies there has to wait."""
    return isinstance(error, NodeAway)


def is_no_masters(error: object) -> bool:
    """The server is a replica now, or a master without its replicas, which are another's after a failover that it has
    not heard of. Where the master is now, only a new connection finds.
    """
    is_such = isinstance(error, ReadOnlyError | MasterDownError)
    return is_such or (isinstance(error, ResponseError) and any(sign in str(error) for sign in _NO_MASTERS))


_NO_MASTERS = ("READONLY ", "MASTERDOWN ", "UNBLOCKED ", "NOREPLICAS ")
# as the server begins its answer; 6.2 puts the first two of a script's into the middle; the
# last is a script's whose slot is on its way to another node
_OWN_TROUBLE = ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS ", "MASTERDOWN ", "UNBLOCKED ", "CLUSTERDOWN ",
                "BUSY ", "non local key")  # fmt: skip
