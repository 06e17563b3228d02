"""The command line of the ledger: `kel`.

Promise: data on standard output, everything else on standard error; every command has `--json`;
the exit status says what kind of failure it was; no control character from a text reaches a
terminal.
Rules: this package sees only `ledger`; only `cli.output` prints; importing a command imports
neither the model libraries nor the database.

    from cli.main import main
    raise SystemExit(main(["log", "--oneline"]))
"""
