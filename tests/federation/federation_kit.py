"""A small federation for tests: tiny network, generated patients, everything on loopback."""

import hashlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from flwr.app import Context, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.app.metadata import Metadata

from fedliver.coordinator.certificates import make_certificates
from fedliver.federation.messages import TRAIN
from fedliver.site.enrolment import Invitation, write_model
from fedliver.site.federation import SiteFiles
from fedliver.site.policy import Policy, contract_of
from fedliver.teacher.plan import TeacherPlan
from fedliver.training.settings import TrainingSettings
from tiny_site import add_scans, approve_patients, tiny_bundle

__all__ = ["add_scans", "approve_patients", "tiny_bundle"]

TRAINING = TrainingSettings(steps=3, augment=False, learning_rate=1e-2)


def enrolled_home(home: Path, plan: TeacherPlan, app: bytes = b"", **policy: object) -> Path:
    """A site's folder with the invitation that it accepted, to train as ``TRAINING`` unless the policy says otherwise, and nothing else."""
    ca = make_certificates(home / "certificates", "127.0.0.1", "C").ca_certificate.read_text()
    invitation = Invitation(
        site_name="A",
        coordinator_name="C",
        host="127.0.0.1",
        port=1,
        ca_certificate=ca,
        expires=datetime.now(UTC) + timedelta(days=1),
        policy=Policy.model_validate({"contract": contract_of(plan), "training": TRAINING.model_dump(), **policy}),
        allowed_apps=(hashlib.sha256(app).hexdigest(),),
    )
    write_model(SiteFiles(home).invitation, invitation)
    return home


def message(content: RecordDict, kind: str = TRAIN) -> Message:
    """A message as a SuperNode hands it to a ClientApp."""
    moment = datetime.now(UTC).timestamp()
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="", group_id="1", created_at=moment, ttl=60, message_type=kind
    )
    return make_message(metadata=metadata, content=content)


def context(home: Path) -> Context:
    """A ClientApp's context at the site in ``home``."""
    return Context(run_id=1, node_id=2, node_config={"home": str(home)}, state=RecordDict(), run_config={})


def as_another_user(work: Callable[[], int]) -> int:
    """Do ``work`` in a child process of the user "nobody" and give back its small answer. For root only."""
    child = os.fork()
    if child == 0:
        answer = 255
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            answer = work()
        finally:
            os._exit(answer)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def processes_under(folder: Path) -> list[str]:
    """Every running process that works in, or was told of, anything under ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline()]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in word for word in words):
                found.append(f"{process.pid} {' '.join(words[1:])[:200]}")
        except psutil.Error:
            continue
    return found
