"""The command line: `python -m multitorch doctor`, `python -m multitorch estimate …`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from multitorch.cli import doctor, estimate


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m multitorch")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (doctor, estimate):
        summary = (command.__doc__ or "").partition("\n")[0]
        name = command.__name__.rpartition(".")[2]
        sub = commands.add_parser(
            name,
            help=summary,
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    options = parser.parse_args(argv)
    return options.run(options)
