"""A coordinator that answers "go there" has nothing of a site's brought anywhere."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flower_stand_ins import WELL, enrolled_site, running
from test_connection import listening

from fedliver.errors import FedLiverError
from fedliver.federation import super_node
from fedliver.site.federation import SiteFederation
from fedliver.site.reach import probe


@dataclass
class Elsewhere:
    """A machine that no site was told to speak with, in plain text, and a coordinator's answer that names it."""

    port: int = 0
    visits: list[bytes] = field(default_factory=list)

    def go_there(self) -> bytes:
        return f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{self.port}/inside\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()

    def welcome(self, connection: socket.socket) -> None:
        self.visits.append(connection.recv(4096))
        connection.sendall(WELL)


@contextlib.contextmanager
def site_whose_coordinator_says(folder: Path, elsewhere: Elsewhere, after: int) -> Iterator[SiteFederation]:
    """An enrolled site; its coordinator answers well ``after`` times, and from then on with a redirect."""
    answers = iter([WELL] * after)
    with listening("127.0.0.1", elsewhere.welcome) as elsewhere.port, enrolled_site(folder, answer=lambda: next(answers, elsewhere.go_there())) as site:
        yield site


@pytest.mark.processes
def test_a_site_that_is_told_to_go_elsewhere_does_not_go_and_its_join_fails_in_words(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    with site_whose_coordinator_says(tmp_path, elsewhere, after=1) as site:
        with pytest.raises(FedLiverError, match="did not answer as expected"):
            site.join()
        assert "307 Temporary Redirect" in site.files.node_log.read_text(), "it was asked to go, and said why it ended"
        assert running(site) == []
    assert elsewhere.visits == []


def test_a_key_is_shown_to_the_coordinator_and_to_nobody_whom_it_names(tmp_path: Path) -> None:
    elsewhere = Elsewhere()
    with site_whose_coordinator_says(tmp_path, elsewhere, after=0) as site:
        assert probe(site.files.home) == "error"
    assert elsewhere.visits == []


def test_a_flower_that_makes_its_requests_in_another_way_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    client = type("ProtobufClient", (), {})
    monkeypatch.setattr(super_node, "of_flower", lambda module, name: client)
    super_node.refuse_redirects()
    with pytest.raises(SystemExit, match="makes its requests in another way"):
        client()
