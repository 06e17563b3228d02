"""Runs a PostgreSQL server for as long as its standard input is open; then nothing of it is left.

python postgres_watch.py BIN FOLDER USER [OPTION...]     # USER may be empty: whoever runs this

Whoever asked for the server holds the other end of the pipe, and lets go of it however he ends.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def watch(bin_: Path, folder: Path, user: str, *options: str) -> None:
    data = folder / "data"
    how = {"user": user or None, "cwd": "/", "env": ENVIRONMENT, "stdin": subprocess.DEVNULL}
    try:
        made = [bin_ / "initdb", "-D", data, "-U", "kel", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, **how)
        with subprocess.Popen([bin_ / "postgres", "-D", data, *options], **how) as server:
            sys.stdin.buffer.read()
            server.send_signal(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    bin_, folder, *rest = sys.argv[1:]
    watch(Path(bin_), Path(folder), *rest)
