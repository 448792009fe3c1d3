"""Where things lie in a coordinator's home, and the small files that say how it is set up."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from fedliver.coordinator.certificates import CertificateFiles
from fedliver.coordinator.records import Settings, Sites
from fedliver.errors import FedLiverError
from fedliver.site.enrolment import write_model

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class CoordinatorHome:
    """The coordinator's folder."""

    path: Path

    def keep_private(self) -> None:
        """For its owner's eyes only: Flower's database holds single sites' updates for a while. Homes from before are brought into line."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(PermissionError):  # another account's, as in a container: its mode is that account's affair
            self.path.chmod(0o700)

    @property
    def sites_lock(self) -> Path:
        """Held while the list of sites is changed."""
        return self.path / "sites.lock"

    @property
    def settings_file(self) -> Path:
        return self.path / "coordinator.json"

    @property
    def policy_file(self) -> Path:
        return self.path / "policy.json"

    @property
    def sites_file(self) -> Path:
        return self.path / "sites.json"

    @property
    def certificates(self) -> CertificateFiles:
        return CertificateFiles(self.path / "certificates")

    @property
    def database(self) -> Path:
        return self.path / "state.db"

    @property
    def app(self) -> Path:
        return self.path / "app" / "fedliver-app"

    @property
    def flower(self) -> Path:
        return self.path / "flower"

    @property
    def executor_secret(self) -> Path:
        return self.path / "run" / "executor.secret"

    @property
    def teachers(self) -> Path:
        """``teachers/round-NNN``: the global models as bundles; ``round-000`` is the one the federation began with."""
        return self.path / "teachers"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def scratch(self) -> Path:
        """Where a round's updates wait, for the strategies that need all of them at once."""
        return self.path / "scratch"

    @property
    def rounds_file(self) -> Path:
        return self.path / "rounds.jsonl"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def record(self, name: str) -> Path:
        return self.path / "run" / f"{name}.json"

    def job(self, job: str) -> Path:
        return self.path / "jobs" / job

    def server_app(self, job: str) -> Path:
        """The record of the job's ServerApp, which it writes itself."""
        return self.job(job) / "server-app.json"

    def settings(self) -> Settings:
        """The settings with the policy as it is now in ``policy.json``, which a person may edit.

        Raises
        ------
        FedLiverError
            ``no-coordinator`` or ``damaged-settings``.
        """
        if not self.settings_file.is_file():
            raise FedLiverError("no-coordinator", f"There is no coordinator in {self.path}: make one with 'fedliver coordinator init'.")
        settings = _read(self.settings_file, Settings)
        policy = _read(self.policy_file, type(settings.policy))
        if policy.contract != settings.policy.contract:
            raise FedLiverError(
                "damaged-settings", "policy.json asks for another network than this federation began with: put its contract back, or init a new coordinator."
            )
        return settings.model_copy(update={"policy": policy})

    def sites(self) -> Sites:
        """The approved sites (``damaged-settings``)."""
        return _read(self.sites_file, Sites) if self.sites_file.is_file() else Sites()

    def save_sites(self, sites: Sites) -> None:
        write_model(self.sites_file, sites)

    def teacher_of(self, number: int) -> Path:
        return self.teachers / f"round-{number:03d}"


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        detail = ""
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = [".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")]
            detail = f" ({': '.join(filter(None, where))})"
        raise FedLiverError("damaged-settings", f"{path} cannot be read{detail}: correct it or restore it from a backup.") from error
