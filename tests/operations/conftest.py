"""What more hosts share, on one machine: a Redis behind TLS with users, and an S3-compatible object store."""

import asyncio
import datetime
import ipaddress
import os
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from jobs.redis_server import find_binary
from tests.operations.hosting_page import block_of

USER, PASSWORD = "afina", "clave-de-prueba"
BUCKET = "cubo"


@dataclass(frozen=True)
class SharedRedis:
    url: str  # rediss://…, with user, password and the authority to trust
    port: int
    authority: Path


def certificate(folder: Path, *, issuer: tuple | None = None, name: str = "127.0.0.1") -> tuple:
    """A certificate for the loopback address, its own authority unless `issuer` is given; written to `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issued_by, signing_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    made = builder.sign(signing_key, hashes.SHA256())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


class TlsFront:
    """Ends TLS in front of a unix socket, as stunnel does for a Redis without TLS of its own."""

    def __init__(self, target: Path, folder: Path) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda loop, context: None)  # clients that refuse our certificate
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self._loop), return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, reader, writer) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, inner_writer}

        async def pump(source, sink) -> None:
            try:
                while data := await source.read(65_536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.close()

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


@pytest.fixture
def shared_redis(tmp_path):
    """A Redis as the hosting page sets it up: its users, over TLS. Its own protocol is on a private socket."""
    certificates = tmp_path / "tls"
    certificate(certificates, issuer=certificate(tmp_path / "authority", name="autoridad"))
    rules = block_of("users.acl").replace("CONTRASEÑA", PASSWORD)
    (tmp_path / "users.acl").write_text(rules, encoding="utf-8")
    place = tmp_path / "r.sock"
    options = {"port": "0", "unixsocket": str(place), "dir": str(tmp_path), "aclfile": str(tmp_path / "users.acl")}
    command = [str(find_binary()), *(part for key, value in options.items() for part in (f"--{key}", value))]
    with (tmp_path / "redis.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for_socket(place, process)
        with TlsFront(place, certificates) as front:
            authority = tmp_path / "authority" / "cert.pem"
            url = f"rediss://{USER}:{PASSWORD}@127.0.0.1:{front.port}/0?ssl_ca_certs={authority}"
            yield SharedRedis(url=url, port=front.port, authority=authority)
    finally:
        process.terminate()
        process.wait()


def wait_for_socket(place: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, (place.parent / "redis.log").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(place))
                return
            except OSError:
                time.sleep(0.02)
    raise TimeoutError


@pytest.fixture(scope="session")
def s3_server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server._server.server_port}"
    server.stop()


@pytest.fixture
def forgotten_buckets():
    """fsspec keeps what it has connected to, whatever the environment says afterwards."""
    import fsspec

    yield
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def object_store(s3_server, forgotten_buckets, monkeypatch):
    """The address of an empty bucket; the environment holds what reaches it, as the hosting page says."""
    import boto3

    for name, value in {
        "AWS_ACCESS_KEY_ID": "prueba",
        "AWS_SECRET_ACCESS_KEY": "prueba",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=BUCKET)
    yield f"s3://{BUCKET}/afina"
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def environment_of_host(**more: str) -> dict[str, str]:
    return {**os.environ, **more}
