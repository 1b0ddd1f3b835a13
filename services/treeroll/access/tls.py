"""The server's side of TLS: a certificate that may be exchanged while connections stand."""

import logging
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509

from treeroll.access.config import AccessConfig
from treeroll.addresses import join
from treeroll.channels import Pass, read_roots
from treeroll.errors import InvalidInput, Unavailable

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate and its key, in two files, read again for a connection that comes after either of them changed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """InvalidInput if they cannot be used, naming the file and the reason."""
        self._files = certificate, key
        self._lock = threading.Lock()  # gRPC asks from its own threads
        self._seen = self._stamp()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """What a server listens with. While the files cannot be used, the certificate before goes on being shown."""
        changed: Any = self._changed  # None is allowed, and the types do not say so
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(self._first, changed)
        return credentials

    def server_name(self) -> str:
        """A name that it has: those on this machine, who reach the server as loopback, know it by that."""
        return next((name.replace("*", "treeroll") for name in names_of(self.leaf())), "")

    def leaf(self) -> x509.Certificate:
        """The server's own, as it is in the file now."""
        return _leaf_of(self._files[0], _bytes(self._files[0]))

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate; None while it is the old one, or no other can be used."""
        with self._lock:
            seen = self._stamp()
            if seen == self._seen:
                return None
            self._seen = seen
            try:
                found = self._read()
            except InvalidInput as error:
                log.error("the server goes on with the certificate that it had: %s", error)
                return None
            log.info("the certificate %s changed and is used from here on", self._files[0])
            return found

    def changed(self) -> bool:
        """Whether another certificate is to be shown since this was asked last."""
        return self._changed() is not None

    def _stamp(self) -> Stamp:
        return tuple(_stamp(file) for file in self._files)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        certificate, key = self._files
        chain, private = _bytes(certificate), _bytes(key)
        check_chain(certificate, chain)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError):
            raise InvalidInput(
                f"{key} is not the private key, in PEM and without a password, of the certificate {certificate}"
            ) from None
        return grpc.ssl_server_certificate_configuration([(private, chain)])


def _no_password() -> str:
    """Else the library asks for it on the terminal."""
    raise ValueError("the key has a password")


def check_chain(file: Path, chain: bytes, *, named: bool = True) -> None:
    """InvalidInput unless it begins with a certificate that is in force, and has a name that clients can know it by."""
    leaf = _leaf_of(file, chain)
    now = datetime.now(UTC)
    if now >= leaf.not_valid_after_utc:
        raise InvalidInput(f"certificate {file} expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < leaf.not_valid_before_utc:
        raise InvalidInput(f"certificate {file} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    try:
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        if named:
            raise InvalidInput(
                f"certificate {file} has no subject alternative name: no client would accept it"
            ) from None


def names_of(leaf: x509.Certificate) -> list[str]:
    """Hosts, then addresses, that it is for; none without that extension."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def certificate_at(host: str, port: int, timeout_s: float) -> x509.Certificate:
    """The one that is shown there, whoever signed it. Blocks. Unavailable if none is."""
    try:
        pem = ssl.get_server_certificate((host, port), timeout=timeout_s)
    except OSError as error:
        raise Unavailable(f"{join(host, port)} shows no certificate: {error.strerror or error}") from None
    return _leaf(pem.encode())


def _leaf_of(file: Path, chain: bytes) -> x509.Certificate:
    try:
        return _leaf(chain)
    except ValueError:
        raise InvalidInput(f"{file} does not begin with a certificate in PEM") from None


def _leaf(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain)[0]


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0  # reading says why
    return found.st_mtime_ns, found.st_size, found.st_ino


def web_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a web server listens with; the files are read again for a connection that comes after either of them
    changed. InvalidInput if they cannot be used."""
    files = Certificate(certificate, key)
    context = _loaded(certificate, key)

    def look(connection: ssl.SSLObject, name: str | None, listening: ssl.SSLContext) -> None:
        nonlocal context
        if files.changed():
            context = _loaded(certificate, key)
        connection.context = context

    context.sni_callback = look
    return context


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def replica_pass(certificate: Certificate | None, ca: Path | None) -> Pass:
    """What the service's own replicas know it by. InvalidInput if `ca` cannot be read."""
    if certificate is None:
        return Pass()
    if ca is not None:
        read_roots(ca)
    return Pass(tls=True, roots=str(ca or ""), server_name=certificate.server_name())


def server_certificate(access: AccessConfig) -> Certificate | None:
    """What the service is known by; None without TLS. InvalidInput as Certificate."""
    if access.certificate is None or access.key is None:
        return None
    return Certificate(access.certificate, access.key)
