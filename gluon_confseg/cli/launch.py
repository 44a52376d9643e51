"""`confseg launch`: the worker processes of one machine, for `confseg train --kvstore dist_sync`."""

from __future__ import annotations

import argparse

from gluon_confseg.cli import options

SUMMARY = "Start the worker processes of this machine for a training with --kvstore dist_sync."
EXAMPLES = (
    ("launch --workers 2 -- confseg train drawn --kvstore dist_sync", "two processes on this machine"),
    (
        "launch --machines 2 --machine 0 --address HOST:9091 -- confseg train drawn --kvstore dist_sync",
        "the first of two machines, HOST; the same with --machine 1 is given on the second",
    ),
)


def add_arguments(parser) -> None:
    """How many processes, on which of how many machines, and the command."""
    parser.add_argument(
        "--workers",
        type=options.positive,
        default=1,
        metavar="N",
        help="worker processes on each machine (default: 1)",
    )
    parser.add_argument(
        "--machines", type=options.positive, default=1, metavar="N", help="how many machines (default: 1)"
    )
    parser.add_argument(
        "--machine",
        type=options.count,
        default=0,
        metavar="I",
        help="which one this is, from 0 on (default: 0)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="machine 0's name or address, and a free port of it (default port: 9091); needed with several machines",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command of every worker")


def run(arguments) -> int:
    """The status of the first worker that failed."""
    from gluon_confseg.distributed.launch import launch

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        arguments.usage("give the command of the workers after --, such as -- confseg train drawn")
    return launch(command, arguments.workers, arguments.machines, arguments.machine, arguments.address)
