"""The rounds against sites that are there, late, dead, silent or lying. The transport is a stand-in; the clock runs only when somebody waits."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from federation_kit import tiny_bundle
from flwr.app import Array, ArrayRecord, RecordDict
from stage import GONE, Clock, Stage, adds, events, run, says

from fedliver.coordinator.checkpoints import load_checkpoint, save_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import EventTail, Job, Revocation, Site, Sites, read_rounds
from fedliver.federation.account import RunAccount
from fedliver.federation.correspondence import Correspondence
from fedliver.federation.messages import DELIVER, TRAIN, Numbers, error_reply, pack_reply, unpack_weights
from fedliver.federation.networks import weights_of
from fedliver.federation.rounds import RunEndedError
from fedliver.federation.shipping import GlobalModel
from fedliver.site.codes import ErrorCode
from fedliver.site.policy import Policy, contract_of
from fedliver.site.rules import PrivacyMinimums
from fedliver.site.strategy import FedAvg, MultiKrum, Strategy, TrimmedMean
from fedliver.teacher.bundle import load_bundle
from fedliver.teacher.plan import TeacherPlan


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    home = CoordinatorHome(tmp_path)
    tiny_bundle(home.teacher_of(0))
    home.save_sites(Sites(sites=(Site(name="Hospital A", public_key="a", node_id=1), Site(name="Hospital B", public_key="b", node_id=2))))
    return home


@pytest.fixture
def like(home: CoordinatorHome) -> dict[str, np.ndarray]:
    return weights_of(load_bundle(home.teacher_of(0)).network)


def test_the_weights_move_by_the_weighted_mean_and_are_delivered_at_the_end(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    stage = Stage({1: adds(1.0, cases=1), 2: adds(4.0, cases=3)}, like)
    run(home, stage, rounds=2)
    new = load_checkpoint(home.checkpoints / "round-002.npz")
    for name, array in like.items():
        np.testing.assert_allclose(new[name], array + 6.5, rtol=1e-5)
    assert stage.sent == [(TRAIN, 1, 1), (TRAIN, 1, 2), (TRAIN, 2, 1), (TRAIN, 2, 2), (DELIVER, 2, 1), (DELIVER, 2, 2)]
    assert [record.kind for record in read_rounds(home.rounds_file)] == ["round", "round", "delivery"]
    np.testing.assert_array_equal(weights_of(load_bundle(home.teacher_of(2)).network)["model.0.conv.weight"], new["model.0.conv.weight"])


@pytest.mark.parametrize("error", [RecursionError, TypeError, IndexError, KeyError])
def test_an_answer_over_which_a_library_trips_is_refused_by_name_and_the_round_goes_on(
    home: CoordinatorHome, like: dict[str, np.ndarray], error: type[Exception]
) -> None:
    clock = Clock()
    job = Job(job="job", rounds=1, policy=Policy(contract=contract_of(TeacherPlan.tiny()), compression="none"), plan=TeacherPlan.tiny())
    stage = Stage({1: adds(1.0), 2: adds(1.0)}, like)
    account = RunAccount(home, job, clock)
    account.last = 1
    letters = Correspondence(home, job, stage, account, None, clock=clock, sleep=clock.sleep)
    exchange = letters.send(1, TRAIN, letters.online(), GlobalModel(0, like))

    def use(name: str, content: RecordDict, numbers: Numbers) -> None:
        if name == "Hospital B":
            raise error("DOE^JOHN")

    letters.collect(exchange, use)
    assert {name: update.refused for name, update in exchange.updates.items()} == {"Hospital A": "", "Hospital B": "sent something unreadable"}


def test_a_header_that_numpy_cannot_read_costs_its_site_the_round_and_nobody_the_run(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    header = b"{1:2,'a':3} "
    bad = Array(dtype="float32", shape=(1,), stype="numpy.ndarray", data=b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    content = pack_reply(Numbers(cases=1), like)
    content["arrays"] = ArrayRecord(dict.fromkeys(like, bad))
    run(home, Stage({1: adds(1.0), 2: says(content)}, like), quorum=1)
    assert read_rounds(home.rounds_file)[0].updates[1].refused == "sent tensors of another network"


def test_an_update_longer_than_the_policys_norm_bound_is_refused_by_name(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    """The site's filter shortens it; one that has thrown its filter out does not."""
    run(home, Stage({1: adds(0.001), 2: adds(4.0)}, like), quorum=1, privacy=PrivacyMinimums(norm_bound=1.0))
    first, second = read_rounds(home.rounds_file)[0].updates
    assert (first.refused, "as long as the policy's norm bound allows" in second.refused) == ("", True)


