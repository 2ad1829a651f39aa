"""Which file system a path is on, as far as the system tells."""

import re
from pathlib import Path
from typing import Final

_MOUNTS = Path("/proc/self/mounts")
_NETWORK: Final = re.compile(
    r"nfs[0-9]*|cifs|smb[0-9a-z]*|afs|ncpfs|ceph|lustre|gpfs|glusterfs|beegfs|fuse\.(?:sshfs|glusterfs|ceph.*|s3fs.*)"
)


def network_file_system(path: Path, *, mounts: Path = _MOUNTS) -> str | None:
    """The kind of a network file system that a path is on, such as ``nfs4``; None for a local one, or an unknown."""
    kind = file_system(path, mounts=mounts)
    return kind if kind is not None and _NETWORK.fullmatch(kind) else None


def file_system(path: Path, *, mounts: Path = _MOUNTS) -> str | None:
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    path = Path(path).resolve()
    found, depth = None, -1
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        mounted_at = Path(_unescaped(place))
        # Of two mounts at one place the later one hides the other.
        if path.is_relative_to(mounted_at) and len(mounted_at.parts) >= depth:
            found, depth = kind, len(mounted_at.parts)
    return found


def _unescaped(place: str) -> str:
    """Blanks and the like stand there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
