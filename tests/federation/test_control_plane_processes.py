"""What a site can do with the coordinator's address, its certificate and its own key, against a real SuperLink: take part, and nothing else.

One story, in order. Hospital A is approved and joins; Hospital B is approved and stays at home; X holds the certificate and a key that nobody approved.
"""

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from federation_kit import TRAINING, approve_patients, as_another_user, processes_under, tiny_bundle, wait_until
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest, RegisterNodeFleetRequest
from flwr.proto.message_pb2 import Message, Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.superlink.routers.control import router as control_router
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedliver.coordinator.coordinator import Coordinator
from fedliver.coordinator.deployment import nginx
from fedliver.coordinator.superlink import SuperLink
from fedliver.errors import FedLiverError
from fedliver.site.environment import find_python, flower_variables, program
from fedliver.site.federation import SiteFederation, free_port
from fedliver.site.link import Link
from fedliver.site.rules import changed_rules

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1200), pytest.mark.xdist_group("federation")]

NGINX = os.environ.get("FEDLIVER_NGINX") or shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
HARVESTED = ["/v1/runtime/pull-messages", "/v1/runtime/get-nodes", "/v1/runtime/create-task", "/v1/runtime/acquire-task", "/docs", "/openapi.json"]


@dataclass
class World:
    root: Path
    coordinator: Coordinator
    a: SiteFederation
    b: SiteFederation
    x: SiteFederation

    @property
    def ca(self) -> str:
        return self.coordinator.home.certificates.ca_certificate.read_text()

    def client_of(self, site: SiteFederation) -> tuple[FleetHttpClient, bytes]:
        """A hand-made client that signs with a site's own key, and that key's public half."""
        key = serialization.load_ssh_private_key(site.files.key.read_bytes(), password=None)
        address = f"127.0.0.1:{self.coordinator.home.settings().port}"
        made = FleetHttpClient.from_server_address(address, False, self.ca.encode(), [NodeAuthHttpInterceptor(key, key.public_key())])  # type: ignore[arg-type]
        return made, public_key_to_bytes(key.public_key())  # type: ignore[arg-type]

    def node_of(self, name: str) -> int:
        site = self.coordinator.home.sites().named(name)
        assert site is not None
        assert site.node_id is not None
        return site.node_id


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("control")
    first = tiny_bundle(root / "tiny")
    coordinator = Coordinator.create(root / "C", host="127.0.0.1", teacher=first, policy=lambda policy: policy.model_copy(update={"training": TRAINING}))
    sites = {}
    for name in "ABX":
        coordinator.invite(f"Hospital {name}", root / f"{name}.json")
        sites[name] = SiteFederation(root / name)
        request = sites[name].enrol(root / f"{name}.json")
        if name != "X":
            coordinator.approve(request)
    approve_patients(root / "A", (1,))
    changed_rules(root / "A", minimum_cases=1)
    with contextlib.ExitStack() as at_the_end:
        for stop in (coordinator.stop, sites["A"].leave):
            at_the_end.callback(stop)
        coordinator.start()
        yield World(root, coordinator, sites["A"], sites["B"], sites["X"])
    assert processes_under(root) == []


