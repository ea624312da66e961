"""Certificates for TLS servers of tests, made on the spot."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)


def server_context(
    folder: Path, *, name: str = "127.0.0.1", days: int = 30, ca: bool = False
) -> tuple[ssl.SSLContext, Path]:
    """A server's context and the file a client must trust. ``ca``: signed by an own authority, else by itself.

    Negative ``days``: expired so many days ago.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key, trust = subject, key, folder / "server.pem"
    if ca:
        issuer_key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        trust = folder / "ca.pem"
        root = _builder(issuer, issuer, issuer_key, 30).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        trust.write_bytes(root.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    alternative: x509.GeneralName = x509.DNSName(name)
    if name[0].isdigit():
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    builder = _builder(subject, issuer, key, days).add_extension(
        x509.SubjectAlternativeName([alternative]), critical=False
    )
    certificate = folder / "server.pem"
    certificate.write_bytes(builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = folder / "server.key"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return context, trust


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    end = NOW + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(NOW, end) - dt.timedelta(days=1))
        .not_valid_after(end)
    )
