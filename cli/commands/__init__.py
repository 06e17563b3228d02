"""One module per command, imported when the command is asked for.

Promise: a module holds the command, its options and how its result is laid out; nothing else.
Rules: the ledger is imported inside the command, through `cli.invocation`.

    @click.command()
    @common
    def command(invocation: Invocation) -> int: ...
"""
