"""What a site never reveals in a masked sum, whatever the coordinator asks, and what it keeps on its disk."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from secure_kit import REQUEST, RUN, SumSite, made_sites, numbers_in_small, policy

from fedliver.errors import FedLiverError
from fedliver.federation.messages import unpack_words
from fedliver.federation.secure.masked_round import masking_for
from fedliver.federation.secure.round_secrets import SecretsFolder
from fedliver.federation.secure.site_sum import Place, UnreadableLettersError
from fedliver.federation.secure.words import Keys, Letters, Masking, Members, Survivors
from fedliver.site.keys import fingerprint_of
from fedliver.site.rules import EgressRules

HERE = Place(RUN, 1)


class Play:
    """Sites that a lying coordinator talks to one by one."""

    def __init__(self, root: Path, count: int, rules: EgressRules = EgressRules()) -> None:  # noqa: B008 frozen
        self.masking: Masking = masking_for(policy(), count)
        made = made_sites(root, count, rules)
        keys = {node: unpack_words(site.keys(self.masking), Keys) for node, site in made.items()}
        order = sorted(keys, key=lambda node: keys[node].public_key)
        self.sites: dict[int, SumSite] = {number: made[node] for number, node in enumerate(order, start=1)}
        self.keys = tuple(keys[node] for node in order)
        self.here = {"session": self.masking.session, "round": 1, "rounds": 1}
        self.members = self.list()

    def list(self, threshold: int = 3, members: tuple[Keys, ...] | None = None) -> Members:
        return Members(**self.here, threshold=threshold, members=members or self.keys)

    def share(self) -> dict[int, Letters]:
        return {number: site.sum.share(HERE, self.members) for number, site in self.sites.items()}

    def to(self, number: int, sent: dict[int, Letters]) -> Letters:
        return Letters(**self.here, envelopes={sender: letters.envelopes[number] for sender, letters in sent.items() if sender != number})

    def mask(self) -> None:
        sent = self.share()
        for number, site in self.sites.items():
            site.sum.mask(HERE, self.to(number, sent))

    def survivors(self, *there: int) -> Survivors:
        return Survivors(**self.here, numbers=there)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(FedLiverError) as caught:
        work()
    assert caught.value.code in ("sum-refused", "sum-out-of-order")
    return caught.value.sentence


def test_a_site_reveals_of_every_site_the_one_share_or_the_other_and_never_both(tmp_path: Path) -> None:
    play = Play(tmp_path, 4)
    play.mask()
    shares = play.sites[1].sum.open(HERE, play.survivors(1, 2, 3))
    assert (set(shares.seeds), set(shares.keys)) == ({1, 2, 3}, {4})
    assert "came twice" in refused(lambda: play.sites[1].sum.open(HERE, play.survivors(1, 2, 3, 4))), "the classical attack: both, one after the other"
    assert "came twice" in refused(lambda: play.sites[1].sum.open(HERE, play.survivors(1, 2, 3)))


@pytest.mark.parametrize("there", [(1, 2), (1,), (), (2, 3, 4), (1, 2, 5), (1, 2, 2), (1, 1, 1)], ids=str)
def test_a_sum_of_fewer_than_the_threshold_or_without_this_site_or_of_others_stays_closed(tmp_path: Path, there: tuple[int, ...]) -> None:
    play = Play(tmp_path, 4)
    play.mask()
    refused(lambda: play.sites[1].sum.open(HERE, play.survivors(*there)))


def test_a_site_that_asks_for_more_sites_than_the_others_takes_part_only_if_so_many_are_needed_to_open_the_sum(tmp_path: Path) -> None:
    play = Play(tmp_path, 4, EgressRules(minimum_sites=4))
    assert "agreed" in refused(lambda: play.sites[1].sum.share(HERE, play.list(threshold=3)))
    play = Play(tmp_path / "again", 4, EgressRules(minimum_sites=4))
    play.members = play.list(threshold=4)
    play.mask()
    refused(lambda: play.sites[1].sum.open(HERE, play.survivors(1, 2, 3)))


@pytest.mark.parametrize(("count", "threshold"), [(4, 2), (6, 3), (4, 5), (3, 1)])
def test_a_threshold_that_two_groups_of_sites_could_reach_or_none_is_refused(tmp_path: Path, count: int, threshold: int) -> None:
    play = Play(tmp_path, count)
    refused(lambda: play.sites[1].sum.share(HERE, play.list(threshold)))


def test_a_list_of_sites_that_is_not_right_is_refused(tmp_path: Path) -> None:
    def lists(play: Play) -> dict[str, Members]:
        one, two, three, four = play.keys
        return {
            "have this site": play.list(members=(two, three, four)),
            "only 2": play.list(threshold=2, members=(one, two)),
            "twice": play.list(members=(one, two, three, three)),
            "twice ": play.list(members=(one, two, three, four.model_copy(update={"masking_key": three.masking_key}))),
            "not signed": play.list(members=(one, two, three, four.model_copy(update={"masking_key": "a" * 64}))),
            "does not have": play.list(members=(one.model_copy(update={"seed_hash": "a" * 64}), two, three, four)),
            "does not have ": play.list().model_copy(update={"round": 2}),
        }

    for number, why in enumerate(lists(Play(tmp_path / "names", 4))):
        play = Play(tmp_path / str(number), 4)
        said = refused(lambda play=play, why=why: play.sites[1].sum.share(HERE, lists(play)[why]))
        assert why.strip() in said or "does not have this site's keys" in said


def test_sites_that_were_asked_for_something_else_are_not_summed_with(tmp_path: Path) -> None:
    """A coordinator that lets the others train nothing, or scales them to nothing, would see this site's update as the sum."""
    play = Play(tmp_path, 4)
    again = {number: unpack_words(site.keys(play.masking, Place(RUN, 2), "cd" * 32 if number == 3 else REQUEST), Keys) for number, site in play.sites.items()}
    members = Members(session=play.masking.session, round=2, rounds=2, threshold=3, members=tuple(again.values()))
    assert "asked for something else" in refused(lambda: play.sites[1].sum.share(Place(RUN, 2), members))
    assert "asked for something else" in refused(lambda: play.sites[3].sum.share(Place(RUN, 2), members))


