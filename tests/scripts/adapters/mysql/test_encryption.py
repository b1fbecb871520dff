"""ssl_mode in the URL, against servers with certificates of a private authority, and a man in the middle."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from support.certificates import Authority
from support.database_servers import DatabaseServer
from support.tcp_proxy import TcpProxy

from sniffer.adapters.mysql.transactions import Transactions
from sniffer.core.errors import SettingsError
from sniffer.core.settings import DatabaseSettings
from sniffer_local.mariadb import DatabaseSite, MariaDb, create_database
from sniffer_local.mysql import MySql, mysql_folder

CLIENT_SSL = 0x0800
"""The flag of the server's greeting that says it takes encrypted connections."""

ELSEWHERE = "127.0.0.2"


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A server whose certificate is for 127.0.0.1, and only there; `other` is an authority that it does not know."""

    server: DatabaseServer
    authority: Path
    other: Path

    def url(self, query: str = "", *, host: str = "127.0.0.1", port: int | None = None) -> str:
        site = self.server.site
        return f"mysql+mysqldb://sniffer:{site.password}@{host}:{port or site.port}/sniffer?{query}"


@pytest.fixture(
    scope="module", params=["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], ids=["mariadb", "mysql"]
)
def encrypted(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("encrypted")
    authority, other = Authority(folder, "ours"), Authority(folder, "other")
    files = authority.issue("127.0.0.1")
    options = (f"--ssl-ca={authority.file}", f"--ssl-cert={files.certificate}", f"--ssl-key={files.key}")
    server = server_of(request.param, repository, folder / "server", options)
    server.start()
    create_database(server.site, "sniffer")
    yield Encrypted(server, authority.file, other.file)
    server.stop()


def server_of(kind: str, repository: Path, folder: Path, options: tuple[str, ...]) -> DatabaseServer:
    if kind == "mariadb":
        return MariaDb(folder, *options)
    if (programs := mysql_folder(repository)) is None:
        pytest.skip("there is no MySQL here")
    return MySql(programs, folder, *options)


@pytest.fixture
def unencrypted(database_server: DatabaseServer) -> Iterator[str]:
    """The URL of a server that offers no encryption, as MariaDB does by itself."""
    site = database_server.site
    if isinstance(database_server, MySql):
        ((offered,),) = site.rows("SELECT @@global.tls_version")
        site.execute("SET GLOBAL tls_version = ''", "ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR")
    yield create_database(site, "sniffer").replace("charset=utf8mb4", "")
    if isinstance(database_server, MySql):
        site.execute(f"SET GLOBAL tls_version = '{offered}'", "ALTER INSTANCE RELOAD TLS")


def cipher(url: str) -> str:
    """With what that connection is encrypted; empty when it is not."""
    transactions = Transactions(DatabaseSettings(url, patience_s=0))
    try:
        row = transactions.transact(
            lambda connection: connection.execute(text("SHOW SESSION STATUS LIKE 'Ssl_cipher'")).one()
        )
    finally:
        transactions.close()
    return str(row[1])


def refusal(url: str) -> str:
    with pytest.raises(SettingsError) as caught:
        cipher(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("query", ["", "charset=utf8mb4", "ssl_mode=PREFERRED", "ssl_mode=required"])
def test_a_server_that_takes_encrypted_connections_only_needs_nothing_in_the_url(
    encrypted: Encrypted, query: str
) -> None:
    site = encrypted.server.site
    site.execute("SET GLOBAL require_secure_transport = ON")
    try:
        assert cipher(encrypted.url(query)).startswith(("TLS", "ECDHE"))
        # MariaDB does not say why.
        assert re.search("takes encrypted connections only|access denied", refusal(encrypted.url("ssl_mode=DISABLED")))
    finally:
        transactions = Transactions(DatabaseSettings(encrypted.url(), patience_s=0))
        transactions.transact(lambda connection: connection.execute(text("SET GLOBAL require_secure_transport = OFF")))
        transactions.close()


def test_encryption_can_be_switched_off(encrypted: Encrypted) -> None:
    assert cipher(encrypted.url("ssl_mode=DISABLED")) == ""


def test_a_verified_server_must_be_of_the_authority_and_bear_the_name(encrypted: Encrypted) -> None:
    ours, other = f"ssl_ca={encrypted.authority}", f"ssl_ca={encrypted.other}"
    with TcpProxy(encrypted.server.port, host=ELSEWHERE) as proxy:
        for mode in ("", "ssl_mode=VERIFY_IDENTITY&", "ssl_mode=VERIFY_CA&"):
            assert cipher(encrypted.url(f"{mode}{ours}"))
            assert "no encrypted connection" in refusal(encrypted.url(f"{mode}{other}"))
            elsewhere = encrypted.url(f"{mode}{ours}", host=ELSEWHERE, port=proxy.port)
            assert "no encrypted connection" in refusal(elsewhere)
    assert "no encrypted connection" in refusal(encrypted.url("ssl_mode=VERIFY_IDENTITY"))


def test_required_with_an_authority_looks_at_it_and_not_at_the_name(encrypted: Encrypted) -> None:
    with TcpProxy(encrypted.server.port, host=ELSEWHERE) as proxy:
        query = f"ssl_mode=REQUIRED&ssl_ca={encrypted.authority}"
        assert cipher(encrypted.url(query, host=ELSEWHERE, port=proxy.port))
    assert "no encrypted connection" in refusal(encrypted.url(f"ssl_mode=REQUIRED&ssl_ca={encrypted.other}"))


def stripped(greeting: bytes) -> bytes:
    """The server's greeting without its offer of encryption."""
    at = greeting.index(b"\0", 5) + 1 + 4 + 8 + 1
    flags = int.from_bytes(greeting[at : at + 2], "little") & ~CLIENT_SSL
    return greeting[:at] + flags.to_bytes(2, "little") + greeting[at + 2 :]


