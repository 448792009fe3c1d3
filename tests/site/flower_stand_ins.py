"""A site whose Flower programs are stand-ins, and a coordinator that only says that it is there. For tests."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from test_connection import server
from test_enrolment import invitation

from fedliver.coordinator.certificates import make_certificates
from fedliver.site.egress import PatientCount
from fedliver.site.federation import SiteFederation
from fedliver.site.launchers import CLIENT_APPS_ONLY, SUPER_EXEC, SUPER_NODE
from fedliver.site.processes import processes_of, read_record
from fedliver.site.reach import PROBE

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PYTHON = f"""case "$*" in
    *{PROBE}*) echo '{{"key": "known"}}';;
    *{SUPER_EXEC}*) echo '{CLIENT_APPS_ONLY}'; exec sleep 300;;
    *{SUPER_NODE}*) exec "$(dirname "$0")/flower-supernode";;
    *) exec '{sys.executable}' "$@";;
esac"""
"""A Python whose coordinator knows the site's key, whose SuperExec waits for nothing, and whose SuperNode is the ``flower-supernode`` beside it."""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def enough(_: Path) -> PatientCount:
    return PatientCount(3, 1)


@contextlib.contextmanager
def enrolled_site(folder: Path, patients: Callable[[Path], PatientCount] = enough, answer: Callable[[], bytes] = lambda: WELL) -> Iterator[SiteFederation]:
    """A site in ``folder/home`` that has enrolled, and whose coordinator says ``answer()`` to everything; whatever runs there at the end is ended."""
    certificates = make_certificates(folder / "coordinator", "127.0.0.1", "C")
    with server(certificates, answer) as port:
        site = SiteFederation(folder / "home", patients)
        site.enrol(invitation(folder, port=port, ca_certificate=certificates.ca_certificate.read_text()))
        try:
            yield site
        finally:
            for process in running(site):
                process.kill()


def running(site: SiteFederation) -> list[psutil.Process]:
    """Every process that works in the site's folder, whether or not a record names it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(site.files.home):
                found.append(process)
    return found


def recorded(site: SiteFederation) -> set[int]:
    return {process.pid for record in site.files.records for process in processes_of(read_record(record))}


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"within {seconds:.0f} s: {what}"
        time.sleep(0.02)
