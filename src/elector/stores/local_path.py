"""Where the embedded stores may live: on a local file system, in a private directory.

Locks, pipes and SQLite's shared memory are promises of *one* kernel. On a network file
system another host would see the same file and none of the promises, so it is refused.
"""

import os
from pathlib import Path

from elector.errors import ConfigurationError, StoreUnavailable

_NETWORK = frozenset(
    """
    9p acfs afs beegfs ceph cifs coda curlftpfs davfs fuse glusterfs gfs2 gpfs lustre ncpfs
    nfs nfs4 ocfs2 orangefs pvfs2 smb2 smb3 smbfs vboxsf virtiofs vmhgfs
    """.split()  # noqa: SIM905 - twenty-odd words are a paragraph, not a column
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.exfat", "fuse.gocryptfs"})
_MOUNTS = Path("/proc/self/mountinfo")


def require_local(path: Path) -> None:
    """Refuse a path on a network file system.

    Raises:
        ConfigurationError: the path (or its nearest existing parent) is mounted from elsewhere.
    """
    try:
        mounts = _MOUNTS.read_text()
    except OSError:
        return  # not Linux: nothing to ask; docs/guarantees.md says so
    kind = filesystem_kind(os.path.realpath(path), mounts)
    if is_network(kind):
        raise ConfigurationError(
            f"{path} lies on a network file system ({kind}), where another host would not see "
            "our locks: put it on a local disk, or use a store made for several hosts"
        )


def filesystem_kind(path: str, mountinfo: str) -> str:
    r"""The type of the file system that holds a path, by proc(5)'s mountinfo.

    >>> filesystem_kind("/mnt/a/b", "1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / /mnt rw - nfs4 y rw")
    'nfs4'
    """
    best, kind = "", ""
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        point = mount.split(" ")[4].encode().decode("unicode_escape")
        below = path == point or path.startswith(point.rstrip("/") + "/")
        if below and len(point) >= len(best):  # a later mount on the same point hides the earlier
            best, kind = point, source.split(" ")[0]
    return kind


def is_network(kind: str) -> bool:
    """Whether a file system type may be shared with another host.

    >>> [is_network(kind) for kind in ("ext4", "nfs4", "fuse.sshfs", "fuse.ntfs-3g")]
    [False, True, True, False]
    """
    return kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)


def private_directory(path: Path) -> None:
    """Make a directory that only its owner may enter; one that exists is left as it is.

    Raises:
        StoreUnavailable: it cannot be made, or not be written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise StoreUnavailable(
            f"cannot make the directory {path}: {why}; choose another store with --store"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise StoreUnavailable(
            f"cannot write in {path}: permission denied or read-only; give this user access or "
            "choose another store with --store"
        )
