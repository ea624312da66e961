"""``byom host``"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byom.cli import options

if TYPE_CHECKING:
    from byom.host.code.configuration import HostConfig

app = typer.Typer()

PORT = 8430


@app.command()
def host(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="module:object, file.py:object or a plugin's folder.")
    ],
    port: Annotated[int, typer.Option(help="Port; 0 for a free one.")] = PORT,
    address: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    key: Annotated[str | None, typer.Option("--key", help="The key that callers need. --key-stdin is safer.")] = None,
    key_env: options.KeyEnv = None,
    key_stdin: options.KeyStdin = False,
    no_key: Annotated[bool, typer.Option("--no-key", help="Ask for no key; only on a loopback address.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file with the certificate chain, for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's private key.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that run the code.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="Calls at once in each of them.", min=1)] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds until an answer must come.", min=0.001)] = 600.0,
    memory_mb: Annotated[int | None, typer.Option(help="Memory of each process, in MiB.", min=1)] = None,
    python: Annotated[
        Path | None, typer.Option(help="The interpreter, or the virtual environment, that the code needs.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="JSON file with further settings: options, and a plugin's models.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the hub shall call the connection.")] = None,
) -> None:
    """Serve Python code on this machine for a hub on another one, until it is told to stop (Ctrl-C, SIGTERM).

    Prints the line that connects the hub to it. A key is made unless one is given; it is shown this once.

    \b
    Examples:
      byom host models.py:my_model
      byom host models.py:my_model --host 0.0.0.0 --tls-cert box.pem --tls-key box.key
      byom host ./my-plugin --python .venv --workers 2 --memory-mb 4096
    """
    import ssl

    from byom.errors import ConfigError
    from byom.host.code.front import CodeHost
    from byom.host.code.output import Output
    from byom.host.serve import Tls, serve

    token = options.given_key(key, key_env, key_stdin=key_stdin)
    _check(address, tls_cert, tls_key, given=token is not None, no_key=no_key)
    made = None if token is not None or no_key else secrets.token_urlsafe(32)
    limits = {"workers": workers, "threads": threads, "timeout": timeout, "memory_mb": memory_mb}
    document = _document(target, config, {**limits, "python": _interpreter(python)})
    output = Output()
    served = CodeHost(document, output.write, own_process=True)
    tls = Tls(tls_cert, tls_key) if tls_cert is not None else None

    def ready(listening: int) -> None:
        url = f"{'https' if tls else 'http'}://{_name_for_others(address, tls_cert)}:{listening}"
        for line in _greeting(url, name or _connection_name(target), made, no_key=no_key):
            typer.echo(line)
        if tls is None and not _is_loopback(address):
            typer.echo("Without --tls-cert the key and all texts cross the network as they are.", err=True)

    try:
        application = served.app(token or made, managed=False)
        serve(application, address, port, follow_stdin=False, tls=tls, on_ready=ready)
    except ssl.SSLError as error:
        raise ConfigError(f"The certificate and its key cannot be used: {error.reason or error}.") from error
    except OSError as error:
        raise ConfigError(f"Cannot listen on {address}:{port}: {error.strerror or error}.") from error
    finally:
        output.drain(1.0)


def _check(address: str, cert: Path | None, cert_key: Path | None, *, given: bool, no_key: bool) -> None:
    if no_key and given:
        raise typer.BadParameter("give either a key or --no-key", param_hint="--no-key")
    if no_key and not _is_loopback(address):
        raise typer.BadParameter("who reaches this address could run the code: a key is needed", param_hint="--no-key")
    if cert_key is not None and cert is None:
        raise typer.BadParameter("--tls-key needs --tls-cert", param_hint="--tls-key")
    for path in (cert, cert_key):
        if path is not None and not path.is_file():
            raise typer.BadParameter(f"there is no file {path}", param_hint="--tls-cert")


def _document(target: str, file: Path | None, settings: dict[str, Any]) -> HostConfig:
    """The settings of the file, and above them those of the command line."""
    import msgspec

    from byom.errors import ConfigError
    from byom.host.code.configuration import decode

    given: Any = {}
    if file is not None:
        try:
            given = msgspec.json.decode(file.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{file} is not a JSON file: {error}") from error
        if not isinstance(given, dict):
            raise ConfigError(f"{file} must have a JSON object.")
    chosen = {field: value for field, value in settings.items() if value is not None}
    return decode(msgspec.json.encode({**given, **chosen, "target": _absolute(target)}))


def _absolute(target: str) -> str:
    """Files and folders by their whole path: the code does not run in this folder for ever."""
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py"):
        return f"{Path(path).resolve()}:{name}"
    if Path(target).is_dir():
        return str(Path(target).resolve())
    return target


def _interpreter(python: Path | None) -> str | None:
    if python is None:
        return None
    found = python / "bin" / "python" if python.is_dir() else python
    if not found.is_file():
        raise typer.BadParameter(f"there is no interpreter {found}", param_hint="--python")
    return str(found.absolute())  # not resolved: the link is what makes it the environment's


def _greeting(url: str, name: str, made: str | None, *, no_key: bool) -> list[str]:
    connect = f"byom connect {name} --url {url}/v1 --all"
    if made is not None:
        connect = f"echo {made} | {connect} --key-stdin"
    elif not no_key:
        connect += " --key-stdin"
    return [f"Serving at {url}/v1", "On the hub's machine:", f"  {connect}"]


def _connection_name(target: str) -> str:
    import re

    last = Path(target.rstrip("/").rpartition("/")[2]).name
    words = re.findall(r"[a-z0-9]+", last.lower().replace(".py", ""))
    return "-".join(words) or "code"


def _is_loopback(address: str) -> bool:
    import ipaddress

    try:
        return address == "localhost" or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_for_others(address: str, cert: Path | None) -> str:
    """The name in the certificate, else this machine's own address where it listens on all."""
    import socket

    if cert is not None and (named := _certified(cert)):
        return named
    if address.strip("[]") not in ("0.0.0.0", "::"):  # noqa: S104 - compared only
        return f"[{address}]" if ":" in address and not address.startswith("[") else address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of documentation, and nothing is sent: it only chooses our address
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _certified(cert: Path) -> str | None:
    from cryptography import x509

    try:
        names = x509.load_pem_x509_certificate(cert.read_bytes()).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (ValueError, x509.ExtensionNotFound):
        return None
    known = names.value.get_values_for_type(x509.DNSName)
    return next((name for name in known if "*" not in name), None) or next(
        (str(one) for one in names.value.get_values_for_type(x509.IPAddress)), None
    )
