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

from videoswin.classifier.folder import CONFIG_FILE, FILES
from videoswin.errors import ConfigError, MissingExtraError, WeightsError

__all__ = ["fetch_folder", "push_folder"]

_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def fetch_folder(repo_id: str, revision: str | None = None) -> Path:
    """The checkpoint folder of the repository ``user/repo``, from the library's cache or downloaded into it.

    Without a network, what was downloaded before is given.

    Raises:
        MissingExtraError: the extra ``hub`` is not installed.
        WeightsError: there is no such repository, revision or checkpoint, or the hub cannot be reached.
    """
    library = _library()
    with _one_line_errors(repo_id):
        folder = Path(library.snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES)))
    if not (folder / CONFIG_FILE).is_file():
        reason = f"the repository holds no checkpoint of videoswin (no {CONFIG_FILE})"
        raise WeightsError(_address(repo_id), reason, "Give one that Classifier.push_to_hub made")
    return folder


def push_folder(folder: Path, repo_id: str, *, private: bool | None, message: str) -> str:
    """Upload the files of a checkpoint folder to ``user/repo``, which is made if need be; gives its address."""
    if _REPO.fullmatch(repo_id) is None:
        raise ConfigError(f'"{repo_id}" is no name of a repository. Write user/repo.')
    api = _library().HfApi()
    with _one_line_errors(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, allow_patterns=list(FILES))
    return _address(repo_id)


def _address(repo_id: str) -> str:
    return f"hf://{repo_id}"


def _library() -> Any:
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingExtraError(
            "Checkpoints on a hub need the library huggingface_hub. Install it: pip install 'videoswin[hub]'"
        ) from error


@contextmanager
def _one_line_errors(repo_id: str) -> Iterator[None]:
    """The library's errors, which run over paragraphs, as one of ours."""
    errors: Any = import_module("huggingface_hub.errors")
    known = {
        errors.GatedRepoError: (
            "its owner has to grant access first",
            "Ask for access on its page, then log in: hf auth login",
        ),
        errors.RepositoryNotFoundError: (
            "there is no such repository, or it is private",
            "Check the name; for a private one log in first: hf auth login",
        ),
        errors.RevisionNotFoundError: ("the repository has no such revision", "Leave out what follows the @"),
        errors.LocalEntryNotFoundError: (
            "the hub cannot be reached, and it was not downloaded before",
            "Check the network; what was downloaded once is used without it",
        ),
    }
    try:
        with _bars_for_people():
            yield
    except MemoryError:
        raise
    except Exception as error:  # also what its HTTP library raises, which is another one in every other version
        refused = f"the hub refused ({str(error).strip().partition(chr(10))[0]})"
        general = refused, "Check the name and the log-in: hf auth whoami"
        reason, hint = next((words for kind, words in known.items() if isinstance(error, kind)), general)
        raise WeightsError(_address(repo_id), reason, hint) from error


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
