"""`confseg doctor`: what works on this machine."""

from __future__ import annotations

import socket

from gluon_confseg import doctor
from gluon_confseg.cli import options
from gluon_confseg.cli.output import Output

SUMMARY = "Say what works on this machine, what does not, and what to do about it."


def add_arguments(parser) -> None:
    """The communication to be measured."""
    parser.add_argument(
        "--kvstore",
        type=options.one_of(options.KVSTORES),
        metavar="KIND",
        help="measure the network between workers as well, in a command that horovodrun (KIND horovod) or `confseg "
        "launch` (KIND dist_sync) starts for each of them",
    )


def run(arguments) -> Output | int:
    """All findings; a failure where one is a problem. Of several workers, rank 0 prints its own."""
    if arguments.kvstore is None:
        return _output(doctor.examine())
    from gluon_confseg import distributed
    from gluon_confseg.distributed import cost, probe

    with distributed.open_communicator(arguments.kvstore) as together:
        findings = together.from_root(doctor.examine)
        measured = probe.measure(together)
        machines = len(set(together.allgather(socket.gethostname())))
    if together.rank:
        return 0
    network = cost.record(arguments.kvstore, measured, machines)
    return _output([*findings, doctor.network(measured)], {"network": network})


def _output(findings: list, more: dict | None = None) -> Output:
    problems = sum(finding.problem is not None for finding in findings)
    text = "\n".join(finding.line() for finding in findings)
    record = {"usable": not problems, "findings": [finding._asdict() for finding in findings], **(more or {})}
    failure = f"{problems} of {len(findings)} findings are problems; each says what to do"
    return Output(text, record, failure if problems else None)
