"""Masked sums: what comes out, whoever is lost on the way; what the coordinator sees; and what a site never reveals."""

import itertools
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict
from secure_kit import GONE, REQUEST, SMALL, Heard, Spoil, SumSite, assert_is_mean, enrolled, made_sites, numbers, policy, summing
from stage import Clock

from fedliver import files
from fedliver.federation.messages import pack_words, unpack_masked, unpack_words
from fedliver.federation.secure.keys import signature_of
from fedliver.federation.secure.masked_round import MaskedRound, NotSummedError, masking_for
from fedliver.federation.secure.masks import add_mask
from fedliver.federation.secure.ring import contribution, numbers_in
from fedliver.federation.secure.shamir import recover
from fedliver.federation.secure.total import MaskedTotal
from fedliver.federation.secure.words import Keys, Letters, Masking, Members, Shares, threshold_of
from fedliver.federation.strategies import UpdateRefusedError
from fedliver.site.egress import TensorKind
from fedliver.site.rules import EgressRules

STEPS = ("train", "share", "mask", "open")


def lost_at(when: dict[int, str]) -> Spoil:
    """Each of these sites answers nothing from that step on."""
    return lambda node, step, honest: GONE if node in when and STEPS.index(step) >= STEPS.index(when[node]) else honest


def patterns(counts: tuple[int, ...]) -> list[tuple[int, dict[int, str]]]:
    """Of so many sites every group that is lost while it masks, and a group of every size at the other steps; of three every pattern in the last two."""
    found: list[tuple[int, dict[int, str]]] = []
    for choice in itertools.product(("", "mask", "open"), repeat=3) if 3 in counts else ():
        found.append((3, {node: step for node, step in enumerate(choice, start=1) if step}))
    for count in counts:
        for size in range(1, count):
            found += [(count, dict.fromkeys(group, "mask")) for group in itertools.combinations(range(1, count + 1), size)]
            found += [(count, dict.fromkeys(range(1, size + 1), step)) for step in ("train", "share", "open")]
    return found


def there_after(count: int, when: dict[int, str], step: str) -> set[int]:
    return {node for node in range(1, count + 1) if node not in when or STEPS.index(when[node]) > STEPS.index(step)}


