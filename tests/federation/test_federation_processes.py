"""A real federation on loopback: one SuperLink, two SuperNodes, TLS and node keys. The tests are one story and run in order.

Hospital A is honest and has two cases to train on; Hospital B has three, and misbehaves when told to.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from federation_kit import TRAINING, approve_patients, processes_under, tiny_bundle, wait_until
from hostile_site import PATIENT

import fedliver
from fedliver.coordinator.checkpoints import load_checkpoint
from fedliver.coordinator.coordinator import Coordinator
from fedliver.coordinator.records import RunEvent
from fedliver.errors import FedLiverError
from fedliver.federation.networks import weights_of
from fedliver.site.enrolment import write_model
from fedliver.site.federation import SiteFederation, SiteFiles
from fedliver.site.home import SiteHome
from fedliver.site.ledger import UpdateOut
from fedliver.site.link import Link
from fedliver.site.policy import contract_of
from fedliver.site.processes import is_alive, processes_of, read_record
from fedliver.site.rules import changed_rules
from fedliver.teacher.bundle import load_bundle
from fedliver.training.savepoint import Savepoint

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900), pytest.mark.xdist_group("federation")]

DEADLINE = 240.0
LOGIC = str(Path(fedliver.__file__).parents[1])
PATIENTS = {"A": (1, 2, 8), "B": (3, 4, 5, 9)}


@dataclass
class World:
    """The federation of this story."""

    root: Path
    coordinator: Coordinator
    a: SiteFederation
    b: SiteFederation
    events: list[RunEvent] = field(default_factory=list)

    def run(self, rounds: int) -> None:
        self.events.clear()
        self.coordinator.run(rounds, self.events.append)

    def policy(self, **changes: object) -> None:
        """As a coordinator who edits policy.json."""
        home = self.coordinator.home
        write_model(home.policy_file, home.settings().policy.model_copy(update=changes))

    def misbehave(self, **behaviours: str) -> None:
        plan = {name.removeprefix("round_"): behaviour for name, behaviour in behaviours.items()}
        (self.b.files.folder / "misbehaviour.json").write_text(json.dumps(plan))

    def weights(self, number: int) -> dict[str, np.ndarray]:
        return load_checkpoint(self.coordinator.home.checkpoints / f"round-{number:03d}.npz")

    def notes(self) -> dict[str, str]:
        """Why each site's update of the newest round was not used."""
        record = [record for record in self.coordinator.rounds() if record.kind == "round"][-1]
        return {update.site: update.refused for update in record.updates}

    def logs_of_the_coordinator(self) -> str:
        files = [path for path in self.coordinator.home.path.rglob("*") if path.suffix in (".log", ".jsonl", ".json", ".db")]
        assert len(files) > 4
        return "\n".join(path.read_bytes().decode(errors="replace") for path in files)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("federation")
    before = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "PYTHONPATH")}
    os.environ["OMP_NUM_THREADS"] = "1"  # two sites train at once
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), before["PYTHONPATH"]]))
    for name, patients in PATIENTS.items():
        approve_patients(root / name, patients)
    changed_rules(root / "A", minimum_metric_cases=1)
    coordinator = Coordinator.create(
        root / "C",
        host="127.0.0.1",
        teacher=tiny_bundle(root / "tiny"),
        policy=lambda policy: policy.model_copy(update={"deadline_seconds": DEADLINE, "gather_seconds": 30.0, "training": TRAINING, "compression": "none"}),
    )
    made = World(root, coordinator, SiteFederation(root / "A"), SiteFederation(root / "B", launcher="hostile_site"))
    with contextlib.ExitStack() as at_the_end:
        for key, value in before.items():
            at_the_end.callback(os.environ.__setitem__ if value is not None else os.environ.pop, key, value)
        for stop in (coordinator.stop, made.b.leave, made.a.leave):
            at_the_end.callback(stop)
        yield made


def test_a_site_that_is_not_approved_is_refused_in_words_and_leaves_nothing_running(world: World) -> None:
    world.coordinator.start()
    world.coordinator.invite("Hospital B", world.root / "b.json")
    world.b.enrol(world.root / "b.json")
    with pytest.raises(FedLiverError, match="does not know this site's key") as caught:
        world.b.join()
    assert caught.value.code == "refused-key"
    assert processes_under(world.root / "B") == []


