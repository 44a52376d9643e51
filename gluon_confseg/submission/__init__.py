"""Archives for the benchmarks' test servers: written, and checked for what a server would refuse."""

from __future__ import annotations

from gluon_confseg.submission.archives import Predictions, check, of_dataset, of_list, write
from gluon_confseg.submission.servers import SERVERS, Server, server_of

__all__ = ["SERVERS", "Predictions", "Server", "check", "of_dataset", "of_list", "server_of", "write"]
