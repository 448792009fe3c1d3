"""The two files of an enrolment, and the key."""

import pickle
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedliver.coordinator.certificates import make_certificates
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import EnrolmentRequest, Invitation, read_invitation, read_request, write_model
from fedliver.site.keys import ensure_site_key
from fedliver.site.policy import Policy, contract_of
from fedliver.teacher.plan import TeacherPlan

HASH = "0" * 64


def invitation(folder: Path, **changes: object) -> Path:
    certificates = make_certificates(folder / "certificates", "127.0.0.1", "Test")
    made = Invitation(
        site_name="Hospital A",
        coordinator_name="Test",
        host="127.0.0.1",
        port=1234,
        ca_certificate=certificates.ca_certificate.read_text(),
        expires=datetime.now(UTC) + timedelta(days=1),
        policy=Policy(contract=contract_of(TeacherPlan.tiny())),
        allowed_apps=(HASH,),
    )
    path = folder / "invitation.json"
    write_model(path, made.model_copy(update=changes))
    return path


def test_an_invitation_reads_back_as_it_was_written(tmp_path: Path) -> None:
    read = read_invitation(invitation(tmp_path))
    assert (read.site_name, read.address, read.allowed_apps) == ("Hospital A", "127.0.0.1:1234", (HASH,))
    assert read.policy.contract == contract_of(TeacherPlan.tiny())


class _Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.marker,))


def test_a_pickle_that_poses_as_an_invitation_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "invitation.json"
    path.write_bytes(pickle.dumps(_Bomb(marker)))
    with pytest.raises(FedLiverError) as caught:
        read_invitation(path)
    assert caught.value.code == "not-an-invitation"
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe\x00garbage", b'{"kind": "fedliver-invitation"}', b"x" * 70_000])
def test_garbage_is_not_an_invitation(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "invitation.json"
    path.write_bytes(content)
    with pytest.raises(FedLiverError, match="is not an invitation"):
        read_invitation(path)


def test_a_missing_invitation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FedLiverError, match="There is no file"):
        read_invitation(tmp_path / "nothing.json")


def test_an_expired_invitation_says_when_it_expired(tmp_path: Path) -> None:
    path = invitation(tmp_path, expires=datetime(2020, 5, 4, 3, 2, tzinfo=UTC))
    with pytest.raises(FedLiverError, match=r"expired on 04 May 2020 at 03:02 UTC.*new one") as caught:
        read_invitation(path)
    assert caught.value.code == "invitation-expired"


def test_an_invitation_with_a_broken_certificate_is_refused(tmp_path: Path) -> None:
    path = invitation(tmp_path, ca_certificate="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(FedLiverError) as caught:
        read_invitation(path)
    assert caught.value.code == "not-an-invitation"


@pytest.mark.parametrize("name", ["Hospital\nA", "a" * 61, "", "<script>", "../../etc"])
def test_a_name_that_could_do_harm_in_a_log_or_a_path_is_refused(tmp_path: Path, name: str) -> None:
    path = invitation(tmp_path, site_name=name)
    with pytest.raises(FedLiverError):
        read_invitation(path)


def test_the_key_is_p384_for_this_user_only_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "federation" / "site_key"
    public = ensure_site_key(path)
    assert public.startswith("ecdsa-sha2-nistp384 ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_site_key(path) == public
    assert b"PRIVATE" in path.read_bytes()


def test_a_file_that_is_no_key_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "site_key"
    path.write_text("my notes")
    with pytest.raises(FedLiverError, match="is not a site key"):
        ensure_site_key(path)
    assert path.read_text() == "my notes"


def test_a_request_reads_back_and_holds_no_private_key(tmp_path: Path) -> None:
    public, path = ensure_site_key(tmp_path / "key"), tmp_path / "request.json"
    write_model(path, EnrolmentRequest(invitation="0" * 32, site_name="Hospital A", public_key=public))
    assert read_request(path).public_key == public
    assert "PRIVATE" not in path.read_text()


@pytest.mark.parametrize("key", ["ssh-rsa AAAA", "no key at all", "ecdsa-sha2-nistp384 AAAA", "a\nb"])
def test_a_request_without_a_usable_key_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "request.json"
    write_model(path, EnrolmentRequest(invitation="0" * 32, site_name="Hospital A", public_key=key))
    with pytest.raises(FedLiverError) as caught:
        read_request(path)
    assert caught.value.code == "not-a-request"


def test_the_contract_depends_on_the_plan_alone() -> None:
    assert contract_of(TeacherPlan.tiny()) == contract_of(TeacherPlan.model_validate_json(TeacherPlan.tiny().model_dump_json()))
    assert contract_of(TeacherPlan.tiny()) != contract_of(TeacherPlan())