def test_a_run_goes_on_from_the_newest_whole_checkpoint(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    save_checkpoint(home.checkpoints, 4, {name: array + np.asarray(10, array.dtype) for name, array in like.items()})
    (home.checkpoints / "round-005.npz").write_bytes(b"half a checkpo")
    save_checkpoint(home.checkpoints, 6, {"other": np.zeros(1)})
    save_checkpoint(home.checkpoints, 7, {name: array * np.asarray(np.nan, array.dtype) for name, array in like.items()})
    run(home, Stage({1: adds(1.0), 2: adds(1.0)}, like))
    np.testing.assert_allclose(load_checkpoint(home.checkpoints / "round-005.npz")["model.0.conv.weight"], like["model.0.conv.weight"] + 11, rtol=1e-5)


def test_a_checkpoint_that_is_passed_over_is_told(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    home.checkpoints.mkdir()
    for number in (1, 2):
        (home.checkpoints / f"round-{number:03d}.npz").write_bytes(b"half a checkpo")
    run(home, Stage({1: adds(1.0), 2: adds(1.0)}, like))
    assert events(home)[0] == "The checkpoint of round 1 and 2 is damaged: going on from the model that the federation began with."


def test_a_silent_site_costs_the_deadline_once_and_is_named(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    clock = Clock()
    stage = Stage({1: adds(1.0), 2: says(None)}, like)
    run(home, stage, clock=clock, quorum=1)
    assert 60 <= clock.now < 65
    record = read_rounds(home.rounds_file)[0]
    assert {update.site: update.refused for update in record.updates} == {"Hospital A": "", "Hospital B": "did not answer within 60 s"}
    assert (DELIVER, 1, 2) not in stage.sent


def test_a_site_that_is_revoked_while_it_trains_is_waited_for_no_longer_and_named(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    clock = Clock()

    def revoked_meanwhile(*_: object) -> None:
        b = home.sites().named("Hospital B")
        assert b is not None
        home.save_sites(home.sites().with_revocation(Revocation(name=b.name, public_key=b.public_key, revoked=datetime.now(UTC), node_id=2)))

    run(home, Stage({1: adds(1.0), 2: revoked_meanwhile}, like), clock=clock, quorum=1)
    assert clock.now < 5
    record = read_rounds(home.rounds_file)[0]
    assert {update.site: update.refused for update in record.updates} == {"Hospital A": "", "Hospital B": "was revoked"}


def test_a_site_that_went_offline_does_not_cost_the_deadline(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    clock = Clock()
    run(home, Stage({1: adds(1.0), 2: says(GONE)}, like), clock=clock, quorum=1)
    assert clock.now < 5
    assert "Round 1 of 1: Hospital B: not used: went offline." in events(home)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (error_reply(ErrorCode.NO_CASES), "no approved case to train on"),
        (error_reply(ErrorCode.STOPPED), "stopped by the site"),
        (pack_reply(Numbers(cases=1)), "sent tensors of another network"),
        (pack_reply(Numbers(cases=1), {"a": np.zeros(3, np.float32)}), "sent tensors of another network"),
        (pack_reply(Numbers(error=4711)), "an unexpected error; the site's own log says which kind"),
    ],
)
def test_a_site_without_a_usable_update_is_named_with_the_reason(home: CoordinatorHome, like: dict[str, np.ndarray], answer: RecordDict, why: str) -> None:
    run(home, Stage({1: adds(1.0), 2: says(answer)}, like), quorum=1)
    record = read_rounds(home.rounds_file)[0]
    assert {update.site: (update.refused, update.weight) for update in record.updates} == {"Hospital A": ("", 1.0), "Hospital B": (why, 0.0)}


@pytest.mark.parametrize(("value", "cases", "why"), [(np.nan, 1, "not finite"), (1.0, -3, "number of cases"), (1.0, 1_000_000, "number of cases")])
def test_a_poisoned_update_does_not_reach_the_global_model(home: CoordinatorHome, like: dict[str, np.ndarray], value: float, cases: int, why: str) -> None:
    with np.errstate(invalid="ignore"):
        run(home, Stage({1: adds(1.0), 2: adds(value, cases=cases)}, like), quorum=1)
    new = load_checkpoint(home.checkpoints / "round-001.npz")
    np.testing.assert_allclose(new["model.0.conv.weight"], like["model.0.conv.weight"] + 1, rtol=1e-5)
    assert why in read_rounds(home.rounds_file)[0].updates[1].refused


def test_a_site_cannot_put_nonsense_into_the_report(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    run(home, Stage({1: adds(1.0, dice=47.0, dice_cases=3, loss=float("nan")), 2: adds(1.0, dice=0.8, dice_cases=2, loss=0.25)}, like))
    a, b = read_rounds(home.rounds_file)[0].updates
    assert (a.dice, a.loss) == (None, None)
    assert (b.dice, b.loss) == (0.8, 0.25)


def test_a_run_without_a_usable_update_fails_in_words(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    with pytest.raises(RunEndedError, match=r"0 usable updates, and the policy asks for 2 \(Hospital A went offline; Hospital B no approved case"):
        run(home, Stage({1: says(GONE), 2: says(error_reply(ErrorCode.NO_CASES))}, like))
    assert EventTail(home.job("job") / "events.jsonl").read()[-1].kind == "failed"
    assert not home.checkpoints.exists()
    assert not read_rounds(home.rounds_file)[0].aggregated


def test_a_round_that_nobody_comes_to_ends_with_the_names_of_the_missing(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    clock, stage = Clock(), Stage({1: adds(1.0), 2: adds(1.0)}, like)
    stage.present = {1}
    with pytest.raises(RunEndedError, match="1 of at least 2 sites were online after 20 s \\(missing: Hospital B\\)"):
        run(home, stage, clock=clock)
    assert clock.now < 25
    assert stage.sent == []


def test_a_node_that_was_never_approved_gets_nothing(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    stage = Stage({1: adds(1.0), 2: adds(1.0), 3: adds(1000.0, cases=200)}, like)
    run(home, stage)
    assert {node for _, _, node in stage.sent} == {1, 2}


def test_a_quorum_that_cannot_be_met_is_said_at_once(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    with pytest.raises(RunEndedError, match="2 sites are approved, and the policy asks for 3"):
        run(home, Stage({1: adds(1.0), 2: adds(1.0)}, like), quorum=3)


def test_a_full_disk_ends_the_run_in_words_and_keeps_the_round_before(
    home: CoordinatorHome, like: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    import fedliver.federation.rounds as rounds
    from fedliver.files import write_file

    def full(folder: Path, number: int, weights: dict[str, np.ndarray], state: dict[str, np.ndarray]) -> Path:
        if number == 1:
            return save_checkpoint(folder, number, weights, state)

        def fail(part: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        write_file(folder / f"round-{number:03d}.npz", fail)
        raise AssertionError("not reached")

    monkeypatch.setattr(rounds, "save_checkpoint", full)
    with pytest.raises(RunEndedError, match="disk is full"):
        run(home, Stage({1: adds(1.0), 2: adds(1.0)}, like), rounds=2)
    assert sorted(path.name for path in home.checkpoints.iterdir()) == ["round-001.npz"]


def test_what_was_received_is_what_was_sent(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    seen: list[dict[str, np.ndarray]] = []

    def look(number: int, content: RecordDict) -> RecordDict:
        seen.append(unpack_weights(content, like))
        return adds(0.0)(number, content)

    run(home, Stage({1: look, 2: adds(0.0)}, like))
    for name, array in like.items():
        np.testing.assert_array_equal(seen[0][name], array)


@pytest.mark.parametrize("strategy", [FedAvg(), TrimmedMean(), MultiKrum()], ids=lambda strategy: strategy.name)
def test_a_poisoned_site_ruins_the_mean_and_not_the_robust_strategies(home: CoordinatorHome, like: dict[str, np.ndarray], strategy: Strategy) -> None:
    home.save_sites(Sites(sites=tuple(Site(name=f"Hospital {number}", public_key=str(number), node_id=number) for number in range(1, 7))))
    honest = {number: adds(0.1 * number) for number in range(1, 6)}
    run(home, Stage({**honest, 6: adds(-1000.0, cases=200)}, like), strategy=strategy, quorum=5)
    new = load_checkpoint(home.checkpoints / "round-001.npz")
    moved = float(np.mean([(new[name] - array).mean() for name, array in like.items()]))
    shares = {update.site: (update.weight, update.refused) for update in read_rounds(home.rounds_file)[0].updates}
    if strategy.name == "fedavg":
        assert moved < -900
        assert shares["Hospital 6"] == (pytest.approx(200 / 205), "")
        return
    assert 0.1 < moved < 0.5
    assert not list(home.scratch.iterdir())
    if strategy.name == "multi-krum":
        assert shares["Hospital 6"] == (0.0, "stood apart from the others' updates, and multi-Krum left it out")
        assert sorted(weight for weight, _ in shares.values()) == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
        assert any("Hospital 6: not used: stood apart" in sentence for sentence in events(home))


def test_updates_on_disk_are_removed_when_a_round_fails(home: CoordinatorHome, like: dict[str, np.ndarray]) -> None:
    home.save_sites(Sites(sites=tuple(Site(name=f"Hospital {number}", public_key=str(number), node_id=number) for number in (1, 2, 3))))
    with pytest.raises(RunEndedError, match=r"2 usable updates, and the policy asks for 3 \(Hospital 3 went offline\)"):
        run(home, Stage({1: adds(1.0), 2: adds(1.0), 3: says(GONE)}, like), strategy=TrimmedMean(), quorum=3)
    assert not list(home.scratch.iterdir())