def test_approved_sites_join_and_are_seen_online(world: World) -> None:
    world.coordinator.approve(world.b.files.request)
    world.coordinator.invite("Hospital A", world.root / "a.json")
    world.coordinator.approve(world.a.enrol(world.root / "a.json"))
    assert world.a.join().link is Link.UP
    assert world.b.join().link is Link.UP
    assert {site.name: site.online for site in world.coordinator.status().sites} == {"Hospital A": True, "Hospital B": True}
    with pytest.raises(FedLiverError, match="already joined"):
        world.a.join()


def test_two_rounds_give_the_weighted_mean_of_what_the_sites_trained(world: World) -> None:
    """No training can be done again here, number for number: a site draws by a seed of its own. What it trained last it keeps, for the next round."""
    world.run(2)
    first = load_bundle(world.coordinator.home.teacher_of(0))
    trained = {}
    for name in PATIENTS:
        examples = SiteHome.open(world.root / name).store().training_examples()
        kept = Savepoint(SiteFiles(world.root / name).student, contract_of(first.plan)).read()
        assert kept is not None
        trained[name] = (len(examples), {tensor: weights.numpy() for tensor, weights in kept.network.items()})
    assert {name: cases for name, (cases, _) in trained.items()} == {"A": 2, "B": 3}
    start, before, new = weights_of(first.network), world.weights(1), world.weights(2)
    for name, array in new.items():
        expected = sum(cases * weights[name].astype(np.float64) for cases, weights in trained.values()) / 5
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)
        assert not np.array_equal(array, before[name]), f"{name} did not change"
    assert any(not np.array_equal(before[name], start[name]) for name in before)


def test_the_rounds_are_written_down_and_the_teachers_load(world: World) -> None:
    records = world.coordinator.rounds()
    assert [(record.kind, record.round) for record in records] == [("round", 1), ("round", 2), ("delivery", 2)]
    for record in records[:2]:
        assert {update.site: round(update.weight, 3) for update in record.updates} == {"Hospital A": 0.4, "Hospital B": 0.6}
        assert all(update.megabytes_up > 0.01 for update in record.updates)
        told = {update.site: (update.dice is not None, update.dice_cases) for update in record.updates}
        assert told == {"Hospital A": (True, 1), "Hospital B": (False, 0)}, "by B's own rules one held-out patient is too few"
        teacher = load_bundle(world.coordinator.home.teachers / record.teacher)
        for name, array in world.weights(record.round).items():
            np.testing.assert_array_equal(array, weights_of(teacher.network)[name])
    assert [event.kind for event in world.events if event.kind != "waiting"] == ["round", "update", "update", "aggregated"] * 2 + ["delivered", "finished"]


def test_the_sites_have_progress_and_the_last_aggregate_as_a_candidate(world: World) -> None:
    for site in (world.a, world.b):
        events = site.progress().read()
        assert {event.round for event in events if event.phase == "training"} == {1, 2}
        assert {event.total for event in events if event.phase == "training"} == {TRAINING.steps}
        assert events[-1].phase == "delivered"
        assert events[-1].dice is not None
        assert [path.name for path in site.candidates()] == ["round-000", "round-001", "round-002"]
        candidate = load_bundle(site.candidates()[-1])
        for name, array in world.weights(2).items():
            np.testing.assert_array_equal(array, weights_of(candidate.network)[name])


@pytest.mark.skipif(sys.platform != "linux", reason="the warm process is Linux's")
def test_every_message_was_served_by_the_sites_warm_process_which_holds_nothing_of_the_sites_cases(world: World) -> None:
    for site in (world.a, world.b):
        (warm,) = (process for process in processes_of(read_record(site.files.records[0])) if process.name() == "fedliver-warm")
        assert "without the warm process" not in site.files.executor_log.read_text(), "a stand-in that goes another way says so"
        opened = [Path(file.path) for file in warm.open_files()]
        assert all(path == site.files.executor_log for path in opened if path.is_relative_to(site.files.home)), opened
        assert warm.num_threads() == 1


