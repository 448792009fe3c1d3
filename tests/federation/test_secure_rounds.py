"""Rounds whose updates are masked: the coordinator's real rounds, the sites' real filters, ledgers and files; training and transport are stand-ins."""

import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from federation_kit import TRAINING, context, message, tiny_bundle
from flwr.app import RecordDict
from secure_kit import GONE, PLAN, RECEIVED, GuardedSite, Spoil, Wire, policy
from stage import Clock, events

from fedliver.coordinator.checkpoints import load_checkpoint
from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job, MaskedSum, Site, Sites, read_rounds
from fedliver.errors import FedLiverError
from fedliver.federation.messages import DELIVER, STEP, TRAIN, Instructions, Numbers, pack, pack_words, unpack_numbers, unpack_words
from fedliver.federation.rounds import Rounds, RunEndedError
from fedliver.federation.secure.masked_round import masking_for
from fedliver.federation.secure.words import Letters, Shares
from fedliver.site.codes import ErrorCode
from fedliver.site.keys import ensure_site_key
from fedliver.site.ledger import Ledger, StepOut, UpdateOut
from fedliver.site.policy import Policy, changed_policy
from fedliver.site.progress import ProgressTail
from fedliver.site.rules import changed_rules

HONEST: Spoil = lambda node, step, honest: honest  # noqa: E731


class World:
    """A coordinator and its sites; node N moves every weight by N/100, and has 6 + N cases."""

    def __init__(self, root: Path, count: int, **asked: object) -> None:
        self.home = CoordinatorHome(root / "C")
        tiny_bundle(self.home.teacher_of(0))
        self.sites = {node: GuardedSite(root / str(node), lambda number, node=node: node / 100, 6 + node) for node in range(1, count + 1)}
        keys = {node: ensure_site_key(site.files.key) for node, site in self.sites.items()}
        self.home.save_sites(Sites(sites=tuple(Site(name=f"Hospital {node}", public_key=key, node_id=node) for node, key in keys.items())))
        self.policy: Policy = policy(training=TRAINING.model_dump(), deadline_seconds=60, gather_seconds=20, sum_step_seconds=30, **asked)
        self.wire: Wire | None = None

    def run(self, rounds: int = 1, spoil: Spoil = HONEST) -> None:
        self.wire = Wire(lambda node, kind, content: self.sites[node](kind, content), self.sites, spoil)
        clock = Clock()
        Rounds(self.home, Job(job="job", rounds=rounds, policy=self.policy, plan=PLAN), self.wire, clock, clock.sleep).run()

    def weights(self, number: int) -> dict[str, np.ndarray]:
        return load_checkpoint(self.home.checkpoints / f"round-{number:03d}.npz")

    def notes(self, number: int) -> dict[str, str]:
        record = next(one for one in read_rounds(self.home.rounds_file) if one.round == number and one.kind == "round")
        return {update.site: update.refused for update in record.updates}

    def ledger(self, node: int) -> list:
        return Ledger(self.sites[node].files.ledger).entries()


def in_round(world: World, wanted: int, bad: dict[int, str], change: Callable[[RecordDict], RecordDict | None]) -> Spoil:
    """Change what these sites answer to that step of that round."""

    def spoil(node: int, step: str, honest: RecordDict) -> RecordDict | None:
        assert world.wire is not None
        return change(honest) if world.wire.round == wanted and bad.get(node) == step else honest

    return spoil


