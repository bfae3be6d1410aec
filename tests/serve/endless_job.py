"""A job that never ends by itself. In a file of its own, since the process that runs it imports nothing else of the tests."""

from contextlib import suppress
from multiprocessing.connection import Connection


def run_endless_job(connection: Connection, *_: object) -> None:
    """In place of :func:`videoswin.serve.job_worker.run_job`: wait until the server is gone."""
    with suppress(EOFError, OSError):
        connection.recv_bytes()