def test_only_sites_that_the_rules_name_may_be_in_the_sum_where_they_name_any(tmp_path: Path) -> None:
    play = Play(tmp_path, 4)
    prints = [fingerprint_of(keys.public_key) for keys in play.keys]
    play.sites[1].sum._rules = EgressRules(known_sites=tuple(prints[1:3]))
    assert "rules do not name" in refused(lambda: play.sites[1].sum.share(HERE, play.members))
    play.sites[2].sum._rules = EgressRules(known_sites=(prints[0], *prints[2:]))
    play.sites[2].sum.share(HERE, play.members)


def test_two_sites_that_are_told_two_lists_cannot_read_each_other(tmp_path: Path) -> None:
    play = Play(tmp_path, 5)
    sent = {number: site.sum.share(HERE, play.list(members=play.keys[:4]) if number != 1 else play.list()) for number, site in play.sites.items() if number < 5}
    envelopes = {number: sent[number].envelopes[1] for number in (2, 3, 4)}
    with pytest.raises(UnreadableLettersError) as caught:
        play.sites[1].sum.mask(HERE, Letters(**play.here, envelopes=envelopes))
    assert caught.value.numbers == (2, 3, 4)


def test_a_sites_own_letter_is_not_taken_for_the_addressees(tmp_path: Path) -> None:
    """The key of two sites is the same both ways; without the way a coordinator could send a site its own shares back as another's."""
    play = Play(tmp_path, 4)
    sent = play.share()
    honest = play.to(1, sent)
    mirrored = honest.model_copy(update={"envelopes": {**honest.envelopes, 2: sent[1].envelopes[2]}})
    with pytest.raises(UnreadableLettersError) as caught:
        play.sites[1].sum.mask(HERE, mirrored)
    assert caught.value.numbers == (2,)


def test_letters_of_too_few_sites_or_of_strangers_leave_the_update_where_it_is(tmp_path: Path) -> None:
    for number, wanted in enumerate([(2,), (2, 3, 9), (1, 2, 3)]):
        play = Play(tmp_path / str(number), 4)
        sent = play.share()
        envelopes = {sender: sent[sender if sender in (2, 3, 4) else 2].envelopes[1] for sender in wanted}
        refused(lambda play=play, envelopes=envelopes: play.sites[1].sum.mask(HERE, Letters(**play.here, envelopes=envelopes)))


def test_no_step_comes_before_its_turn_or_twice_or_for_another_round(tmp_path: Path) -> None:
    play = Play(tmp_path, 3)
    site = play.sites[1].sum
    empty = Letters(**play.here, envelopes={})
    refused(lambda: site.mask(HERE, empty))
    refused(lambda: site.open(HERE, play.survivors(1, 2, 3)))
    refused(lambda: site.share(Place(RUN, 2), play.members))
    refused(lambda: site.share(Place(RUN + 1, 1), play.members))
    sent = play.share()
    refused(lambda: site.share(HERE, play.members))
    refused(lambda: site.mask(HERE, play.to(1, sent).model_copy(update={"session": "f" * 32})))
    site.mask(HERE, play.to(1, sent))
    refused(lambda: site.mask(HERE, play.to(1, sent)))


def test_one_update_is_masked_in_a_round_even_when_the_sum_is_over(tmp_path: Path) -> None:
    play = Play(tmp_path, 3)
    refused(lambda: play.sites[1].keys(play.masking))
    play.mask()
    play.sites[1].sum.open(HERE, play.survivors(1, 2, 3))
    refused(lambda: play.sites[1].keys(play.masking))
    refused(lambda: play.sites[1].sum.refuse_a_second_time(HERE))
    play.sites[1].keys(play.masking, Place(RUN, 2))


def test_what_a_site_keeps_is_for_its_user_only_and_gone_when_the_sum_is_over(tmp_path: Path) -> None:
    play = Play(tmp_path, 3)
    folder = play.sites[1].folder
    known = SecretsFolder(folder).read()
    assert known is not None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {"state.json": 0o600, "contribution.bin": 0o600}
    assert (folder / "contribution.bin").stat().st_size == 4 * numbers_in_small()
    hidden = [known.seed, known.masking_private, known.sealing_private]
    play.mask()
    text = (folder / "state.json").read_text()
    assert not any(secret in text for secret in hidden)
    assert not (folder / "contribution.bin").exists()
    assert '"shares":{' in text
    play.sites[1].sum.open(HERE, play.survivors(1, 2, 3))
    assert '"shares":{}' in (folder / "state.json").read_text()
    for number in (2, 3):
        play.sites[number].sum.forget()
        assert '"shares":{}' in (play.sites[number].folder / "state.json").read_text()


def test_a_state_that_cannot_be_read_ends_the_sum_and_is_removed(tmp_path: Path) -> None:
    play = Play(tmp_path, 3)
    (play.sites[1].folder / "state.json").write_text("{ half a sta")
    refused(lambda: play.sites[1].sum.share(HERE, play.members))
    play.sites[1].sum.forget()
    assert list(play.sites[1].folder.iterdir()) == []