@pytest.mark.parametrize(("minimum", "counts"), [(2, (3,)), (3, (4, 5))])
def test_the_sum_is_the_plain_sum_whoever_is_lost_down_to_the_threshold_and_stays_closed_below_it(
    tmp_path: Path, minimum: int, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_sync", lambda path: None)
    rules = policy(privacy={"require_secure_aggregation": True, "minimum_sites": minimum})
    opened = closed = 0
    for number, (count, when) in enumerate(patterns(counts), start=1):
        sites = made_sites(tmp_path, count, EgressRules(minimum_sites=minimum))
        made, _, masking = summing(sites, lost_at(when), Heard(), rules, number)
        trained = there_after(count, when, "train")
        enough = threshold_of(len(trained), minimum)
        if all(len(there_after(count, when, step)) >= enough for step in STEPS):
            assert_is_mean(made.sum(), [sites[node] for node in there_after(count, when, "mask")], masking)
            opened += 1
        else:
            with pytest.raises(NotSummedError, match="of at least"):
                made.sum()
            closed += 1
    assert min(opened, closed) > 10


def test_the_coordinator_sees_what_looks_like_chance_of_one_site_and_each_kind_of_mask_alone_hides_it(tmp_path: Path) -> None:
    from test_secure_parts import chi_squared

    kinds = {"a": TensorKind((200_000,), np.dtype(np.float32))}
    members = made_sites(tmp_path, 3)
    for site in members.values():
        site.change, site.kinds = {"a": np.zeros(200_000, np.float32)}, kinds
    made, wire, masking = summing(members, lost_at({}), Heard(), kinds=kinds)
    summed = made.sum()
    np.testing.assert_array_equal(summed.change["a"], 0)
    plain = contribution(members[1].change, numbers(1), masking, kinds, 30.0)
    seen = [unpack_masked(content, numbers_in(kinds)) for _, step, content in wire.arrived if step == "mask"]
    assert chi_squared(plain) > 1000
    for vector in seen:
        assert chi_squared(vector) < 8
    pair = seen[0] + seen[1]
    assert chi_squared(pair) < 8, "nor do two of three say anything"
    number_of = {node: number for number, node in made.members.items()}
    revealed = {number_of[node]: unpack_words(content, Shares) for node, step, content in wire.arrived if step == "open"}
    for node, vector in zip([node for node, step, _ in wire.arrived if step == "mask"], seen, strict=True):
        shares = {number: bytes.fromhex(one.seeds[number_of[node]]) for number, one in revealed.items()}
        own_mask_off = vector.copy()
        add_mask(own_mask_off, recover(shares, 3, lambda _: True).secret, subtract=True)
        assert chi_squared(own_mask_off) < 8, "once the sum is open, the masks of pairs still hide each site"


def spoilt(bad: int, step: str, change: Callable[[RecordDict], RecordDict | None]) -> Spoil:
    return lambda node, at, honest: change(honest) if (node, at) == (bad, step) else honest


def test_wrong_shares_of_one_site_are_gone_without_and_its_name_is_told(tmp_path: Path) -> None:
    def garbage(honest: RecordDict) -> RecordDict:
        told = unpack_words(honest, Shares)
        return pack_words(Shares(seeds={number: secrets.token_hex(66) for number in told.seeds}, keys={number: secrets.token_hex(66) for number in told.keys}))

    sites, heard = made_sites(tmp_path, 5), Heard()
    lost = lost_at({5: "mask"})

    def spoil(node: int, step: str, honest: RecordDict) -> RecordDict | None:
        # The first but one of the list, whose shares would be among those that are tried first.
        return garbage(honest) if step == "open" and node == bad() else lost(node, step, honest)

    def bad() -> int:
        return [node for node in made.members.values() if node != 5][1]

    made, _, masking = summing(sites, spoil, heard)
    assert_is_mean(made.sum(), [sites[node] for node in (1, 2, 3, 4)], masking)
    assert "revealed wrong shares" in heard.out[bad()]


def test_shares_of_other_sites_or_none_at_all_are_wrong_shares(tmp_path: Path) -> None:
    sites, heard = made_sites(tmp_path, 4), Heard()
    made, _, masking = summing(sites, spoilt(3, "open", lambda _: pack_words(Shares(seeds={}, keys={}))), heard)
    assert_is_mean(made.sum(), sites.values(), masking)
    assert set(heard.out) == {3}


def test_too_many_wrong_shares_leave_the_sum_closed(tmp_path: Path) -> None:
    sites = made_sites(tmp_path, 3)
    made, _, _ = summing(sites, spoilt(3, "open", lambda _: pack_words(Shares(seeds={}, keys={}))), Heard())
    with pytest.raises(NotSummedError, match="shares that do not fit"):
        made.sum()


@pytest.mark.parametrize(
    "vector", [np.zeros(3, np.uint32), np.zeros(numbers_in(SMALL) + 1, np.uint32), np.zeros(numbers_in(SMALL), np.float32), np.zeros((2, 17), np.uint32)]
)
def test_a_masked_update_of_another_length_or_type_is_left_out_and_the_sum_of_the_others_is_right(tmp_path: Path, vector: np.ndarray) -> None:
    sites, heard = made_sites(tmp_path, 4), Heard()
    made, _, masking = summing(sites, spoilt(2, "mask", lambda honest: pack_words(unpack_words(honest, Letters), vector=vector)), heard)
    assert_is_mean(made.sum(), [sites[node] for node in (1, 3, 4)], masking)
    assert heard.out == {2: "sent something else than the masked sum asks for"}


def test_a_masked_update_of_nonsense_makes_no_sum(tmp_path: Path) -> None:
    nonsense = np.random.default_rng(1).integers(0, 2**32, numbers_in(SMALL), dtype=np.uint32)
    made, _, _ = summing(made_sites(tmp_path, 4), spoilt(2, "mask", lambda honest: pack_words(unpack_words(honest, Letters), vector=nonsense)), Heard())
    with pytest.raises(NotSummedError, match="no sum of updates"):
        made.sum()


def test_the_same_masked_update_twice_is_added_once() -> None:
    total = MaskedTotal(Members.model_construct(members=(), threshold=2), frozenset({1, 2}), 4)
    total.add(1, np.ones(4, np.uint32))
    for number in (1, 3):
        with pytest.raises(ValueError, match="not one masked update"):
            total.add(number, np.ones(4, np.uint32))
    assert total.present == {1}


def test_letters_that_nobody_can_read_close_the_sum_and_accuse_their_sender(tmp_path: Path) -> None:
    def garbage(honest: RecordDict) -> RecordDict:
        letters = unpack_words(honest, Letters)
        return pack_words(letters.model_copy(update={"envelopes": {number: secrets.token_hex(160) for number in letters.envelopes}}))

    made, _, _ = summing(made_sites(tmp_path, 4), spoilt(2, "share", garbage), Heard())
    with pytest.raises(NotSummedError, match="1 of at least 3 sites have sent their masked updates"):
        made.sum()
    assert made.accused == {2: 3}


def test_letters_for_some_sites_only_put_their_sender_out(tmp_path: Path) -> None:
    def fewer(honest: RecordDict) -> RecordDict:
        letters = unpack_words(honest, Letters)
        return pack_words(letters.model_copy(update={"envelopes": dict(list(letters.envelopes.items())[1:])}))

    sites, heard = made_sites(tmp_path, 4), Heard()
    made, _, masking = summing(sites, spoilt(2, "share", fewer), heard)
    assert_is_mean(made.sum(), [sites[node] for node in (1, 3, 4)], masking)
    assert "did not share its secrets with all" in heard.out[2]


def unasked(sites: dict[int, SumSite], masking: Masking) -> MaskedRound:
    """A masked round that has sent nothing yet."""
    clock = Clock()
    return MaskedRound(
        None,  # type: ignore[arg-type]
        policy(),
        SMALL,
        masking,
        request=REQUEST,
        place=(1, 1),
        enrolled=enrolled(sites),
        approved=set,
        listener=Heard(),
        clock=clock,
        sleep=clock.sleep,
    )


def test_a_site_that_signs_with_a_key_which_was_not_approved_for_it_is_refused_by_name(tmp_path: Path) -> None:
    """Otherwise one site could be two in a sum, and open it with itself."""
    sites = made_sites(tmp_path, 3)
    masking = masking_for(policy(), 3)
    made = unasked({1: sites[1], 2: sites[2]}, masking)
    made.take_keys(1, sites[1].keys(masking))
    invented = sites[3].keys(masking)
    for node in (2, 3):
        with pytest.raises(UpdateRefusedError, match="keys of another site than the one that was approved"):
            made.take_keys(node, invented)
    made.take_keys(2, sites[2].keys(masking))


def test_an_answer_over_which_a_library_trips_costs_its_site_its_part_and_nobody_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites, heard = made_sites(tmp_path, 4), Heard()
    made, _, masking = summing(sites, lambda node, at, honest: honest, heard)
    read = MaskedRound._read_letters

    def trips(self: MaskedRound, number: int, content: RecordDict) -> Letters:
        if self.members[number] == 2:
            raise RecursionError("deep")
        return read(self, number, content)

    monkeypatch.setattr(MaskedRound, "_read_letters", trips)
    assert_is_mean(made.sum(), [sites[node] for node in (1, 3, 4)], masking)
    assert heard.out == {2: "sent something unreadable"}


def test_keys_that_are_not_signed_or_are_anothers_are_refused(tmp_path: Path) -> None:
    sites = made_sites(tmp_path, 3)
    masking = masking_for(policy(), 3)
    made = unasked(sites, masking)
    honest = unpack_words(sites[1].keys(masking), Keys)
    other = unpack_words(sites[2].keys(masking), Keys)
    stolen = other.model_copy(update={"sealing_key": honest.sealing_key})
    stolen = stolen.model_copy(update={"signature": signature_of(sites[2].key, stolen.signed(REQUEST)).hex()})
    made.take_keys(1, pack_words(honest))
    for forged, why in (
        (other.model_copy(update={"masking_key": honest.sealing_key}), "not signed"),
        (other.model_copy(update={"signature": honest.signature}), "not signed"),
        (other.model_copy(update={"public_key": "ssh-rsa AAAA"}), "sent no keys"),
        (honest, "keys of another site than the one that was approved"),
        (stolen, "another site's keys"),
    ):
        with pytest.raises(UpdateRefusedError, match=why):
            made.take_keys(2, pack_words(forged))
    with pytest.raises(UpdateRefusedError, match="sent no keys"):
        made.take_keys(2, pack_words(Shares(seeds={}, keys={})))
    made.take_keys(2, pack_words(other))


def test_a_site_that_never_answers_a_step_costs_its_time_once(tmp_path: Path) -> None:
    sites, heard = made_sites(tmp_path, 4), Heard()
    made, _, masking = summing(sites, lambda node, at, honest: None if (node, at) == (2, "share") else honest, heard, policy(sum_step_seconds=50))
    assert_is_mean(made.sum(), [sites[node] for node in (1, 3, 4)], masking)
    assert heard.out == {2: "did not answer a step of the masked sum within 50 s"}
