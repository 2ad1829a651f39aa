"""The options of a store URL: `redis://host/0?ssl_ca_certs=/path`."""

from urllib.parse import parse_qsl, urlsplit

TAKEN = (
    "db",
    "password",
    "username",
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
)
_NEEDLESS = frozenset(
    {
        "client_name",
        "health_check_interval",
        "max_connections",
        "protocol",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_timeout",
        "timeout",
    }
)
"""Options of redis-py that deployments have in their URLs and that change nothing here: they do no harm."""


def check_options(url: str) -> None:
    """ValueError, in one line, for an option that nobody knows."""
    for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in TAKEN and name not in _NEEDLESS:
            raise ValueError(f"the option {name[:40]!r} is not known; accepted are {', '.join(TAKEN)}")