@pytest.mark.parametrize("compression", ["none", "int8"])
def test_masked_rounds_move_the_model_by_the_weighted_mean_and_nobody_is_told_a_sites_numbers(tmp_path: Path, compression: str) -> None:
    world = World(tmp_path, 3, compression=compression)
    world.run(rounds=2)
    mean = sum((6 + node) * node / 100 for node in (1, 2, 3)) / sum(6 + node for node in (1, 2, 3))
    first, second = world.weights(1), world.weights(2)
    moved = np.concatenate([(second[name] - first[name]).ravel() for name in first if first[name].dtype == np.float32])
    np.testing.assert_allclose(moved.mean(), mean, rtol=1e-3)
    if compression == "none":
        np.testing.assert_allclose(moved, mean, rtol=2e-3, atol=2e-6)
    record = read_rounds(world.home.rounds_file)[0]
    assert record.aggregated
    for update in record.updates:
        assert (update.refused, update.cases, update.loss, update.dice, update.norm, update.weight) == ("", 0, None, None, None, 0.0)
        assert update.megabytes_up > 0
    assert record.summed == MaskedSum(sites=3, cases=24, loss=0.25, dice=0.5)
    (said,) = [sentence for sentence in events(world.home) if sentence.startswith("Round 1 of 2: opened")]
    assert said == "Round 1 of 2: opened the sum of 3 sites' masked updates, of 24 cases together, mean loss 0.2500, mean Dice 0.5000."
    assert world.wire is not None
    told = [unpack_numbers(content) for _, _, content in world.wire.arrived]
    assert all(numbers in (Numbers(), Numbers(error=ErrorCode.MODEL_MISSING)) for numbers in told), "no number of one site leaves, with the last model neither"


def test_the_ledger_says_what_left_and_that_it_was_masked(tmp_path: Path) -> None:
    world = World(tmp_path, 4, compression="none")
    world.run(spoil=in_round(world, 1, {4: "mask"}, lambda _: GONE))
    entries = world.ledger(1)
    assert [entry.kind for entry in entries] == ["model", "step", "step", "update", "step", "model", "numbers"]
    keys, share, update, opened = entries[1:5]
    assert isinstance(update, UpdateOut)
    assert (update.masked_among, update.opened_by, update.cases, update.patients) == (4, 3, 7, 6)
    assert update.content != "0" * 64
    assert "masked: of the 4 sites that took part the coordinator sees only a sum of 3 or more" in update.sentence
    assert isinstance(share, StepOut)
    assert len(set(share.sites)) == 4
    assert all(site.startswith("SHA256:") for site in share.sites)
    assert (keys.step, opened.step, opened.opened) == ("keys", "open", 3)
    assert "the sum of 3 sites" in opened.sentence
    assert all("no weights" in step.sentence for step in (keys, share, opened))
    assert Ledger(world.sites[1].files.ledger).verify().fault == ""


def test_a_round_of_too_few_sites_stays_closed_and_is_told_and_the_next_one_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path, 4, compression="int8")
    world.run(rounds=3, spoil=in_round(world, 2, {1: "mask", 3: "mask"}, lambda _: GONE))
    first, second, third = (world.weights(number) for number in (1, 2, 3))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert any(not np.array_equal(second[name], third[name]) for name in second)
    assert [record.aggregated for record in read_rounds(world.home.rounds_file)] == [True, False, True, False]
    assert world.notes(2) == {"Hospital 1": "its training process died", "Hospital 2": "", "Hospital 3": "its training process died", "Hospital 4": ""}
    said = next(sentence for sentence in events(world.home) if "not aggregated" in sentence)
    assert said.startswith(
        "Round 2 of 3: not aggregated, and the model stays as it was:"
        " 2 of at least 3 sites have sent their masked updates (Hospital 1 its training process died;"
    )
    assert world.wire is not None
    opened_in = [content for node, step, content in world.wire.sent if step == "open"]
    assert len(opened_in) == 8, "nobody is asked to open a sum of two"


def test_a_site_that_fell_silent_in_the_last_sum_is_not_waited_for_with_the_delivery(tmp_path: Path) -> None:
    world = World(tmp_path, 4, compression="none")
    world.run(spoil=in_round(world, 1, {2: "mask"}, lambda _: None))
    assert world.notes(1)["Hospital 2"] == "did not answer a step of the masked sum within 30 s"
    assert world.wire is not None
    assert [node for node, step, _ in world.wire.sent if step == DELIVER] == [1, 3, 4]


