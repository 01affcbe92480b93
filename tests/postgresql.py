"""A PostgreSQL server of our own, on a free port, for as long as a test needs it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "correct horse/battery"


def find_binaries() -> Path | None:
    """Return the folder of the newest installed server, if there is one."""
    found = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    return Path(found).parent if found else (debian[-1].parent if debian else None)


@contextmanager
def run_server(binaries: Path, folder: Path) -> Iterator[str]:
    """Start a server whose files lie in a folder; give its address without user and password."""
    # The server refuses to run as root.
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user:
        shutil.chown(secret, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program: str, *words: str) -> None:
        command = [*user, str(binaries / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, check=True, cwd=folder, capture_output=True, timeout=60)

    call("initdb", "-U", "reader", f"--pwfile={secret}", "-A", "scram-sha-256", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "-m", "immediate", "stop")
