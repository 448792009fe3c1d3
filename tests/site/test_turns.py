"""Join and Leave from several windows at once: one set of processes, all of them recorded, and none after Leave."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from flower_stand_ins import PYTHON, enough, enrolled_site, recorded, running, wait_until, write_program

import fedliver
from fedliver.errors import FedLiverError
from fedliver.site.egress import PatientCount
from fedliver.site.federation import SiteFederation, SiteStatus
from fedliver.site.launchers import CLIENT_APPS_ONLY
from fedliver.site.turns import Turns

HANG = 30.0
ACCEPTED = "echo 'INFO : SuperNode ID: 7'; exec sleep 300"
REFUSED = "echo 'Exit Code: 305'; exit 1"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are scripts for sh")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Flower's programs, which are stand-ins: a node that the coordinator accepts."""
    folder = tmp_path / "env" / "bin"
    monkeypatch.setenv("FEDLIVER_FEDERATION_PYTHON", str(write_program(folder / "python", PYTHON)))
    write_program(folder / "flower-supernode", ACCEPTED)
    return folder


@pytest.fixture
def windows() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def code_of(joining: "Future[SiteStatus]") -> str:
    error = joining.exception(HANG)
    assert isinstance(error, FedLiverError), error
    return error.code


@pytest.mark.processes
def test_two_joins_at_once_leave_one_set_of_processes_which_leave_ends(tmp_path: Path, programs: Path, windows: ThreadPoolExecutor) -> None:
    inside, go_on = [], threading.Event()

    def patients(home: Path) -> PatientCount:  # asked once it is clear that the site has not joined
        inside.append(home)
        go_on.wait(HANG)
        return enough(home)

    with enrolled_site(tmp_path, patients) as site:
        joins = [windows.submit(site.join)]
        wait_until(lambda: inside, HANG, "the first join is under way")
        joins.append(windows.submit(SiteFederation(site.files.home, patients).join))
        wait_until(lambda: len(inside) == 2 or joins[1].done(), HANG, "the second join is under way too, or over")
        go_on.set()
        assert joins[0].result(HANG).joined
        assert code_of(joins[1]) == "joining-already"
        assert len(recorded(site)) == 2
        assert {process.pid for process in running(site)} == recorded(site)
        site.leave()
        assert running(site) == []
        assert site.join().joined, "nothing is left that would hold up the next join"
        site.leave()


@pytest.mark.processes
def test_a_leave_wins_over_a_join_of_another_window_that_tries_again_and_again(tmp_path: Path, programs: Path, windows: ThreadPoolExecutor) -> None:
    trying = threading.Event()
    write_program(programs / "flower-supernode", REFUSED)
    with enrolled_site(tmp_path) as site:
        site.files.accepted.parent.mkdir(parents=True, exist_ok=True)
        site.files.accepted.touch()
        joining = windows.submit(site.join, lambda _: trying.set())
        assert trying.wait(HANG)
        write_program(programs / "flower-supernode", ACCEPTED)  # by now the coordinator has forgotten the node that ended abruptly
        SiteFederation(site.files.home).leave()
        assert running(site) == []
        assert code_of(joining) == "left-meanwhile"
        assert not site.status().joined
        assert running(site) == []
        assert site.join().joined
        site.leave()


@pytest.mark.processes
def test_a_leave_wins_over_a_join_that_waits_for_the_coordinators_answer(tmp_path: Path, programs: Path, windows: ThreadPoolExecutor) -> None:
    write_program(programs / "flower-supernode", "exec sleep 300")
    with enrolled_site(tmp_path) as site:
        joining = windows.submit(site.join)
        wait_until(lambda: len(recorded(site)) == 2, HANG, "the processes are there")
        SiteFederation(site.files.home).leave()
        assert running(site) == []
        assert code_of(joining) == "left-meanwhile"
        assert running(site) == []


@pytest.mark.processes
def test_a_join_fails_where_what_starts_the_training_does_not_say_that_it_starts_clientapps_only(tmp_path: Path, programs: Path) -> None:
    write_program(programs / "python", PYTHON.replace(f"echo '{CLIENT_APPS_ONLY}'; exec sleep 300", "echo 'Starting Flower SuperExec'; exit 1"))
    with enrolled_site(tmp_path) as site:
        with pytest.raises(FedLiverError, match=r"what starts the training did not begin.*superexec\.log") as caught:
            site.join()
        assert caught.value.code == "join-failed"
        assert running(site) == []


def test_nobody_enrols_while_the_site_is_being_joined_and_leave_makes_nothing_where_there_is_no_site(tmp_path: Path) -> None:
    with enrolled_site(tmp_path) as site:
        with Turns(site.files.folder / "run").joining(), pytest.raises(FedLiverError) as caught:
            site.enrol(tmp_path / "invitation.json")
        assert caught.value.code == "joining-already"
    SiteFederation(tmp_path / "none").leave()
    assert not (tmp_path / "none").exists()


def looks_until(raised: Callable[[], None]) -> None:
    with pytest.raises(FedLiverError, match="Leave was pressed"):
        wait_until(raised, HANG, "it is to give up")  # until it raises: what it gives back is nothing


def test_a_leave_asks_anew_until_it_has_its_turn(tmp_path: Path, windows: ThreadPoolExecutor) -> None:
    def leave() -> bool:
        with Turns(tmp_path).leaving() as alone:
            return alone

    with Turns(tmp_path).joining() as first:
        leaving = windows.submit(leave)
        looks_until(first)
        mark = (tmp_path / "leave-asked").read_text()
        # Whoever begins to join now reads this mark as an old one: the next one is for them.
        wait_until(lambda: (tmp_path / "leave-asked").read_text() != mark, HANG, "it is asked again")
        assert not leaving.done()
    assert leaving.result(HANG)
    with Turns(tmp_path).joining() as look:
        look()


def test_a_join_that_does_not_let_go_is_told_of_and_gives_up_when_it_looks(tmp_path: Path) -> None:
    with Turns(tmp_path).joining() as look:
        look()
        with Turns(tmp_path, let_go_seconds=0).leaving() as alone:
            assert not alone
        looks_until(look)


def test_what_killed_processes_left_behind_holds_up_no_join(tmp_path: Path) -> None:
    held = "import sys, pathlib, fedliver.site.turns as t\nwith t.Turns(pathlib.Path(sys.argv[1])).{}(): print(1, flush=True); input()"
    variables = {**os.environ, "PYTHONPATH": str(Path(fedliver.__file__).parents[1])}
    for what in ("joining", "leaving"):
        command = [sys.executable, "-c", held.format(what), str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables) as holding:
            assert holding.stdout is not None
            assert holding.stdout.readline() == b"1\n"
            with pytest.raises(FedLiverError, match="being joined already"), Turns(tmp_path).joining():
                pass
            holding.kill()
    assert (tmp_path / "leave-asked").exists()
    with Turns(tmp_path).joining() as look:
        look()


def test_a_site_can_be_left_on_a_disk_that_takes_neither_lock_nor_mark(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    with Turns(tmp_path / "run").leaving() as alone:
        assert alone
    with pytest.raises(FedLiverError) as caught, Turns(tmp_path / "run").joining():
        pass
    assert caught.value.code == "not-writable"