def test_all_that_left_a_site_and_came_in_is_in_its_ledger(world: World) -> None:
    for site, cases in ((world.a, 2), (world.b, 3)):
        entries = site.ledger().entries()
        assert [(entry.kind, entry.round) for entry in entries] == [("model", 1), ("update", 1), ("model", 2), ("update", 2), ("model", 2), ("numbers", 2)]
        assert site.ledger().verify().fault == ""
        updates = [entry for entry in entries if isinstance(entry, UpdateOut)]
        assert [entry.cases for entry in updates] == [cases, cases]
        name = site.status().site_name
        (told,) = (update for record in world.coordinator.rounds()[:1] for update in record.updates if update.site == name)
        assert (told.loss, told.megabytes_up, told.training_seconds) == (updates[0].loss, updates[0].bytes / 1e6, updates[0].seconds)


def test_a_site_with_a_single_patient_is_told_that_its_update_may_not_leave_and_starts_nothing(world: World) -> None:
    approve_patients(world.root / "S", (6,))
    small = SiteFederation(world.root / "S")
    small.enrol(world.root / "a.json")
    with pytest.raises(FedLiverError, match="1 patient's cases to train on, and its rules ask for 2") as caught:
        small.join()
    assert caught.value.code == "too-few-cases"
    assert processes_under(small.files.home) == []


def test_a_site_that_sends_nan_is_refused_and_named_and_the_run_fails_below_the_quorum(world: World) -> None:
    world.misbehave(round_3="nan")
    with pytest.raises(FedLiverError, match=r"1 usable update, and the policy asks for 2 \(Hospital B sent numbers that are not finite\)") as caught:
        world.run(1)
    assert caught.value.code == "run-failed"
    assert world.notes() == {"Hospital A": "", "Hospital B": "sent numbers that are not finite"}
    assert not (world.coordinator.home.checkpoints / "round-003.npz").exists()


def test_a_run_goes_on_from_the_newest_checkpoint_whatever_one_site_does(world: World) -> None:
    """Round 3: B fails with a patient's path in the exception. Round 4: B is stopped while it trains. Round 5: B is killed while it trains."""
    slowest = max(update.seconds for record in world.coordinator.rounds() for update in record.updates)
    deadline = round(max(25.0, 3 * slowest))  # a busy machine is slow at everything
    world.policy(quorum=1, deadline_seconds=deadline)
    world.misbehave(round_3="patient", round_4="long", round_5="long")
    tail = world.b.progress()
    seen: list = tail.read()

    def b_is(phase: str, number: int) -> bool:
        seen.extend(tail.read())
        return any(event.phase == phase and event.round == number for event in seen)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.run, 3)
        wait_until(lambda: b_is("training", 4) or running.done(), 60 + 2 * deadline, "B trains in round 4")
        world.b.files.stop.touch()
        wait_until(lambda: b_is("stopped", 4) or running.done(), 60, "B stops")
        world.b.files.stop.unlink()
        wait_until(lambda: b_is("training", 5) or running.done(), 30 + deadline, "B trains in round 5")
        for record in world.b.files.records:
            for process in processes_of(read_record(record)):
                process.kill()
        running.result(deadline + 120)
    rounds = {record.round: record for record in world.coordinator.rounds() if record.kind == "round" and record.aggregated}
    notes = {number: {update.site: update.refused for update in record.updates} for number, record in rounds.items()}
    assert notes[3] == {"Hospital A": "", "Hospital B": "an unexpected error; the site's own log says which kind"}
    assert notes[4] == {"Hospital A": "", "Hospital B": "stopped by the site"}
    assert notes[5]["Hospital A"] == ""
    assert notes[5]["Hospital B"] in (f"did not answer within {deadline} s", "went offline")
    assert all(np.isfinite(array).all() for array in world.weights(5).values())
    assert [update.site for update in world.coordinator.rounds()[-1].updates] == ["Hospital A"]


