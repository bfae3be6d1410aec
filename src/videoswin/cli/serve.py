"""``videoswin serve``: a page for people and an API for programs."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, say
from videoswin.cli.weights_argument import RuntimeChoice

__all__ = ["serve"]

_TOKEN_VARIABLE = "VIDEOSWIN_TOKEN"
_DEFAULT = "swin3d_micro_gestures"


def serve(
    *,
    weights: Annotated[tuple[str, ...] | None, Parameter(metavar="CHECKPOINT", consume_multiple=True)] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    without_token: Annotated[bool, Parameter(negative="")] = False,
    share: Annotated[bool, Parameter(negative="--no-share")] = True,
    queue: int = 64,
    streams: int = 8,
    decoders: int | None = None,
    max_upload: float = 256,
    max_seconds: float = 3600,
    timeout: float = 60,
    drain: float = 30,
    mqtt: Annotated[str | None, Parameter(metavar="ADDRESS")] = None,
    mqtt_name: str = "serve",
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
) -> int:
    """Serve models to people and programs, until Ctrl-C.

    The printed address is a page: drop a video, turn the camera on, teach new classes. Programs use the same server; its API
    is described at /openapi.json. Only this machine reaches it unless --host says otherwise, and then clients need a token.

    For example:

        videoswin serve
        videoswin serve --weights runs/mine/best --port 9000
        videoswin serve --weights runs/mine/best --host 0.0.0.0 --token-file token.txt

    Parameters
    ----------
    weights
        Checkpoints or exported files; the first one answers where a request names no model. By default the bundled model.
    host
        Where to listen: 127.0.0.1 is this machine alone, 0.0.0.0 all networks it is in.
    port
        0 takes any free one.
    token_file
        The token that clients have to send. Without it the variable VIDEOSWIN_TOKEN is used; beyond this machine, a new one
        is made up and printed with the address.
    without_token
        Ask for no token, also beyond this machine.
    share
        Let views of different requests go through the model together.
    queue
        Requests that may wait at once; more are refused with 503.
    streams
        Live streams at once.
    decoders
        Processes that decode videos. By default one for each core, at most 4.
    max_upload
        Megabytes (2**20 bytes) of one upload.
    max_seconds
        Length of a video.
    timeout
        Seconds from the end of an upload to the answer; then the work is stopped.
    drain
        Seconds that running requests get after SIGTERM or Ctrl-C.
    mqtt
        Send starts and ends of live streams to this MQTT broker, such as mqtt://192.168.1.5 (docs/deploy.md).
    mqtt_name
        What this server is called there.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    runtime
        What runs an exported file: onnxruntime, openvino or torch. By default what suits the file.
    """
    from videoswin.serve.run import require_libraries
    from videoswin.serve.run import serve as run
    from videoswin.serve.settings import ServeSettings

    require_libraries()
    sources = weights or (_DEFAULT,)
    _announce_programs(sources)
    chosen = {} if decoders is None else {"decoders": decoders}
    settings = ServeSettings(
        host=host,
        port=port,
        token=_token(host, token_file, without_token),
        share=share,
        queue=queue,
        streams=streams,
        max_upload_bytes=round(max_upload * 2**20),
        max_seconds=max_seconds,
        timeout_s=timeout,
        drain_s=drain,
        **chosen,
    )
    run(sources, settings, runtime=runtime, device=device, mqtt=mqtt, mqtt_name=mqtt_name, say=say)
    return DONE


def _announce_programs(sources: tuple[str, ...]) -> None:
    """Every name is looked up before PyTorch is imported, and a program is announced before it is run."""
    from videoswin.classifier.resolve import Exported, resolve

    for source in sources:
        target = resolve(source)
        if isinstance(target, Exported) and target.path.suffix == ".pt2":
            say(
                f"{source} is a program, and is run as such. Give only .pt2 files that you made or whose maker you trust."
            )


def _token(host: str, token_file: Path | None, without: bool) -> str | None:
    """The token that clients need, or None."""
    import secrets

    from videoswin.errors import ConfigError
    from videoswin.serve.settings import is_loopback

    if without:
        if token_file is not None:
            raise ConfigError("Give --token-file or --without-token, not both.")
        return None
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--token-file {token_file} cannot be read ({error}). Give a file that holds one line."
            ) from error
    else:
        token = os.environ.get(_TOKEN_VARIABLE, "").strip()
        if not token:
            return None if is_loopback(host) else secrets.token_urlsafe(24)
    if not (len(token) >= 16 and token.isascii() and all(c.isalnum() or c in "-_.~" for c in token)):
        raise ConfigError("A token has 16 letters, digits, or signs of -_.~ or more; the one that is given has not.")
    return token
