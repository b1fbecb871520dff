"""Listing and fetching over TLS with a private authority, and through proxies, against real servers."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.lying_s3 import LyingS3

from sniffer.adapters.s3.bucket import Bucket
from sniffer.core.errors import TransientError


def whole_scan(patience_s: float = 0.5) -> list[bytes]:
    """Check, list and fetch as a scan does."""
    bucket = Bucket("bkt", patience_s=patience_s, max_bytes=1000)
    bucket.check()
    return [bucket.fetch(image) for page in bucket.pages("") for image in page]


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "private S3")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "s3.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The server's."""
    return self_signed(tmp_path)


@pytest.fixture
def tls_s3(certificate: Path, aws_variables: pytest.MonkeyPatch) -> Iterator[LyingS3]:
    """Speaks TLS with a certificate that no public authority has signed."""
    server = LyingS3()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.put("a.jpg", b"over TLS")
    aws_variables.setenv("AWS_ENDPOINT_URL", server.url.replace("http:", "https:"))
    with server:
        yield server


def test_a_private_authority_is_trusted_where_boto3_is_told_to(
    tls_s3: LyingS3, certificate: Path, aws_variables: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TransientError, match="no TLS to .*AWS_CA_BUNDLE"):
        whole_scan()
    aws_variables.setenv("AWS_CA_BUNDLE", str(certificate))
    assert whole_scan() == [b"over TLS"]


def test_a_private_authority_of_the_configuration_file_is_trusted(
    tls_s3: LyingS3, certificate: Path, aws_variables: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {certificate}\n")
    aws_variables.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert whole_scan() == [b"over TLS"]


def test_every_request_goes_through_the_proxy(aws_variables: pytest.MonkeyPatch) -> None:
    with LyingS3() as proxy:
        proxy.put("a.jpg", b"by proxy")
        proxy.put("odd//key", b"by proxy")
        aws_variables.setenv("AWS_ENDPOINT_URL", "http://s3.nowhere.invalid")
        aws_variables.setenv("HTTP_PROXY", proxy.url)
        assert whole_scan() == [b"by proxy", b"by proxy"]
        assert all(request.path.startswith("http://s3.nowhere.invalid/bkt") for request in proxy.requests)


def test_what_needs_no_proxy_takes_none(lying_s3: LyingS3, aws_variables: pytest.MonkeyPatch) -> None:
    lying_s3.put("a.jpg", b"straight")
    aws_variables.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(TransientError):
        whole_scan()
    aws_variables.setenv("NO_PROXY", "127.0.0.1")
    assert whole_scan() == [b"straight"]
