"""Everything that can be wrong at Join is said before a process is started."""

from pathlib import Path

import pytest
from test_connection import server
from test_enrolment import invitation

from fedliver.coordinator.certificates import make_certificates
from fedliver.errors import FedLiverError
from fedliver.site.egress import PatientCount
from fedliver.site.enrolment import read_invitation, write_model
from fedliver.site.federation import SiteFederation, free_port, why_refused
from fedliver.site.link import Link
from fedliver.site.rules import PrivacyMinimums
from fedliver.training.settings import ConsistencySettings, TrainingSettings


def site(home: Path, patients: int = 2, unlabelled: int = 0) -> SiteFederation:
    return SiteFederation(home, patients=lambda _: PatientCount(patients, 0, unlabelled))


def refused(site: SiteFederation) -> FedLiverError:
    with pytest.raises(FedLiverError) as caught:
        site.join()
    assert not any(record.exists() for record in site.files.records)
    assert not site.files.node_log.exists()
    return caught.value


def test_without_an_invitation_nothing_can_be_joined(tmp_path: Path) -> None:
    assert refused(site(tmp_path)).code == "not-enrolled"
    assert site(tmp_path).status().link is Link.STOPPED


def test_without_an_approved_case_nothing_is_started(tmp_path: Path) -> None:
    empty = site(tmp_path / "home", patients=0)
    empty.enrol(invitation(tmp_path))
    error = refused(empty)
    assert error.code == "no-approved-case"
    assert "approve at least one" in error.sentence


def test_scans_without_approval_let_a_site_join_only_where_the_policy_that_it_accepted_learns_from_them(tmp_path: Path) -> None:
    supervised = site(tmp_path / "home", patients=0, unlabelled=3)
    supervised.enrol(invitation(tmp_path))
    assert refused(supervised).code == "no-approved-case"
    invited = read_invitation(invitation(tmp_path))
    settings = TrainingSettings(consistency=ConsistencySettings(), average_decay=0.9)
    learning = invited.model_copy(update={"policy": invited.policy.model_copy(update={"training": settings})})
    write_model(tmp_path / "learning.fedliver-invitation", learning)
    supervised.enrol(tmp_path / "learning.fedliver-invitation")
    assert supervised.policy().learns_from_unlabelled
    assert refused(supervised).code not in ("no-approved-case", "too-few-cases")


def test_a_site_with_the_cases_of_a_single_patient_is_told_so_before_anything_is_started(tmp_path: Path) -> None:
    small = site(tmp_path / "home", patients=1)
    small.enrol(invitation(tmp_path))
    error = refused(small)
    assert error.code == "too-few-cases"
    assert "1 patient's cases" in error.sentence


def test_rules_that_cannot_be_read_keep_a_site_from_joining(tmp_path: Path) -> None:
    ruled = site(tmp_path / "home")
    ruled.enrol(invitation(tmp_path))
    (tmp_path / "home" / "egress.json").write_text("{")
    assert refused(ruled).code == "rules-unreadable"


def test_a_policy_that_asks_more_makes_the_sites_rules_stricter(tmp_path: Path) -> None:
    ruled = site(tmp_path / "home", patients=4)
    invited = read_invitation(invitation(tmp_path))
    stricter = invited.policy.model_copy(update={"privacy": PrivacyMinimums(minimum_cases=5)})
    write_model(tmp_path / "strict.json", invited.model_copy(update={"policy": stricter}))
    ruled.enrol(tmp_path / "strict.json")
    assert ruled.rules().minimum_cases == 5
    assert refused(ruled).code == "too-few-cases"


def test_the_real_case_store_of_a_new_site_has_no_approved_case(tmp_path: Path) -> None:
    new = SiteFederation(tmp_path / "home")
    new.enrol(invitation(tmp_path))
    assert refused(new).code == "no-approved-case"


def test_a_coordinator_that_is_not_there_is_said(tmp_path: Path) -> None:
    lonely = site(tmp_path / "home")
    lonely.enrol(invitation(tmp_path, port=free_port()))
    assert refused(lonely).code == "port-closed"


def test_a_coordinator_with_another_ca_is_said(tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other", "127.0.0.1", "Other")
    with server(other) as port:
        deceived = site(tmp_path / "home")
        deceived.enrol(invitation(tmp_path, port=port))
        assert refused(deceived).code == "wrong-ca"


def test_enrolling_keeps_the_key_and_writes_the_request_where_asked(tmp_path: Path) -> None:
    enrolled = site(tmp_path / "home")
    request = enrolled.enrol(invitation(tmp_path), tmp_path / "out" / "request.json")
    key = enrolled.files.key.read_bytes()
    assert request == tmp_path / "out" / "request.json"
    assert enrolled.enrol(invitation(tmp_path)) == enrolled.files.request
    assert enrolled.files.key.read_bytes() == key
    assert enrolled.status().site_name == "Hospital A"


def test_what_a_masked_sum_left_behind_is_gone_when_a_site_enrols_anew(tmp_path: Path) -> None:
    enrolled = site(tmp_path / "home")
    enrolled.enrol(invitation(tmp_path))
    enrolled.files.masked_round.mkdir()
    (enrolled.files.masked_round / "state.json").write_text("secrets of a round in which the machine went down")
    enrolled.enrol(invitation(tmp_path))
    assert not enrolled.files.masked_round.exists()


def test_leaving_without_having_joined_is_harmless(tmp_path: Path) -> None:
    enrolled = site(tmp_path / "home")
    enrolled.enrol(invitation(tmp_path))
    enrolled.leave()
    assert enrolled.status().enrolled
    assert not enrolled.status().joined
    assert not enrolled.files.stop.exists(), "the next training would stop at once"


def test_candidates_are_in_the_order_of_their_rounds_and_another_federations_are_removed(tmp_path: Path) -> None:
    enrolled = site(tmp_path / "home")
    enrolled.enrol(invitation(tmp_path / "one"))
    for name in ("round-1000", "round-999", "round-002", "round-x", ".part-round-5"):
        (enrolled.files.candidates / name).mkdir(parents=True)
    enrolled.enrol(tmp_path / "one" / "invitation.json")
    assert [path.name for path in enrolled.candidates()] == ["round-002", "round-999", "round-1000"]
    enrolled.enrol(invitation(tmp_path / "two"))
    assert enrolled.candidates() == []


@pytest.mark.parametrize(
    ("answer", "accepted_before", "waited", "code"),
    [
        ("unknown", False, False, "refused-key"),
        ("unknown", True, False, "refused-key"),  # revoked meanwhile
        ("known", True, False, ""),  # it ended abruptly, and the coordinator has not noticed yet
        ("error", True, False, ""),
        ("known", True, True, "joined-elsewhere"),
        ("known", False, False, "joined-elsewhere"),  # a copy of a site that has joined
        ("error", False, False, "refused-key"),
    ],
)
def test_a_refused_node_is_told_why_or_tries_again(answer: str, accepted_before: bool, waited: bool, code: str) -> None:
    why = why_refused(answer, accepted_before, waited)
    assert (why.code if why else "") == code
    if code == "joined-elsewhere":
        assert why is not None
        assert "leave there first" in why.sentence