def test_a_run_without_one_opened_sum_fails_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunEndedError, match="No round of this run could be aggregated"):
        World(tmp_path, 3).run(spoil=lambda node, step, honest: GONE if (node, step) == (1, "share") else honest)


def test_a_site_whose_shares_nobody_can_read_is_named_and_sits_out_and_the_others_go_on(tmp_path: Path) -> None:
    def garbage(honest: RecordDict) -> RecordDict:
        letters = unpack_words(honest, Letters)
        return pack_words(letters.model_copy(update={"envelopes": {number: secrets.token_hex(160) for number in letters.envelopes}}))

    world = World(tmp_path, 4)
    world.run(rounds=2, spoil=lambda node, step, honest: garbage(honest) if (node, step) == (2, "share") else honest)
    assert [record.aggregated for record in read_rounds(world.home.rounds_file)][:2] == [False, True]
    assert any("Hospital 2 sent shares that others could not read, and sits out the rest of the run." in sentence for sentence in events(world.home))
    assert set(world.notes(2)) == {"Hospital 1", "Hospital 3", "Hospital 4"}
    assert "could not be read" in world.notes(1)["Hospital 1"]
    assert any(isinstance(entry, StepOut) and entry.step == "unreadable" for entry in world.ledger(1))


def test_a_site_that_reveals_garbage_does_not_keep_the_sum_closed(tmp_path: Path) -> None:
    def garbage(honest: RecordDict) -> RecordDict:
        return pack_words(Shares(seeds={number: secrets.token_hex(66) for number in unpack_words(honest, Shares).seeds}, keys={}))

    world = World(tmp_path, 4)
    world.run(spoil=in_round(world, 1, {3: "open"}, garbage))
    assert read_rounds(world.home.rounds_file)[0].aggregated
    assert "revealed wrong shares" in world.notes(1)["Hospital 3"]


def train_content(world: World, **changes: object) -> RecordDict:
    instructions = Instructions(round=1, rounds=1, model=0, plan=PLAN, training=TRAINING, masking=masking_for(world.policy, 3)).model_copy(update=changes)
    return pack(instructions, RECEIVED)


def test_a_site_that_insists_sends_nothing_in_the_open_and_nothing_twice_in_a_round(tmp_path: Path) -> None:
    world = World(tmp_path, 3)
    site = world.sites[1]
    assert unpack_numbers(site(TRAIN, train_content(world, masking=None))).error == ErrorCode.MASKING_REQUIRED
    assert "masked" in ProgressTail(site.files.progress).read()[-1].sentence
    open_federation = GuardedSite(tmp_path / "own", lambda number: 0.01, accepted={})
    assert unpack_numbers(open_federation(TRAIN, train_content(world, masking=None))).error == 0
    changed_rules(tmp_path / "own", require_secure_aggregation=True)
    assert unpack_numbers(open_federation(TRAIN, train_content(world, masking=None))).error == ErrorCode.MASKING_REQUIRED
    keys = site(TRAIN, train_content(world))
    assert unpack_numbers(keys) == Numbers()
    assert set(keys) == {"metrics", "words"}
    assert unpack_numbers(site(TRAIN, train_content(world))).error == ErrorCode.SUM_OUT_OF_ORDER
    assert unpack_numbers(site(TRAIN, train_content(world, round=2))).error == 0


def test_whatever_goes_wrong_ends_the_sum_for_this_site_and_leaves_no_secret(tmp_path: Path) -> None:
    world = World(tmp_path, 3)
    site = world.sites[1]
    folder = site.files.masked_round
    session = masking_for(world.policy, 3)
    site(TRAIN, train_content(world, masking=session))
    assert (folder / "contribution.bin").exists()
    early = pack_words(Letters(session=session.session, round=1, rounds=1, envelopes={}))
    assert unpack_numbers(site(STEP, early)).error == ErrorCode.SUM_OUT_OF_ORDER
    assert not (folder / "contribution.bin").exists()
    assert '"seed":""' in (folder / "state.json").read_text()
    assert unpack_numbers(site(STEP, RecordDict())).error == ErrorCode.BAD_CONFIGURATION
    world.sites[2](TRAIN, train_content(world))
    world.sites[2](DELIVER, train_content(world, masking=None))
    assert not (world.sites[2].files.masked_round / "contribution.bin").exists()


