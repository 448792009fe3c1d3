"""Two commands of the coordinator at once: nobody who was revoked comes back, and nothing that was said is lost."""

import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.membership import Membership
from fedliver.coordinator.records import IssuedInvitation, Settings, Site, Sites


class SlowSuperLink:
    """Stands in for Flower's command, which takes seconds: it answers when it may, and remembers whom it knows."""

    def __init__(self) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.known: set[int] = set()

    def register(self, name: str, public_key: str) -> int:
        self.asked.set()
        assert self.may_answer.wait(30)
        self.known.add(12345)
        return 12345

    def unregister(self, node_id: int) -> None:
        self.known.discard(node_id)


class Home(CoordinatorHome):
    """A coordinator's folder with nothing in it but the list of sites."""

    def settings(self) -> Settings:  # what the members need not know is not asked
        return None  # type: ignore[return-value]


def _home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "coordinator")
    home.keep_private()
    home.save_sites(Sites(sites=(Site(name="A", public_key=KEY),)))
    return home


KEY = "ecdsa-sha2-nistp384 " + "A" * 40


def test_a_site_that_is_revoked_while_its_key_is_being_registered_stays_revoked(tmp_path: Path):
    home, superlink = _home(tmp_path), SlowSuperLink()
    registering = threading.Thread(target=lambda: Membership(home).register_new(superlink))  # type: ignore[arg-type]
    registering.start()
    assert superlink.asked.wait(30)
    revoking = threading.Thread(target=lambda: Membership(home).revoke("A"))
    revoking.start()
    superlink.may_answer.set()
    registering.join(30)
    revoking.join(30)
    Membership(home).forget_revoked(superlink)  # type: ignore[arg-type]
    assert home.sites().sites == ()
    assert [one.name for one in home.sites().revocations] == ["A"]
    assert superlink.known == set()


def test_the_list_is_not_changed_while_another_process_changes_it(tmp_path: Path):
    home = _home(tmp_path)
    done = threading.Event()

    def revoke() -> None:
        Membership(home).revoke("A")
        done.set()

    with FileLock(home.sites_lock):
        threading.Thread(target=revoke).start()
        issued = IssuedInvitation(identifier="0" * 32, site="B", expires=datetime.now(UTC))
        home.save_sites(home.sites().with_invitation(issued))
        assert not done.is_set()
    assert done.wait(30)
    assert [one.site for one in home.sites().invitations] == ["B"]
    assert home.sites().sites == ()


def test_the_coordinators_folder_is_its_owners_alone_also_one_from_before(tmp_path: Path):
    (tmp_path / "coordinator").mkdir(mode=0o755)
    home = CoordinatorHome(tmp_path / "coordinator")
    home.keep_private()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_what_a_process_writes_is_its_owners_alone(tmp_path: Path):
    import os
    import sys

    from fedliver.site.processes import is_alive, start_process

    script = "import pathlib; pathlib.Path('written').write_text('x'); pathlib.Path('done').touch()"
    record = start_process(
        [sys.executable, "-c", script], role="Writer", environment=dict(os.environ), log=tmp_path / "log", record=tmp_path / "writer.json", folder=tmp_path
    )
    import psutil

    if is_alive(record):
        psutil.Process(record.pid).wait(30)
    assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == 0o600
