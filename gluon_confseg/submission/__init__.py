"""Archives for the benchmarks' test servers: written, and checked for what a server would refuse."""

from __future__ import annotations

from gluon_confseg.submission.archives import check, write
from gluon_confseg.submission.expected import of_dataset, of_list
from gluon_confseg.submission.predictions import Predictions
from gluon_confseg.submission.servers import SERVERS, Server, server_of

__all__ = ["SERVERS", "Predictions", "Server", "check", "of_dataset", "of_list", "server_of", "write"]
