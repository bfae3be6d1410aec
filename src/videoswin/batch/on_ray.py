"""The engine for many machines: actors of a Ray cluster take parts until none is left, and may die at any moment.

The bookkeeping is that of the local engine: parts of the manifest, each computed afresh and as a whole, so the table is the same
to the last byte. Ray Data was tried and not taken: it names its files at random and cuts them as blocks happen to come, so a table
cannot be compared with another by its bytes (``docs/batch.md``).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from videoswin.batch.orders import Order, Orders, PartDone, do_part
from videoswin.batch.parts import part_name
from videoswin.batch.place import Place
from videoswin.batch.work import Files, Work
from videoswin.errors import ConfigError, VideoSwinError
from videoswin.storage.extras import require_extra

__all__ = ["require_ray", "run_parts_on_ray"]


def require_ray() -> None:
    """A :class:`MissingExtraError` if Ray is not installed."""
    require_extra("ray", "ray", "A batch on a cluster needs")


class _Hands:
    """What runs in an actor. Errors of ours are given back rather than raised: Ray would wrap them."""

    def __init__(self, work: Work, place: Place, folder: str) -> None:
        """``folder``: the driver's current one, which relative paths are seen from."""
        self._work, self._place, self._reader = work, place, None
        with suppress(OSError):  # a machine without it: paths have to be absolute there
            os.chdir(folder)

    def open(self) -> VideoSwinError | None:
        try:
            self._reader = self._work.open()
        except VideoSwinError as error:
            return error
        return None

    def try_one(self, path: str) -> None:
        assert self._reader is not None
        self._reader.try_one(path)

    def part(self, order: Order) -> PartDone | VideoSwinError:
        assert self._reader is not None
        try:
            return do_part(self._reader, self._work, self._place, order)
        except VideoSwinError as error:
            return error


class _Worker:
    """One actor, and what it is busy with."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.order: Order | None = None
        self.tries: list[str] = []
        self.file: str | None = None
        self.ready = False
        self.waits_for = actor.open.remote()

    def give(self, order: Order) -> None:
        self.order, self.tries = order, order.to_try[::-1]
        self.go_on()

    def go_on(self) -> None:
        """The next file to be tried by itself, or the part."""
        self.file = self.tries.pop() if self.tries else None
        if self.file is not None:
            self.waits_for = self.actor.try_one.remote(self.file)
        else:
            self.waits_for = self.actor.part.remote(self.order)


def run_parts_on_ray(
    parts: Iterator[tuple[int, Files]],
    count: int,
    work: Work,
    place: Place,
    workers: int | None = None,
    notice: Callable[[str], object] = lambda line: None,
) -> Iterator[PartDone]:
    """As :func:`videoswin.batch.pool.run_parts`, on the Ray cluster that is there, else on one of this machine.

    Args:
        workers: actors, of one CPU each (with a device of ``cuda``, also of one GPU); None: as many as the cluster has CPUs.

    Raises:
        VideoSwinError: what every worker would run into.
        ConfigError: no cluster can be reached, or its machines do not write to the same place.
    """
    import ray

    gpus = int(str(getattr(work, "device", "cpu")).startswith("cuda"))
    orders, pool = Orders(parts), list[_Worker]()
    with _cluster(min(workers or os.cpu_count() or 1, count), notice):
        found = ray.cluster_resources()
        most = int(found.get("GPU" if gpus else "CPU", 0))
        if most < 1:
            raise ConfigError(
                f"the Ray cluster has no {'GPU' if gpus else 'CPU'} to give. Give another --device, or wait."
            )
        workers = min(workers or most, count)
        kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)(_Hands)

        def employ(worker: _Worker) -> None:
            order = orders.next()
            if order is None:
                dismiss(worker)
            else:
                worker.give(order)

        def dismiss(worker: _Worker) -> None:
            pool.remove(worker)
            ray.kill(worker.actor)

        def answer_of(worker: _Worker) -> object:
            """What the worker says; nothing if it died."""
            try:
                return ray.get(worker.waits_for)
            except ray.exceptions.RayActorError as error:  # pyright: ignore[reportAttributeAccessIssue]
                dismiss(worker)
                line = orders.died(worker.order, worker.file, worker.ready, _why(error))
                if line:
                    notice(line)
                pool.append(
                    _Worker(kind.remote(work, place, os.getcwd()))
                )  # it is dismissed when nothing is left for it
                return None

        try:
            pool.extend(_Worker(kind.remote(work, place, os.getcwd())) for _ in range(workers))
            while pool:
                (first,), _ = ray.wait([worker.waits_for for worker in pool])
                worker = next(worker for worker in pool if worker.waits_for == first)
                answer = answer_of(worker)
                if worker not in pool:
                    continue
                if isinstance(answer, VideoSwinError):
                    raise answer
                if isinstance(answer, PartDone):
                    orders.done(answer.number)
                    worker.order = None
                    if not place.has_part(part_name(answer.number, len(answer.errors))):
                        raise ConfigError(
                            f"{place.name}: a machine of the cluster wrote part {answer.number}, and it is not there. "
                            "Give --out a folder that all machines share, or an address such as s3://bucket/results."
                        )
                    yield answer
                    employ(worker)
                elif not worker.ready:
                    worker.ready = True
                    employ(worker)
                else:
                    assert worker.file is not None
                    orders.survived(worker.file)
                    worker.go_on()
        finally:
            for worker in list(pool):
                dismiss(worker)


@contextmanager
def _cluster(cpus: int, notice: Callable[[str], object]) -> Iterator[None]:
    """The cluster that ``RAY_ADDRESS`` names or that runs on this machine; else one of ``cpus`` that ends with the block."""
    require_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        try:
            ray.init("auto", **quiet)
        except ConnectionError as error:
            if address := os.environ.get("RAY_ADDRESS"):
                raise ConfigError(
                    f"RAY_ADDRESS={address}: no Ray cluster answers there, or it wants another token. Start it, set "
                    "RAY_AUTH_TOKEN to its token, or unset RAY_ADDRESS."
                ) from error
            notice("no Ray cluster runs here; one is started on this machine for the batch.")
            ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
        yield
    finally:
        ray.shutdown()


def _why(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if "Error" in line), lines[0] if lines else type(error).__name__)
    return last[:200]