def status_of(port: int, ca: str, path: str, method: str = "POST", host: str = "127.0.0.1") -> int:
    connection = http.client.HTTPSConnection(host, port, context=ssl.create_default_context(cadata=ca), timeout=30)
    try:
        connection.request(method, path, body=b"", headers={"content-type": "application/x-protobuf"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_sites_port_answers_nothing_of_the_control_and_runtime_apis(world: World) -> None:
    port = world.coordinator.home.settings().port
    paths = sorted({route.path for route in control_router.routes})
    assert len(paths) > 10
    for path in (*paths, *HARVESTED):
        assert status_of(port, world.ca, path) == 404, path
        assert status_of(port, world.ca, path, "GET") == 404, path
    assert status_of(port, world.ca, "/health", "GET") == 200


def test_with_the_certificate_and_flowers_own_command_nobody_registers_a_node_or_starts_a_run_through_the_sites_port(world: World) -> None:
    home, python = world.root / "attacker", find_python(world.root)
    home.mkdir()
    (home / "ca.pem").write_text(world.ca)
    port = world.coordinator.home.settings().port
    (home / "config.toml").write_text(f'[superlink.target]\naddress = "127.0.0.1:{port}"\nroot-certificates = "{home / "ca.pem"}"\n')
    (home / "new.pub").write_text(world.x.files.request.read_text().split('"public_key": "')[1].split('"')[0] + "\n")
    register, start = ["supernode", "register", str(home / "new.pub"), "target"], ["run", str(world.coordinator.home.app), "target"]
    for command in (register, start, ["supernode", "list", "target"]):
        done = subprocess.run(
            [program(python, "flwr"), *command, "--format", "json"],
            env=flower_variables(python, home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode != 0 or '"success": false' in done.stdout, (command, done.stdout)
    nodes = SuperLink(world.coordinator.home, python).nodes()
    assert set(nodes) == {world.node_of("Hospital A"), world.node_of("Hospital B")}, "the same question at the own door shows two nodes and no third"


def test_the_own_door_is_on_loopback_alone(world: World) -> None:
    settings = world.coordinator.home.settings()
    addresses = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    reachable = [address for address in addresses if not str(address).startswith("127.")]
    if not reachable:
        pytest.skip("this machine has no address but loopback")
    for address in reachable:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, settings.control_port), timeout=5)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_another_user_of_the_coordinators_machine_is_refused_at_the_own_door(world: World) -> None:
    port, ca = world.coordinator.home.settings().control_port, world.ca
    mine, theirs = status_of(port, ca, "/v1/control/list-runs"), as_another_user(lambda: 1 if status_of(port, ca, "/v1/control/list-runs") == 403 else 0)
    assert mine != 403
    assert theirs == 1


def test_a_key_that_nobody_approved_gets_nowhere(world: World) -> None:
    client, public_key = world.client_of(world.x)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        client.RegisterNode(RegisterNodeFleetRequest(public_key=public_key))
    assert caught.value.response.status_code in (401, 403, 412)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        client.PullMessages(PullMessagesRequest(node=Node(node_id=world.node_of("Hospital A"))))
    assert caught.value.response.status_code == 401


def test_an_approved_site_cannot_take_another_sites_messages_or_push_in_its_name(world: World) -> None:
    client, _ = world.client_of(world.b)
    a, b = world.node_of("Hospital A"), world.node_of("Hospital B")
    assert not client.PullMessages(PullMessagesRequest(node=Node(node_id=b))).messages_list, "its own box opens, and is empty"
    with pytest.raises(httpx.HTTPStatusError) as caught:
        client.PullMessages(PullMessagesRequest(node=Node(node_id=a)))
    assert caught.value.response.status_code == 401
    forged = Message(metadata=Metadata(run_id=1, src_node_id=a, message_type="train"))
    with pytest.raises(httpx.HTTPStatusError) as caught:
        client.PushMessages(PushMessagesRequest(node=Node(node_id=b), messages_list=[forged], message_object_trees=[ObjectTree()]))
    assert caught.value.response.status_code == 403


def test_the_connection_test_passes_for_an_approved_site_and_names_a_key_that_is_not(world: World) -> None:
    steps = list(world.a.examine())
    assert all(step.ok for step in steps), steps
    assert len(steps) == 6
    last = list(world.x.examine())[-1]
    assert (last.name, last.ok) == ("Key", False)
    assert "does not know this site's key" in last.sentence
    assert world.a.status().joined is False, "the test joins nothing"


def test_a_revoked_site_that_is_joined_is_put_out_and_cannot_come_back(world: World) -> None:
    assert world.a.join().link is Link.UP
    world.coordinator.revoke("Hospital A")
    wait_until(lambda: not world.a.status().joined or world.a.status().link is not Link.UP, 300, "the revoked site's node notices")
    world.a.leave()
    assert list(world.a.examine())[-1].sentence.startswith("The coordinator does not know this site's key")
    with pytest.raises(FedLiverError) as caught:
        world.a.join()
    assert caught.value.code == "refused-key"
    with pytest.raises(FedLiverError) as caught:
        world.coordinator.approve(world.a.files.request)
    assert caught.value.code == "unknown-invitation"
    assert "revoked on" in {member.name: member.state for member in world.coordinator.members()}["Hospital A"]


@pytest.mark.skipif(not NGINX, reason="no nginx here: install it, or name one in FEDLIVER_NGINX")
def test_the_nginx_configuration_that_is_written_passes_a_site_and_nothing_else(world: World) -> None:
    """The real nginx, before the coordinator that runs: its settings say for this test that it is behind a proxy."""
    home = world.coordinator.home
    original = home.settings_file.read_text()
    settings = home.settings()
    outside = free_port()
    home.settings_file.write_text(settings.model_copy(update={"port": outside, "proxied_port": settings.port}).model_dump_json())
    try:
        folder = world.root / "nginx"
        folder.mkdir()
        (folder / "fedliver.conf").write_text(nginx(home))
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        http_part = f"access_log off; {temporary} include {folder}/fedliver.conf;"
        main = f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}} http {{ {http_part} }}"
        (folder / "nginx.conf").write_text(main)
        with subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]) as running:
            try:
                wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", outside)) == 0 or running.poll() is not None, 60, "nginx listens")
                assert running.poll() is None, (folder / "error.log").read_text()
                assert status_of(outside, world.ca, "/health", "GET") == 200
                around = ("/v1/fleet/../control/list-runs", "/v1/fleet/%2e%2e/control/list-runs")
                for path in ("/v1/control/list-runs", *around, "/v1/runtime/get-nodes", "/docs", "/"):
                    assert status_of(outside, world.ca, path) == 404, path
                world.coordinator.invite("Hospital B", world.root / "through-nginx.json")
                world.b.enrol(world.root / "through-nginx.json")
                steps = list(world.b.examine())
                assert all(step.ok for step in steps), steps
            finally:
                running.terminate()
    finally:
        home.settings_file.write_text(original)