def test_no_login_goes_to_a_man_in_the_middle_who_takes_the_offer_away(encrypted: Encrypted) -> None:
    with TcpProxy(encrypted.server.port, stripped) as proxy:
        for query in ("ssl_mode=REQUIRED", "ssl_mode=VERIFY_IDENTITY", f"ssl_ca={encrypted.authority}"):
            assert "does not support it" in refusal(encrypted.url(query, port=proxy.port))
        assert proxy.accepted == 3
        assert proxy.from_client == 0
        # Only who says nothing about encryption goes without, and only until it was there once.
        assert cipher(encrypted.url(port=proxy.port)) == ""


def test_what_was_encrypted_once_is_never_unencrypted_later(encrypted: Encrypted) -> None:
    with TcpProxy(encrypted.server.port) as honest, TcpProxy(encrypted.server.port, stripped) as stripping:
        transactions = Transactions(DatabaseSettings(encrypted.url(port=honest.port), patience_s=0))
        transactions.transact(lambda connection: connection.execute(text("SELECT 1")))
        transactions.close()
        honest.target = stripping.port
        with pytest.raises(SettingsError, match="does not support it"):
            transactions.transact(lambda connection: connection.execute(text("SELECT 1")))
        assert stripping.from_client == 0


@pytest.mark.both_servers
def test_a_server_without_encryption_is_refused_where_it_is_required(unencrypted: str) -> None:
    assert cipher(unencrypted) == ""
    for query in ("ssl_mode=REQUIRED", "ssl_mode=VERIFY_CA", "ssl_mode=VERIFY_IDENTITY"):
        assert "does not support it" in refusal(unencrypted + query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ssl_mode=SOMETIMES", "ssl_mode must be one of DISABLED, PREFERRED, REQUIRED"),
        ("ssl_mode=DISABLED&ssl_cert=/dev/null", "contradict each other"),
        ("ssl_ca=/no/such.pem", "cannot read the file '/no/such.pem'"),
        ("ssl_check_hostname=false", "ssl_check_hostname is not known"),
        ("charset=latin1", "charset must be utf8mb4"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_connected(query: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Transactions(DatabaseSettings(f"mysql+mysqldb://u:geheim@127.0.0.1:1/db?{query}"))
    assert "geheim" not in str(caught.value)


LOGIN = """
import sys
from sniffer.core.settings import DatabaseSettings
if sys.argv[1] == "before":
    import tensorflow
from sniffer.adapters.mysql.database import Database
database = Database(DatabaseSettings(sys.stdin.read(), patience_s=0))
if sys.argv[1] == "after":
    import tensorflow
print(database.facts().server_version)
"""


@pytest.fixture
def not_cached(mysql_server: MySql) -> DatabaseSite:
    """A MySQL to which nobody has logged in yet: the first login is the one that encrypts the password."""
    mysql_server.start()
    create_database(mysql_server.site, "login")
    mysql_server.site.execute("FLUSH PRIVILEGES")
    return mysql_server.site


def logged_in(code: str, argument: str, given: str) -> str:
    """What the code prints in a process of its own."""
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("tensorflow", ["before", "after"])
@pytest.mark.parametrize("query", ["", "?ssl_mode=DISABLED"])
def test_programs_with_tensorflow_log_in(not_cached: DatabaseSite, tensorflow: str, query: str) -> None:
    assert logged_in(LOGIN, tensorflow, not_cached.url("login").partition("?")[0] + query)


LOCAL_LOGIN = """
import sys
from pathlib import Path
import tensorflow
from sniffer_local.mariadb import DatabaseSite
print(DatabaseSite(Path(), int(sys.argv[1]), sys.stdin.read()).answers())
"""


@pytest.mark.slow
def test_so_do_those_that_drive_a_server_of_the_local_stack(not_cached: DatabaseSite) -> None:
    assert logged_in(LOCAL_LOGIN, str(not_cached.port), not_cached.password) == "True\n"
