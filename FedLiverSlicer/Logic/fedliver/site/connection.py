"""Whether a coordinator can be reached, in words, before any process is started."""

import socket
import ssl

from fedliver.errors import FedLiverError

_SELF_SIGNED = (18, 19, 20, 21)
_NOT_YET_VALID, _EXPIRED = 9, 10
_HOSTNAME_MISMATCH = (62, 64)


def check_connection(host: str, port: int, ca_certificate: str, timeout: float = 5.0) -> None:
    """Resolve the name, open the port, and speak TLS with a server whose certificate ``ca_certificate`` (PEM) vouches for.

    Raises
    ------
    FedLiverError
        ``name-unknown``, ``port-closed``, ``wrong-ca``, ``wrong-address``, ``certificate-expired``, ``clock``, ``no-tls`` or ``connection``.
    """
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise FedLiverError(
            "name-unknown", f"The name {host} cannot be resolved: check the network (and VPN) and the coordinator's address in the invitation."
        ) from error
    context = ssl.create_default_context(cadata=ca_certificate)
    try:
        with socket.create_connection((host, port), timeout=timeout) as plain, context.wrap_socket(plain, server_hostname=host):
            return
    except ssl.SSLCertVerificationError as error:
        raise _certificate_in_words(error, host) from error
    except ssl.SSLError as error:
        raise FedLiverError("no-tls", f"What answers at {host}:{port} does not speak TLS: it is no coordinator of ours, or a proxy stands between.") from error
    except TimeoutError as error:
        raise FedLiverError("port-closed", f"{host}:{port} does not answer: a firewall may block the port; ask your network department to open it.") from error
    except ConnectionRefusedError as error:
        raise FedLiverError("port-closed", f"No coordinator answers at {host}:{port}: ask whether it is started, and on that port.") from error
    except OSError as error:
        raise FedLiverError("connection", f"{host}:{port} cannot be reached ({error.strerror or 'connection ended'}): check the network.") from error


def _certificate_in_words(error: ssl.SSLCertVerificationError, host: str) -> FedLiverError:
    code = error.verify_code
    if code in _HOSTNAME_MISMATCH:
        return FedLiverError(
            "wrong-address", f"The coordinator's certificate was made for another address than {host}: ask for an invitation to the address it was made for."
        )
    if code == _EXPIRED:
        return FedLiverError("certificate-expired", "The coordinator's certificate has expired (or this machine's clock is ahead): tell the coordinator.")
    if code == _NOT_YET_VALID:
        return FedLiverError("clock", "The coordinator's certificate is not valid yet: this machine's clock is behind; set it right.")
    if code in _SELF_SIGNED:
        return FedLiverError(
            "wrong-ca", f"The server at {host} does not hold a certificate of the coordinator who invited you: do not join; ask the coordinator."
        )
    return FedLiverError("wrong-ca", f"The certificate of the server at {host} cannot be trusted ({error.verify_message}): ask the coordinator.")
