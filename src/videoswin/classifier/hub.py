"""Checkpoint folders on a hub (Hugging Face's, or another with its interface): ``hf://user/repo@revision``.

Only the three files of a checkpoint folder travel. Whatever else a repository holds, a pickle in the first place, is not
downloaded. The library ``huggingface_hub`` is an extra: it knows the hub's addresses, cache, log-in and large files.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from videoswin.errors import ConfigError, MissingExtraError, WeightsError

__all__ = ["fetch_folder", "is_address", "push_folder"]

FILES = ("config.json", "model.safetensors", "README.md")
_SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


def is_address(text: object) -> bool:
    """Whether it is meant as an address on a hub."""
    return isinstance(text, str) and text.startswith(_SCHEME)


def fetch_folder(address: str | Path) -> Path:
    """The checkpoint folder at ``hf://user/repo[@revision]``, from the library's cache or downloaded into it.

    Without a network, what was downloaded before is given.

    Raises:
        ConfigError: the address is malformed.
        MissingExtraError: the extra ``hub`` is not installed.
        WeightsError: there is no such repository, revision or checkpoint, or the hub cannot be reached.
    """
    address = str(address)
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigError(f"{address} is no address on a hub. Write hf://user/repo or hf://user/repo@revision.")
    library = _library()
    with _one_line_errors(address):
        folder = Path(library.snapshot_download(found["repo"], revision=found["revision"], allow_patterns=list(FILES)))
    if not (folder / "config.json").is_file():
        reason = "the repository holds no checkpoint of videoswin (no config.json)"
        raise WeightsError(address, reason, "Give one that Classifier.push_to_hub made")
    return folder


def push_folder(folder: Path, repo_id: str, *, private: bool | None, message: str) -> str:
    """Upload the files of a checkpoint folder to ``user/repo``, which is made if need be; gives its address."""
    if _ADDRESS.fullmatch(_SCHEME + repo_id) is None or "@" in repo_id:
        raise ConfigError(f'"{repo_id}" is no name of a repository. Write user/repo.')
    api = _library().HfApi()
    with _one_line_errors(_SCHEME + repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, allow_patterns=list(FILES))
    return _SCHEME + repo_id


def _library() -> Any:
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingExtraError(
            "Checkpoints on a hub need the library huggingface_hub. Install it: pip install 'videoswin[hub]'"
        ) from None


@contextmanager
def _one_line_errors(address: str) -> Iterator[None]:
    """The library's errors, which run over paragraphs, as one of ours."""
    errors: Any = import_module("huggingface_hub.errors")
    try:
        with _bars_for_people():
            yield
    except errors.GatedRepoError:
        hint = "Ask for access on its page, then log in: hf auth login"
        raise WeightsError(address, "its owner has to grant access first", hint) from None
    except errors.RepositoryNotFoundError:
        hint = "Check the name; for a private one log in first: hf auth login"
        raise WeightsError(address, "there is no such repository, or it is private", hint) from None
    except errors.RevisionNotFoundError:
        raise WeightsError(address, "the repository has no such revision", "Leave out what follows the @") from None
    except errors.LocalEntryNotFoundError:
        hint = "Check the network; what was downloaded once is used without it"
        raise WeightsError(address, "the hub cannot be reached, and it was not downloaded before", hint) from None
    except (errors.HFValidationError, OSError, ValueError, *errors.HfHubHTTPError.__bases__) as error:
        # The bases: whatever its HTTP library raises, which is another one in every other version.
        first = str(error).strip().partition("\n")[0]
        raise WeightsError(
            address, f"the hub refused ({first})", "Check the name and the log-in: hf auth whoami"
        ) from None


@contextmanager
def _bars_for_people() -> Iterator[None]:
    """The library draws its progress bars into pipes and logs too; here only a terminal gets them."""
    utils: Any = import_module("huggingface_hub.utils")
    hide = not sys.stderr.isatty() and not utils.are_progress_bars_disabled()
    if hide:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            utils.enable_progress_bars()
