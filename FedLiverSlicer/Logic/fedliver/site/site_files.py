"""Where things lie in a site's home."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SiteFiles:
    """Where things lie in a site's home. Everything of the federation is under ``federation/``."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "federation"

    @property
    def ledger(self) -> Path:
        """The folder of the ledger: it outlives every federation, so it is beside theirs."""
        return self.home / "ledger"

    @property
    def student(self) -> Path:
        """The optimiser and the Mean Teacher of the last round, for the next one to go on from."""
        return self.folder / "student.pt"

    @property
    def invitation(self) -> Path:
        return self.folder / "invitation.json"

    @property
    def request(self) -> Path:
        return self.folder / "enrolment-request.json"

    @property
    def key(self) -> Path:
        return self.folder / "site_key"

    @property
    def accepted(self) -> Path:
        """There since the coordinator first accepted this site's key; gone when the site enrols anew."""
        return self.folder / "run" / "accepted"

    @property
    def ca_certificate(self) -> Path:
        return self.folder / "coordinator-ca.pem"

    @property
    def stop(self) -> Path:
        """While this file exists, training stops within one step."""
        return self.folder / "stop"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def candidates(self) -> Path:
        """``candidates/round-NNN``: the global models that arrived, as bundles, newest last."""
        return self.folder / "candidates"

    @property
    def rounding(self) -> Path:
        """What rounding took away from the last update, for the next one."""
        return self.folder / "rounding.npz"

    @property
    def masked_round(self) -> Path:
        """The folder of what must be remembered between the steps of a masked sum (``federation/secure/round_secrets.py``)."""
        return self.folder / "masked-round"

    @property
    def node_log(self) -> Path:
        return self.folder / "logs" / "supernode.log"

    @property
    def executor_log(self) -> Path:
        return self.folder / "logs" / "superexec.log"

    @property
    def programs(self) -> Path:
        """The folder of the programs that the SuperExec starts in the place of Flower's (``site/launchers.py``)."""
        return self.folder / "run" / "bin"

    @property
    def warm_unable(self) -> Path:
        """There once the warm process had to give up; says why."""
        return self.folder / "run" / "warm.unable"

    @property
    def records(self) -> tuple[Path, Path]:
        """The process records: the executor first, so that no new ClientApp starts while the rest ends."""
        return self.folder / "run" / "superexec.json", self.folder / "run" / "supernode.json"
