"""The connection test goes step by step and stops at the first that fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
from test_connection import http_answer, server
from test_enrolment import invitation

from fedliver import __version__
from fedliver.coordinator.certificates import make_certificates
from fedliver.site.enrolment import read_invitation
from fedliver.site.federation import free_port
from fedliver.site.reach import examine_connection

NAMES = ["Way", "Port", "Certificate", "Coordinator and clock", "Version", "Key"]


def steps(folder: Path, answer: Callable[[], bytes] | None = None, key: str = "known", **changes: object) -> list:
    files = make_certificates(folder / "server", "127.0.0.1", "Test")
    with server(files, answer or http_answer(fedliver_version=__version__)) as port:
        facts = {"port": port, "ca_certificate": files.ca_certificate.read_text()} | changes
        invited = read_invitation(invitation(folder)).model_copy(update=facts)
        return list(examine_connection(folder, invited, lambda _: key))


def test_a_coordinator_that_is_well_passes_every_step(tmp_path: Path) -> None:
    found = steps(tmp_path)
    assert [step.name for step in found] == NAMES
    assert all(step.ok for step in found), found


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"host": "coordinator.invalid"}, "Way", "cannot be resolved"),
        ({"port": None}, "Port", "No coordinator answers"),
        ({"ca_certificate": None}, "Certificate", "does not hold a certificate of the coordinator"),
        ({"answer": http_answer("502 Bad Gateway")}, "Coordinator and clock", "reverse proxy"),
        ({"answer": http_answer(seconds_ago=3600, fedliver_version=__version__)}, "Coordinator and clock", "60 minutes ahead"),
        ({"answer": http_answer(fedliver_version="99.0")}, "Version", "fedliver 99.0 and this site"),
        ({"key": "unknown"}, "Key", "does not know this site's key"),
        ({"key": "signature"}, "Key", "refused this site's signature"),
        ({"key": "error"}, "Key", "did not answer as expected"),
    ],
)
def test_the_first_step_that_fails_is_the_last_and_says_why(tmp_path: Path, changes: dict, name: str, words: str) -> None:
    if "port" in changes:
        changes = {"port": free_port()}
    if "ca_certificate" in changes:
        changes = {"ca_certificate": make_certificates(tmp_path / "other", "127.0.0.1", "Other").ca_certificate.read_text()}
    found = steps(tmp_path, **changes)
    assert [step.ok for step in found] == [True] * (len(found) - 1) + [False]
    assert found[-1].name == name
    assert words in found[-1].sentence
