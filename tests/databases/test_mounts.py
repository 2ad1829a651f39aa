"""Which file system a file is on."""

from pathlib import Path

import pytest

from budget_middleware.databases.mounts import file_system, network_file_system

MOUNTS = """\
overlay / overlay rw 0 0
proc /proc proc rw 0 0
/dev/vdb /srv ext4 rw 0 0
filer:/export /srv/shared nfs4 rw 0 0
//filer/x /srv/two\\040words cifs rw 0 0
/dev/vdc /srv/shared/local xfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/budget.db", None),
        ("/srv/budget.db", None),
        ("/srv/shared/budget.db", "nfs4"),
        ("/srv/shared/local/budget.db", None),
        ("/srv/sharedtoo/budget.db", None),
        ("/srv/two words/budget.db", "cifs"),
    ],
)
def test_a_network_file_system_is_known_by_the_mount_above_it(mounts: Path, path: str, kind: str | None):
    assert network_file_system(Path(path), mounts=mounts) == kind


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path: Path):
    assert file_system(tmp_path, mounts=tmp_path / "none") is None
