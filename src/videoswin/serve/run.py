"""Starting a server: models loaded, address printed, and an orderly end."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from videoswin.errors import ConfigError, MissingExtraError
from videoswin.predict.answers import require_one_label
from videoswin.serve.settings import ServeSettings

__all__ = ["require_libraries", "serve"]

_LIBRARIES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets")


def require_libraries() -> None:
    """Raise :class:`MissingExtraError` unless all that a server needs can be imported."""
    from importlib.util import find_spec

    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise MissingExtraError(f"A server needs {library.replace('_', '-')}. pip install 'videoswin[serve]'")


def serve(
    weights: Sequence[str],
    settings: ServeSettings,
    *,
    runtime: str = "auto",
    device: str = "auto",
    mqtt: str | None = None,
    mqtt_name: str = "serve",
    say: Callable[[str], object] = print,
    started: Callable[[int], object] = lambda port: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then let running requests end.

    Args:
        weights: checkpoints or exported files; the first one answers where no model is named.
        mqtt: the address of a broker that is told the starts and ends of live streams; ``mqtt_name``: under which name.
        say: is given lines for people.
        started: called with the port once requests are answered.

    Raises:
        ConfigError: the address cannot be had, or two models have one name.
        WeightsError: a checkpoint cannot be loaded.
        MissingExtraError: the extra ``serve`` is not installed.
    """
    require_libraries()
    from videoswin.serve.processes import process_context

    process_context()  # it imports what decoders need while this process does the same
    from videoswin.live.mqtt import Broker, MqttEvents
    from videoswin.serve.app import make_app
    from videoswin.serve.server import GracefulServer, config_of
    from videoswin.serve.service import Service

    with _listen(settings) as listening:
        models = load_models(weights, runtime, device)
        port = listening.getsockname()[1]
        labels = list(dict.fromkeys(label for model in models for label in model.classifier.labels))
        broker = MqttEvents(Broker.parse(mqtt), mqtt_name, labels) if mqtt else None
        service = Service(models, replace(settings, port=port), broker.take if broker else lambda message: None)
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        key = f"/#token={settings.token}" if settings.token else "/"
        names = ", ".join(model.classifier.name for model in models)

        def ready() -> None:
            say(f"serving {names} at http://{shown}:{port}{key}")
            started(port)

        server = GracefulServer(config_of(make_app(service), service.settings), service, ready)
        try:
            asyncio.run(server.serve([listening]))
        finally:
            if broker:
                broker.close()


def load_models(weights: Sequence[str], runtime: str, device: str) -> Any:
    """All models, by their names."""
    from videoswin.export.runtime import open_classifier
    from videoswin.serve.models import Models, ServedModel

    served: dict[str, ServedModel] = {}
    for source in weights:
        classifier = open_classifier(source, runtime, device)  # type: ignore[arg-type]
        require_one_label(classifier.answer, classifier.name, "a server")
        if classifier.name in served:
            raise ConfigError(
                f'Two models are called "{classifier.name}". Give one of them another folder, or another name.'
            )
        served[classifier.name] = ServedModel(classifier, source, runtime, device)
    return Models(served)


def _listen(settings: ServeSettings) -> socket.socket:
    """The socket, which listens before the models are loaded: a port that is taken is told at once. Two sockets that are only bound
    may have one port; the second would be told when all is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen()
    except (OSError, OverflowError, UnicodeError) as error:  # a port above 65535; a host that is no name
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened on ({reason}). Choose another with --host and --port."
        ) from error
    return listening