def test_no_patients_path_reached_the_coordinator(world: World) -> None:
    logs = world.logs_of_the_coordinator()
    assert "Hospital B" in logs
    for word in (PATIENT, "DOE", "cannot read", str(world.root / "A"), str(world.root / "B")):
        assert word not in logs
    assert "RuntimeError" in world.b.files.executor_log.read_text()
    assert "DOE" not in world.b.files.executor_log.read_text()


def test_a_dead_site_says_so_and_can_join_again_from_the_command_line_where_ctrl_c_leaves(world: World) -> None:
    assert world.b.status().link is Link.STOPPED
    command = [sys.executable, "-c", "from fedliver.cli.main import main; main()", "site", "join", "--follow", "--home", str(world.b.files.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": LOGIC}) as following:
        try:
            assert following.stdout is not None
            said = following.stdout.readline()
            assert "Hospital B in the federation of Coordinator: connected to the coordinator." in said, (said, following.stderr and following.stderr.read())
            assert len(processes_under(world.root / "B")) >= 3
            following.send_signal(signal.SIGINT)
            following.wait(60)
        finally:
            following.kill()
    assert processes_under(world.root / "B") == []


def test_a_site_that_ended_abruptly_joins_again_at_once_by_trying_until_the_coordinator_has_noticed(world: World) -> None:
    if not world.b.status().joined:
        world.b.join()
    for record in world.b.files.records:
        for process in processes_of(read_record(record)):
            process.kill()
    wait_until(lambda: not world.b.status().joined, 10, "B is dead")
    said: list[str] = []
    try:
        assert world.b.join(said.append).link is Link.UP
        assert said
        assert "still counts this site as connected" in said[0]
    finally:
        world.b.leave()


def test_a_run_that_is_interrupted_is_stopped_and_leaves_no_server_app(world: World) -> None:
    before, seen = len(world.coordinator.rounds()), []

    def server_apps() -> list[str]:
        return [line for line in processes_under(world.coordinator.home.path) if "flwr-serverapp" in line]

    def interrupt(event: RunEvent) -> None:
        if event.kind == "round":
            seen.extend(server_apps())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.coordinator.run(1, interrupt)
    assert len(seen) == 1
    assert server_apps() == []
    assert not is_alive(read_record(world.coordinator.home.record("run")))
    assert len(world.coordinator.rounds()) == before


def test_weights_travel_as_rounded_changes_if_the_policy_says_so_and_all_have_the_same_model(world: World) -> None:
    if not world.b.status().joined:
        world.b.join()
    world.policy(compression="int8", quorum=2, deadline_seconds=DEADLINE)
    before = len(world.coordinator.rounds())
    world.run(2)
    first, second, delivery = world.coordinator.rounds()[before:]
    assert all(not update.refused for record in (first, second, delivery) for update in record.updates)
    whole = sum(array.nbytes for array in world.weights(second.round).values()) / 1e6
    down = {update.site: update.megabytes_down for update in first.updates}
    assert down["Hospital A"] == 0, "it has had this model since the delivery before"
    assert down["Hospital B"] > 0.9 * whole, "it was dead then"
    assert all(0 < update.megabytes_down < whole / 5 for record in (second, delivery) for update in record.updates)
    assert all(0 < update.megabytes_up < whole / 5 for record in (first, second) for update in record.updates)
    for site in (world.a, world.b):
        candidate = weights_of(load_bundle(site.candidates()[-1]).network)
        for name, array in world.weights(second.round).items():
            np.testing.assert_array_equal(array, candidate[name])


def test_after_leave_and_stop_no_process_is_alive(world: World) -> None:
    if not world.b.status().joined:
        world.b.join()
    assert len(processes_under(world.root)) >= 6
    for site in (world.a, world.b):
        site.leave()
        assert processes_under(site.files.home) == []
    assert [site.state for site in world.coordinator.status().sites] == ["offline", "offline"]
    world.coordinator.stop()
    assert processes_under(world.root) == []
    children = [process for process in psutil.Process().children(recursive=True) if process.status() != psutil.STATUS_ZOMBIE]
    assert not [process.name() for process in children if process.name().startswith(("flower-", "flwr"))]
