"""The coordinator's long-running processes: a SuperLink and its SuperExec, and the ``flwr`` command that speaks to them."""

import json
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Settings
from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.site.connection import check_connection
from fedliver.site.environment import flower_variables, program
from fedliver.site.keys import write_secret
from fedliver.site.processes import end_processes, is_alive, read_record, start_process

FRONT = "fedliver.federation.front"
CONTROL_ADDRESS = "FEDLIVER_CONTROL_ADDRESS"
"""How the front is told of the coordinator's own door. It imports flwr, and so cannot be imported here."""
_CONNECTION = "fedliver"
_START_SECONDS = 120.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class SuperLink:
    """Starts, watches and ends the SuperLink of one home.

    It has two doors: ``settings.port`` (or the proxied one) for the sites, which knows the Fleet API alone, and ``settings.control_port`` on loopback for this
    machine's own commands, which opens to this operating-system user alone (``federation.front``).

    The SuperExec runs beside it (``--isolation process``): a run then survives a SuperLink that dies and is started again. Both hold a secret, so no other
    SuperExec can take the ServerApp's task.
    """

    def __init__(self, home: CoordinatorHome, python: Path) -> None:
        self._home = home
        self._python = python

    @property
    def records(self) -> tuple[Path, Path]:
        return self._home.record("superexec"), self._home.record("superlink")

    @property
    def running(self) -> bool:
        return all(is_alive(read_record(path)) for path in self.records)

    def start(self, settings: Settings) -> None:
        """Start both and wait until the SuperLink answers over TLS.

        Raises
        ------
        FedLiverError
            ``already-started``, ``port-in-use`` or ``start-failed``. Nothing is left running.
        """
        if self.running:
            raise FedLiverError("already-started", "The coordinator is started already: see 'fedliver coordinator status'.")
        end_processes(self.records)
        self._check_ports(settings)
        self._write_connection(settings)
        try:
            self._start(settings)
            self._wait_until_up(settings)
        except BaseException:
            end_processes(self.records)
            raise

    def flwr(self, *arguments: str, timeout: float = 120.0) -> dict[str, Any]:
        """Run ``flwr ARGUMENTS --format json`` against this SuperLink and return its answer.

        Raises
        ------
        FedLiverError
            ``coordinator-not-started`` or ``flower-refused``.
        """
        if not self.running:
            raise FedLiverError("coordinator-not-started", "The coordinator is not started: start it with 'fedliver coordinator start'.")
        command: list[str | Path] = [program(self._python, "flwr"), *arguments, "--format", "json"]
        try:
            done = subprocess.run(
                command, cwd=self._home.path, env=self.variables(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
            )
            answer = json.loads(done.stdout[done.stdout.index("{") :])
        except subprocess.TimeoutExpired as error:
            raise FedLiverError("flower-refused", "The SuperLink did not answer in time: look into logs/superlink.log.") from error
        except ValueError as error:
            raise FedLiverError("flower-refused", f"The SuperLink did not do what was asked ({arguments[0]}): look into logs/superlink.log.") from error
        if done.returncode or not answer.get("success"):
            reason = str(answer.get("error-message", "no reason given"))[:300]
            raise FedLiverError("flower-refused", f"The SuperLink refused ({arguments[0]}): {reason}")
        return answer

    def run_command(self, job: str) -> list[str | Path]:
        """The ``flwr run`` that starts a run and ends with it."""
        return [program(self._python, "flwr"), "run", self._home.app, _CONNECTION, "--stream", "--run-config", f'job="{job}"']

    def register(self, name: str, public_key: str) -> int:
        """Make a site's key known to the SuperLink; its node's number."""
        key_file = self._home.path / "run" / f"registering-{secrets.token_hex(8)}.pub"
        write_text(key_file, public_key + "\n")
        try:
            return int(self.flwr("supernode", "register", str(key_file), _CONNECTION, "--name", name)["node-id"])
        finally:
            key_file.unlink(missing_ok=True)

    def unregister(self, node_id: int) -> None:
        """Make the SuperLink forget a site's key: it refuses the node's next request, and the node ends."""
        self.flwr("supernode", "unregister", str(node_id), _CONNECTION)

    def nodes(self) -> dict[int, str]:
        """Each registered node's number and its status in Flower's words (``online``, ``offline``, ...)."""
        answer = self.flwr("supernode", "list", _CONNECTION)
        return {int(node["node-id"]): str(node["status"]) for node in answer.get("nodes", [])}

    def variables(self) -> dict[str, str]:
        """The environment of every process of this coordinator."""
        return {**flower_variables(self._python, self._home.flower), "FEDLIVER_COORDINATOR_HOME": str(self._home.path)}

    def _start(self, settings: Settings) -> None:
        home, certificates = self._home, self._home.certificates
        home.keep_private()
        write_secret(home.executor_secret, secrets.token_bytes(32))
        host, port = sites_door(settings)
        program(self._python, "flower-superlink")  # says in words if Flower is not there
        superlink: list[str | Path] = [self._python, "-m", FRONT, "--host", host, "--port", str(port)]
        superlink += [
            "--ssl-ca-certfile",
            certificates.ca_certificate,
            "--ssl-certfile",
            certificates.server_certificate,
            "--ssl-keyfile",
            certificates.server_key,
        ]
        superlink += ["--enable-supernode-auth", "--disable-runtime-dependency-installation", "--database", home.database]
        superlink += ["--isolation", "process", "--superexec-auth-secret-file", home.executor_secret]
        executor: list[str | Path] = [
            program(self._python, "flower-superexec"),
            "--runtime-api-address",
            local_address(settings),
            "--root-certificates",
            certificates.ca_certificate,
        ]
        executor += ["--superexec-auth-secret-file", home.executor_secret]
        executor_record, superlink_record = self.records
        variables = self.variables()
        doors = {**variables, CONTROL_ADDRESS: local_address(settings)}
        start_process(superlink, role="SuperLink", environment=doors, log=home.log("superlink"), record=superlink_record, folder=home.path)
        start_process(executor, role="SuperExec", environment=variables, log=home.log("superexec"), record=executor_record, folder=home.path)

    def _wait_until_up(self, settings: Settings) -> None:
        ca_certificate = self._home.certificates.ca_certificate.read_text()
        end = time.monotonic() + _START_SECONDS
        host, _, port = local_address(settings).rpartition(":")
        while time.monotonic() < end and self.running:
            try:
                check_connection(host, int(port), ca_certificate, timeout=2.0)
                return
            except FedLiverError as error:
                if error.code not in ("port-closed", "connection"):
                    raise
            time.sleep(0.1)
        raise FedLiverError("start-failed", f"The SuperLink did not start. Its log says why: {self._home.log('superlink')}")

    def _check_ports(self, settings: Settings) -> None:
        option = "--port" if settings.proxied_port is None else "--proxied-port"
        for (host, port), choice in ((sites_door(settings), option), (own_door(settings), "--control-port")):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    raise FedLiverError(
                        "port-in-use",
                        f"Port {port} is in use by another program: end that program, or choose another port with 'fedliver coordinator change {choice}'.",
                    ) from error

    def _write_connection(self, settings: Settings) -> None:
        certificate = json.dumps(str(self._home.certificates.ca_certificate), ensure_ascii=False)
        write_text(
            self._home.flower / "config.toml",
            f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\naddress = "{local_address(settings)}"\nroot-certificates = {certificate}\n',
        )


def bind_address(host: str) -> str:
    """Loopback stays loopback; for any other address the SuperLink listens on every interface."""
    if host in _LOOPBACK:
        return "127.0.0.1" if host == "localhost" else host
    return "::" if ":" in host else "0.0.0.0"  # noqa: S104 sites come in from outside; TLS and node keys guard the port


def sites_door(settings: Settings) -> tuple[str, int]:
    """Host and port on which the SuperLink listens for the sites, or for the reverse proxy that brings their requests."""
    if settings.proxied_port is not None:
        return "127.0.0.1", settings.proxied_port
    return bind_address(settings.host), settings.port


def own_door(settings: Settings) -> tuple[str, int]:
    """Host and port on which it listens for this machine's own commands."""
    return "127.0.0.1", settings.control_port


def local_address(settings: Settings) -> str:
    """Where this machine's own commands reach the SuperLink; the server's certificate names loopback too."""
    host, port = own_door(settings)
    return f"{host}:{port}"
