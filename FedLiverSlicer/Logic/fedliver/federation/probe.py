"""Asks a coordinator whether it knows this site's key, and nothing else: the node is not activated. Prints one JSON line.

An activation with a heartbeat interval that no SuperLink accepts is refused in two ways: for its key, if that is unknown, and else for the interval.
"""

import json
import sys
from pathlib import Path

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.error import ApiErrorCode
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedliver.federation.super_node import refuse_redirects
from fedliver.site.enrolment import accepted_invitation
from fedliver.site.federation import SiteFiles

_NO_INTERVAL = 0.0


def answer_about_key(home: Path) -> str:
    """ "known", "unknown", "signature" (the coordinator does not accept what this site signs, its clock may be off) or "error"."""
    files = SiteFiles(home)
    invitation = accepted_invitation(files.invitation)
    key = serialization.load_ssh_private_key(files.key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return "error"
    signed = NodeAuthHttpInterceptor(key, key.public_key())
    client = FleetHttpClient.from_server_address(invitation.address, False, invitation.ca_certificate.encode(), [signed])
    try:
        client.ActivateNode(ActivateNodeRequest(public_key=public_key_to_bytes(key.public_key()), heartbeat_interval=_NO_INTERVAL))
    except httpx.HTTPStatusError as error:
        return _in_a_word(error.response)
    except httpx.HTTPError:
        return "error"
    return "error"


def _in_a_word(response: httpx.Response) -> str:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return "signature"
    try:
        code = int(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return "error"
    return {ApiErrorCode.FLEET_INVALID_HEARTBEAT_INTERVAL: "known", ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED: "unknown"}.get(ApiErrorCode(code), "error")


if __name__ == "__main__":
    refuse_redirects()
    print(json.dumps({"key": answer_about_key(Path(sys.argv[1]))}))
