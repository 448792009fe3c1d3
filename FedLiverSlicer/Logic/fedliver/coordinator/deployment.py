"""The files that put a coordinator behind nginx and under systemd. They name what they need and nothing secret."""

from pathlib import Path

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.superlink import sites_door
from fedliver.errors import FedLiverError
from fedliver.site.environment import find_python

_NGINX = """\
# {name}: the sites' door. Written by 'fedliver coordinator deploy nginx'; put it into /etc/nginx/conf.d/ and reload nginx.
# It passes the Fleet API and the health check, and nothing else: Flower's Control API never faces the network.
server {{
    listen {listen} ssl;
    server_name {host};

    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;

    server_tokens off;
    client_max_body_size 16m;        # weights travel in pieces of half a megabyte, identifiers in one message
    client_body_timeout 300s;        # a slow uplink is slow, not dead
    proxy_read_timeout 300s;
    proxy_send_timeout 300s;
    proxy_request_buffering off;
    proxy_http_version 1.1;

    # Behind this door the coordinator speaks TLS too, with the certificate that it made for itself.
    proxy_ssl_trusted_certificate {authority};
    proxy_ssl_verify on;
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;

    location = /health {{
        proxy_pass https://{inside};
    }}
    location /v1/fleet/ {{
        proxy_pass https://{inside};
    }}
    location / {{
        return 404;
    }}
}}
"""

_SYSTEMD = """\
# {name}. Written by 'fedliver coordinator deploy systemd'; put it into /etc/systemd/system/fedliver-coordinator.service, then
# systemctl daemon-reload && systemctl enable --now fedliver-coordinator. Runs of rounds are started as the same user: fedliver coordinator run.
[Unit]
Description=FedLiverSlicer coordinator {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User={user}
UMask=0077
ExecStart={python} -c "from fedliver.cli.main import main; main()" coordinator start --follow --home {home}
Environment={logic}
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=30
Restart=on-failure
RestartSec=10
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={home}
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX

[Install]
WantedBy=multi-user.target
"""


def configuration(what: str, home: CoordinatorHome) -> str:
    """The text of one file, ``nginx`` or ``systemd``, for the coordinator in ``home``.

    Raises
    ------
    FedLiverError
        ``unknown-file``, ``not-proxied``, or ``no-coordinator``.
    """
    writers = {"nginx": nginx, "systemd": systemd}
    if what not in writers:
        raise FedLiverError("unknown-file", f"There is no configuration for {what[:40]!r}: choose {' or '.join(writers)}.")
    return writers[what](home)


def nginx(home: CoordinatorHome) -> str:
    """A server block that listens where the sites come, and passes what is theirs to the SuperLink's sites' door on loopback."""
    settings = home.settings()
    if settings.proxied_port is None:
        raise FedLiverError(
            "not-proxied", "This coordinator listens for the sites itself: for nginx before it, 'fedliver coordinator change --proxied-port PORT'."
        )
    host, port = sites_door(settings)
    certificates = home.certificates
    return _NGINX.format(
        name=settings.name,
        listen=f"[::]:{settings.port}" if ":" in settings.host else settings.port,
        host=settings.host,
        certificate=_quoted(certificates.server_certificate),
        key=_quoted(certificates.server_key),
        authority=_quoted(certificates.ca_certificate),
        inside=f"{host}:{port}",
    )


def systemd(home: CoordinatorHome) -> str:
    """A unit that keeps the coordinator started."""
    import getpass

    settings = home.settings()
    return _SYSTEMD.format(
        name=settings.name.replace("%", "%%"),
        user=getpass.getuser(),
        python=_for_systemd(str(find_python(home.path))),
        home=_for_systemd(str(home.path)),
        logic=_for_systemd(f"PYTHONPATH={Path(__file__).resolve().parents[2]}"),
    )


def _for_systemd(word: str) -> str:
    """One word of a unit: quoted, and with no specifier in it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _quoted(path: Path) -> str:
    """As nginx wants a path that may hold spaces."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
