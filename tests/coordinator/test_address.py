"""A coordinator's address: refused before anything is made where it cannot work, and changed later without losing a site."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from cryptography import x509

from fedliver.coordinator import address
from fedliver.coordinator.address import chosen_ports
from fedliver.coordinator.coordinator import Coordinator
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import read_invitation, write_model
from fedliver.site.federation import SiteFederation
from fedliver.site.processes import ProcessRecord
from tiny_site import tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("teacher") / "tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    Coordinator.create(home, host="old.example", port=8443, control_port=9000, teacher=tiny)
    return home


@pytest.fixture
def coordinator(made: Path, tmp_path: Path) -> Coordinator:
    shutil.copytree(made, tmp_path / "home")
    return Coordinator(tmp_path / "home")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_of(coordinator: Coordinator) -> list[str]:
    certificate = x509.load_pem_x509_certificate(coordinator.home.certificates.server_certificate.read_bytes())
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)


BAD_HOSTS = ["http://x.org", "a b", "", "x.org:8443", "[::1]", "krankenhaus-köln.de", "-x.org", "x..org", "10.0.0.300", "0.0.0.0", "::", "fe80::1%eth0"]  # noqa: S104
BAD: list[tuple[dict[str, object], str]] = [
    *(({"host": host}, "bad-host") for host in BAD_HOSTS),
    ({"port": 8443, "control_port": 8443}, "same-port"),
    ({"port": 8443, "proxied_port": 8443}, "same-port"),
    ({"control_port": 8443, "proxied_port": 8443}, "same-port"),
    ({"port": 70_000}, "bad-port"),
]


@pytest.mark.parametrize(("choice", "code"), [*BAD, ({"name": ""}, "bad-name"), ({"name": "Leber/Nord: Verbund"}, "bad-name")])
def test_what_can_never_work_is_refused_before_anything_is_made(tmp_path: Path, tiny: Path, choice: dict[str, object], code: str) -> None:
    with pytest.raises(FedLiverError) as caught:
        Coordinator.create(tmp_path / "home", teacher=tiny, **{"host": "x.org", **choice})  # type: ignore[arg-type]
    assert caught.value.code == code
    assert caught.value.sentence.endswith(".")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("choice", "code"), BAD)
def test_a_change_to_what_can_never_work_is_refused_and_nothing_is_written(coordinator: Coordinator, choice: dict[str, object], code: str) -> None:
    before = contents(coordinator.home.path)
    with pytest.raises(FedLiverError) as caught:
        coordinator.change(**choice)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert contents(coordinator.home.path) == before


@pytest.mark.parametrize("host", ["x", "x.org", "X-1.example.org", "x.org.", "10.1.2.3", "fd00::1", "localhost", "127.0.0.1", "4.hospital.example"])
def test_an_address_that_can_work_is_taken_and_an_invitation_carries_it(coordinator: Coordinator, tmp_path: Path, host: str) -> None:
    assert coordinator.change(host=host).settings.host == host
    coordinator.invite("Hospital A", tmp_path / "a.json")
    assert read_invitation(tmp_path / "a.json").host == host


def test_a_coordinator_of_before_with_an_impossible_host_is_told_so_when_it_invites(coordinator: Coordinator, tmp_path: Path) -> None:
    file = coordinator.home.settings_file
    file.write_text(file.read_text().replace("old.example", "http://old.example"))
    with pytest.raises(FedLiverError, match=r"coordinator\.json cannot be read \(host"):
        coordinator.invite("Hospital A", tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_an_invitation_to_what_is_no_address_is_refused_at_the_site_too(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.invite("Hospital A", tmp_path / "a.json")
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text().replace("old.example", "old.example:8443"))
    with pytest.raises(FedLiverError) as caught:
        read_invitation(tmp_path / "a.json")
    assert caught.value.code == "not-an-invitation"


def test_a_changed_address_keeps_the_authority_the_sites_and_the_models_and_says_who_must_be_invited_again(coordinator: Coordinator, tmp_path: Path) -> None:
    for name in "ab":
        coordinator.invite(f"Hospital {name}", tmp_path / f"{name}.json")
    request = SiteFederation(tmp_path / "a").enrol(tmp_path / "a.json")
    coordinator.approve(request)
    before = contents(coordinator.home.path)
    changed = coordinator.change(host="new.example", port=8500)
    assert changed.old_address == ("Hospital a", "Hospital b")
    assert (changed.settings.host, changed.settings.port, changed.settings.control_port) == ("new.example", 8500, 9000)
    assert coordinator.home.settings() == changed.settings
    assert "new.example" in names_of(coordinator)
    after = contents(coordinator.home.path)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"coordinator.json", "certificates/server.pem"}

    coordinator.invite("Hospital a", tmp_path / "anew.json")
    site = SiteFederation(tmp_path / "a")
    key = site.files.key.read_bytes()
    again = site.enrol(tmp_path / "anew.json")
    assert site.files.key.read_bytes() == key, "it is approved by this key, and stays so"
    assert coordinator.approve(again) == coordinator.home.sites().sites[0]
    assert [found.name for found in coordinator.home.sites().sites] == ["Hospital a"]


def test_an_expired_invitation_asks_for_no_new_one(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.invite("Hospital A", tmp_path / "a.json")
    sites = coordinator.home.sites()
    late = tuple(invitation.model_copy(update={"expires": datetime.now(UTC)}) for invitation in sites.invitations)
    coordinator.home.save_sites(sites.model_copy(update={"invitations": late}))
    assert coordinator.change(port=8500).old_address == ()


def test_other_ports_behind_the_same_address_are_no_matter_for_the_sites_nor_for_the_certificate(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.invite("Hospital A", tmp_path / "a.json")
    certificate = coordinator.home.certificates.server_certificate.read_bytes()
    assert coordinator.change(control_port=9001, proxied_port=8444).old_address == ()
    assert coordinator.home.settings().proxied_port == 8444
    assert coordinator.change(proxied_port=0).settings.proxied_port is None
    assert coordinator.home.settings().control_port == 9001
    assert coordinator.home.certificates.server_certificate.read_bytes() == certificate


def test_the_same_host_renews_the_certificate_and_sends_nobody_a_new_invitation(coordinator: Coordinator, tmp_path: Path) -> None:
    coordinator.invite("Hospital A", tmp_path / "a.json")
    certificate = coordinator.home.certificates.server_certificate.read_bytes()
    assert coordinator.change(host="old.example").old_address == ()
    assert coordinator.home.certificates.server_certificate.read_bytes() != certificate


def test_a_started_coordinator_is_not_changed(coordinator: Coordinator) -> None:
    mine = ProcessRecord(role="SuperLink", pid=os.getpid(), started=psutil.Process().create_time())
    write_model(coordinator.home.record("superlink"), mine)
    before = contents(coordinator.home.path)
    with pytest.raises(FedLiverError, match="stop it first") as caught:
        coordinator.change(host="new.example")
    assert caught.value.code == "coordinator-started"
    assert contents(coordinator.home.path) == before


def test_a_change_of_nothing_says_what_can_be_changed(coordinator: Coordinator) -> None:
    with pytest.raises(FedLiverError, match="give --host") as caught:
        coordinator.change()
    assert caught.value.code == "nothing-to-change"


def test_a_coordinator_whose_authority_is_gone_keeps_its_address(coordinator: Coordinator) -> None:
    coordinator.home.certificates.ca_key.unlink()
    before = contents(coordinator.home.path)
    with pytest.raises(FedLiverError, match="restore them from a backup"):
        coordinator.change(host="new.example")
    assert contents(coordinator.home.path) == before


def test_a_port_that_is_picked_is_none_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([8444, 9000, 9000, 9001])
    monkeypatch.setattr(address, "free_port", lambda: next(free))
    assert chosen_ports(0, 0, 8444) == {"port": 9000, "control_port": 9001, "proxied_port": 8444}
