"""The part of etcd's wire format that an election needs, as protobuf messages.

The messages are described here and built when this module is imported, in a descriptor pool of
their own. So they collide with no other etcd client in the process, which generated code under
the package name ``etcdserverpb`` does; and they work with every protobuf runtime, where generated
code is refused by a runtime two major versions younger. Only numbers and types go over the wire;
the names are those of etcd's ``rpc.proto`` and ``kv.proto``.

A field is written ``name:type=number``; ``*`` means repeated, a capital a message of this table.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "elector.etcd"

_MESSAGES = {
    # -- keys and values
    "KeyValue": "key:bytes=1 create_revision:int64=2 mod_revision:int64=3 version:int64=4 "
    "value:bytes=5 lease:int64=6",
    "Event": "type:int32=1 kv:KeyValue=2",
    "ResponseHeader": "cluster_id:uint64=1 member_id:uint64=2 revision:int64=3 raft_term:uint64=4",
    # -- KV
    "RangeRequest": "key:bytes=1 range_end:bytes=2 limit:int64=3 revision:int64=4 "
    "sort_order:int32=5 sort_target:int32=6 serializable:bool=7 keys_only:bool=8 count_only:bool=9",
    "RangeResponse": "header:ResponseHeader=1 kvs:*KeyValue=2 more:bool=3 count:int64=4",
    "PutRequest": "key:bytes=1 value:bytes=2 lease:int64=3",
    "PutResponse": "header:ResponseHeader=1",
    "DeleteRangeRequest": "key:bytes=1 range_end:bytes=2",
    "DeleteRangeResponse": "header:ResponseHeader=1 deleted:int64=2",
    "Compare": "result:int32=1 target:int32=2 key:bytes=3 version:int64=4 "
    "create_revision:int64=5 mod_revision:int64=6 value:bytes=7 lease:int64=8 range_end:bytes=64",
    "RequestOp": "request_range:RangeRequest=1 request_put:PutRequest=2 "
    "request_delete_range:DeleteRangeRequest=3",
    "ResponseOp": "response_range:RangeResponse=1 response_put:PutResponse=2 "
    "response_delete_range:DeleteRangeResponse=3",
    "TxnRequest": "compare:*Compare=1 success:*RequestOp=2 failure:*RequestOp=3",
    "TxnResponse": "header:ResponseHeader=1 succeeded:bool=2 responses:*ResponseOp=3",
    # -- Lease
    "LeaseGrantRequest": "TTL:int64=1 ID:int64=2",
    "LeaseGrantResponse": "header:ResponseHeader=1 ID:int64=2 TTL:int64=3 error:string=4",
    "LeaseRevokeRequest": "ID:int64=1",
    "LeaseRevokeResponse": "header:ResponseHeader=1",
    "LeaseKeepAliveRequest": "ID:int64=1",
    "LeaseKeepAliveResponse": "header:ResponseHeader=1 ID:int64=2 TTL:int64=3",
    "LeaseTimeToLiveRequest": "ID:int64=1 keys:bool=2",
    "LeaseTimeToLiveResponse": "header:ResponseHeader=1 ID:int64=2 TTL:int64=3 grantedTTL:int64=4",
    # -- Watch
    "WatchCreateRequest": "key:bytes=1 range_end:bytes=2 start_revision:int64=3 watch_id:int64=7",
    "WatchCancelRequest": "watch_id:int64=1",
    "WatchRequest": "create_request:WatchCreateRequest=1 cancel_request:WatchCancelRequest=2",
    "WatchResponse": "header:ResponseHeader=1 watch_id:int64=2 created:bool=3 canceled:bool=4 "
    "compact_revision:int64=5 cancel_reason:string=6 events:*Event=11",
    # -- Auth, Maintenance, Cluster
    "AuthenticateRequest": "name:string=1 password:string=2",
    "AuthenticateResponse": "header:ResponseHeader=1 token:string=2",
    "StatusRequest": "",
    "StatusResponse": "header:ResponseHeader=1 version:string=2 dbSize:int64=3 leader:uint64=4 "
    "raftIndex:uint64=5 raftTerm:uint64=6 raftAppliedIndex:uint64=7 errors:*string=8 "
    "isLearner:bool=10",
    "Member": "ID:uint64=1 name:string=2 peerURLs:*string=3 clientURLs:*string=4 isLearner:bool=5",
    "MemberListRequest": "",
    "MemberListResponse": "header:ResponseHeader=1 members:*Member=2",
}

_METHODS = {
    "Range": "KV",
    "Txn": "KV",
    "LeaseGrant": "Lease",
    "LeaseRevoke": "Lease",
    "LeaseKeepAlive": "Lease",
    "LeaseTimeToLive": "Lease",
    "Watch": "Watch",
    "Authenticate": "Auth",
    "Status": "Maintenance",
    "MemberList": "Cluster",
}

EQUAL = 0
"""`Compare.result`."""

VERSION, CREATE, MOD, VALUE, LEASE = range(5)
"""`Compare.target`."""

DELETE = 1
"""`Event.type`."""

DESCENDING = 2
"""`RangeRequest.sort_order`; the target is the key unless one is given."""


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="elector/etcd.proto", package=_PACKAGE)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            _describe(message.field.add(), field)
    return file


def _describe(field: descriptor_pb2.FieldDescriptorProto, text: str) -> None:
    field.name, _, rest = text.partition(":")
    kind, _, number = rest.partition("=")
    repeated, kind = kind.startswith("*"), kind.lstrip("*")
    field.number = int(number)
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if kind[0].isupper():
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
    else:
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")


def _built() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_described())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _built()


def message(kind: str, /, **fields: object) -> Any:
    """A message of this kind."""
    return _CLASSES[kind](**fields)


def path(method: str) -> str:
    """Where a method is called: the path is etcd's own.

    >>> path("Txn")
    '/etcdserverpb.KV/Txn'
    """
    return f"/etcdserverpb.{_METHODS[method]}/{method}"


def request_type(method: str) -> Any:
    """The class of a method's requests."""
    return _CLASSES[f"{method}Request"]


def response_type(method: str) -> Any:
    """The class of a method's answers."""
    return _CLASSES[f"{method}Response"]


def read(key: bytes, end: bytes = b"", **options: object) -> Any:
    """A step of a transaction: read a key, or all keys from `key` up to before `end`."""
    return message(
        "RequestOp", request_range=message("RangeRequest", key=key, range_end=end, **options)
    )


def put(key: bytes, value: bytes, lease: int = 0) -> Any:
    """A step of a transaction: write a key, which goes with its lease if it has one."""
    return message(
        "RequestOp", request_put=message("PutRequest", key=key, value=value, lease=lease)
    )


def delete(key: bytes, end: bytes = b"") -> Any:
    """A step of a transaction: delete a key, or all keys from `key` up to before `end`."""
    return message(
        "RequestOp", request_delete_range=message("DeleteRangeRequest", key=key, range_end=end)
    )


def created_at(key: bytes, revision: int, end: bytes = b"") -> Any:
    """A condition: the key was created at this revision; 0: there is no such key (in the range)."""
    return message(
        "Compare", result=EQUAL, target=CREATE, key=key, create_revision=revision, range_end=end
    )


def written_at(key: bytes, revision: int) -> Any:
    """A condition: the key was last written at this revision; 0: there is no such key."""
    return message("Compare", result=EQUAL, target=MOD, key=key, mod_revision=revision)
