"""A real sshd on loopback for Git: one process for each connection, over a socket of the test's own.

Its host key and the one key that it lets in are made for it; nothing of the machine's own SSH set-up is read.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["SshServer"]

_SETTINGS = """\
HostKey {root}/host-key
AuthorizedKeysFile {root}/authorized-keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AcceptEnv GIT_PROTOCOL
LogLevel VERBOSE
"""


class SshServer:
    """Lets this user in with the private key in the file `key`."""

    def __init__(self, root: Path, sshd: Path) -> None:
        root.mkdir()
        self._root = root
        self._sshd = sshd
        for name in ("host-key", "user-key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / name)]
            subprocess.run(command, check=True, timeout=60)
        (root / "authorized-keys").write_text((root / "user-key.pub").read_text())
        (root / "sshd_config").write_text(_SETTINGS.format(root=root))
        if os.geteuid() == 0:  # where sshd gives up its privileges; a service manager makes it elsewhere
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.key = root / "user-key"
        self._host_key = " ".join((root / "host-key.pub").read_text().split()[:2])
        self._processes: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._serve)

    @property
    def log(self) -> str:
        """What the server said."""
        path = self._root / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def connections(self) -> int:
        """How often somebody came."""
        return len(self._processes)

    def known_hosts_of(self, port: int) -> str:
        """What a client has to know so that it takes this server's key at that port of this machine."""
        return f"[127.0.0.1]:{port} {self._host_key}\n"

    def url(self, path: Path) -> str:
        """The address of a repository of this machine."""
        return f"ssh://127.0.0.1:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, open(self._root / "log", "ab") as log:
                command = [str(self._sshd), "-i", "-e", "-f", str(self._root / "sshd_config")]
                self._processes.append(subprocess.Popen(command, stdin=connection, stdout=connection, stderr=log))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
