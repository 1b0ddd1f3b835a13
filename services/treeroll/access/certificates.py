"""Certificates for development and small clusters: a root of one's own, and what it signs. A PKI replaces both."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from treeroll.access.tls import check_chain
from treeroll.errors import InvalidInput
from treeroll.whole_file import write_whole

CA_DAYS, SERVER_DAYS = 3650, 90
# Clocks of the machines that check it may be behind.
BACKDATED = timedelta(minutes=5)
HERE = ("localhost", "127.0.0.1", "::1")
PUBLIC, PRIVATE = 0o644, 0o600

Key = ec.EllipticCurvePrivateKey


def make_certificates(directory: Path, names: Sequence[str], days: int = SERVER_DAYS) -> bool:
    """Write ca.pem, ca.key, server.pem and server.key. Whether the root was there before, and only signed again.

    The server's certificate is for these names and addresses, and for loopback. InvalidInput for names that are none,
    or a root that cannot be used; OSError where files cannot be written.
    """
    alternatives = [_alternative(name) for name in dict.fromkeys([*names, *HERE])]
    directory.mkdir(parents=True, exist_ok=True)
    known = (directory / "ca.pem").exists() or (directory / "ca.key").exists()
    root, root_key = _load_root(directory) if known else _make_root()
    if not known:
        write_whole(directory / "ca.key", _pem_of(root_key), PRIVATE)
        write_whole(directory / "ca.pem", root.public_bytes(serialization.Encoding.PEM), PUBLIC)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign_server(alternatives, key, root, root_key, days)
    write_whole(directory / "server.key", _pem_of(key), PRIVATE)
    write_whole(directory / "server.pem", certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)
    return known


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not name or not name.isascii() or not set(name).isdisjoint(" /:@?#[]\\\"'"):
        raise InvalidInput(f"{name!r} is no host name or address that a certificate could be for")
    return x509.DNSName(name)


def _load_root(directory: Path) -> tuple[x509.Certificate, Key]:
    try:
        pem = (directory / "ca.pem").read_bytes()
        root = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput(
            f"ca.pem and ca.key in {directory} cannot be used: {error}; take another directory for a new root"
        ) from None
    if not isinstance(key, Key) or key.public_key() != root.public_key():
        raise InvalidInput(f"ca.key in {directory} is not the key of ca.pem there; take another directory")
    check_chain(directory / "ca.pem", pem, named=False)
    return root, key


def _make_root() -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "treeroll development root")])
    usage = _usage(signs_certificates=True)
    builder = (
        _begun(name, name, key, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _sign_server(
    alternatives: list[x509.GeneralName], key: Key, root: x509.Certificate, root_key: Key, days: int
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "treeroll")])
    builder = (
        _begun(name, root.subject, key, days)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
    )
    return builder.sign(root_key, hashes.SHA256())


def _begun(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