def test_a_person_who_stops_the_site_stops_the_sum(tmp_path: Path) -> None:
    world = World(tmp_path, 4)

    def stop(node: int, step: str, honest: RecordDict) -> RecordDict:
        if (node, step) == (2, "share"):
            world.sites[2].files.stop.write_text("")
        return honest

    world.run(spoil=stop)
    assert world.notes(1)["Hospital 2"] == "stopped by the site"
    assert read_rounds(world.home.rounds_file)[0].aggregated


def test_noise_is_added_before_masking_and_counted_when_the_update_leaves(tmp_path: Path) -> None:
    world = World(tmp_path, 3, privacy={"require_secure_aggregation": True, "norm_bound": 1.0, "noise_multiplier": 2.0})
    for node in world.sites:
        changed_rules(tmp_path / str(node), noise_multiplier=2.0, norm_bound=1.0, epsilon_budget=20.0)
    world.run(rounds=2)
    noised = np.concatenate([(world.weights(1)[name] - RECEIVED[name]).ravel() for name in RECEIVED if RECEIVED[name].dtype == np.float32])
    assert 0.5 < np.std(noised) < 4
    left = [entry for entry in world.ledger(1) if isinstance(entry, UpdateOut)]
    assert 0 < left[0].epsilon < left[1].epsilon
    assert left[0].loss is None


def test_a_site_with_too_few_patients_takes_part_in_no_sum(tmp_path: Path) -> None:
    world = World(tmp_path, 4)
    changed_rules(tmp_path / "2", minimum_cases=7)
    world.run()
    assert "fewer patients" in world.notes(1)["Hospital 2"] or "cases of fewer patients" in world.notes(1)["Hospital 2"]
    assert [entry.kind for entry in world.ledger(2)] == ["model", "numbers", "model", "numbers"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"strategy": {"name": "trimmed-mean"}}, "trimmed-mean looks at single updates, which secure aggregation hides"),
        ({"strategy": {"name": "multi-krum"}, "quorum": 5}, "multi-krum looks at single updates"),
        ({"outlier_norm": 5.0}, "outlier_norm looks at single updates"),
        ({"quorum": 2}, "needs a quorum of 3 or more"),
        ({"privacy": {"require_secure_aggregation": True, "minimum_sites": 1}}, "greater than or equal to 2"),
    ],
)
def test_a_policy_that_asks_for_what_a_sum_hides_is_refused_in_one_sentence(change: dict[str, object], why: str) -> None:
    with pytest.raises(FedLiverError, match=why) as caught:
        changed_policy(policy(), **change)
    assert caught.value.code == "bad-policy"
    assert caught.value.sentence.count(". ") == 0


def test_before_it_joins_a_site_can_read_that_only_a_sum_is_seen(tmp_path: Path) -> None:
    from fedliver.site.federation import SiteFederation

    site = GuardedSite(tmp_path, lambda number: 0.0)
    said = SiteFederation(tmp_path).rules().sentences
    assert "An update, its loss, Dice and counts leave masked only: the coordinator sees only the sum of at least 3 sites." in said
    assert site.files.home == tmp_path


def test_a_step_that_the_ledger_cannot_record_does_not_leave(tmp_path: Path) -> None:
    world = World(tmp_path, 3)
    site = world.sites[1]
    site(TRAIN, train_content(world))
    (site.files.ledger / "ledger.jsonl").write_text("{\n")
    answer = site.guard(message(pack_words(Letters(session="0" * 32, round=1, rounds=1, envelopes={})), STEP), context(site.files.home)).content
    assert unpack_numbers(answer).error != 0
    assert "words" not in answer
