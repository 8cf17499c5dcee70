"""Translate exceptions of huggingface_hub and of the disk into the errors of this library."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from litgpt.application.files.free_space import free_bytes
from litgpt.domain.errors import (
    AccessDenied,
    CorruptFile,
    HubUnreachable,
    LitGPTError,
    MissingFile,
    ModelNotFound,
    UnsupportedOperation,
)
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.reference import ModelReference
from litgpt.domain.training.errors import DataNotFound
from litgpt.domain.validation.untrusted_files import error_message, printable

# Messages of hf_xet about a full disk, and of pathlib before Python 3.13 about circular links.
_OS_ERROR = re.compile(r"\(os error (13|27|28|30|122)\)|^Symlink loop")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def translate_disk_errors(operation: str, cache: Path) -> Iterator[None]:
    """Convert an OSError to an UnsupportedOperation that names the file, or the cache, and the remedy."""
    try:
        yield
    except LitGPTError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else cache
        remedy = "Set HF_HOME to a writable folder"
        if error.errno in _DISK_FULL:
            free = f"{free_bytes(cache) / 1e9:.2f} GB are free"
            remedy = f"{free}. Free disk space, or set HF_HOME to a folder on another disk"
        message = f"{printable(path)}: {error_message(error)}. {remedy}."
        raise UnsupportedOperation(operation, message) from error


def not_found(repo_type: str, name: str, *, hub: str, hint: str) -> LitGPTError:
    """Return the error for a model or a data set that does not exist on the Hub."""
    if repo_type == "dataset":
        return DataNotFound(name, searched=(hub,), hint=hint)
    return ModelNotFound(name, searched=(hub,), hint=hint)


@contextmanager
def translate_errors(
    reference: ModelReference, *, hub: str, page: str, repo_type: str = "model"
) -> Iterator[None]:
    """Translate huggingface_hub's exceptions; messages name the Hub as `hub` and link to `page`."""
    try:
        yield
    except LitGPTError:
        raise
    except Exception as error:
        if type(error) is RuntimeError and (match := _OS_ERROR.search(str(error))):
            number = errno.ELOOP if match[1] is None else int(match[1])
            raise OSError(number, os.strerror(number)) from None
        converted = _http_error(error, reference, hub, page, repo_type) or _connection_error(
            error, reference, hub
        )
        if converted is None and isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk, not of the Hub
        # Its message may contain a URL with a password or a signature, which a traceback would show.
        raise converted or _unexpected_error(error, reference) from None


def _unexpected_error(error: Exception, reference: ModelReference) -> LitGPTError:
    return HubUnreachable(reference.name, f"huggingface_hub failed ({redact(error_message(error))}).")


def _http_error(
    error: Exception, reference: ModelReference, hub: str, page: str, repo_type: str
) -> LitGPTError | None:
    from huggingface_hub import errors as hf_errors

    name, log_in = reference.name, "set HF_TOKEN, run `hf auth login` or pass a token."
    match error:
        case hf_errors.GatedRepoError():  # a subclass of RepositoryNotFoundError, so it comes first
            return AccessDenied(name, f"the repository is gated. Accept its terms on {page}, then {log_in}")
        case hf_errors.RepositoryNotFoundError():
            return not_found(repo_type, name, hub=hub, hint=f"If it is private, {log_in}")
        case hf_errors.RevisionNotFoundError():
            hint = f"The repository exists, but has no revision {reference.revision!r}."
            return not_found(repo_type, str(reference), hub=hub, hint=hint)
        case hf_errors.RemoteEntryNotFoundError():
            where = redact(str(error.response.url))
            return MissingFile(where, "the Hub lists this file, but does not have it.")
        case hf_errors.HfHubHTTPError():
            return _status_error(error.response.status_code, error.server_message, name, hub)
    return None


def _status_error(status: int, message: str | None, name: str, hub: str) -> LitGPTError:
    because = f" ({redact(message)})" if message else ""
    if status == HTTPStatus.UNAUTHORIZED:
        return AccessDenied(
            name, f"the token is not valid{because}. Correct HF_TOKEN, or run `hf auth login`."
        )
    if status == HTTPStatus.FORBIDDEN:
        return AccessDenied(name, f"the token lacks read access{because}. Use a token that has it.")
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
    return HubUnreachable(name, f"{hub} returned {status} {phrase}{because}.")


def _connection_error(error: Exception, reference: ModelReference, hub: str) -> LitGPTError | None:
    """Return the error for a missing or unusable response; None for other exceptions."""
    from huggingface_hub import errors as hf_errors

    if isinstance(error, hf_errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if reason := _reason(error, hub):
        return HubUnreachable(reference.name, reason)
    if type(error) is OSError and error.errno is None:  # huggingface_hub has no class for a wrong size
        download = f"The download of {reference.name}"
        return CorruptFile(download, "its size differs from the announced size.")
    return None


def _reason(error: Exception, hub: str) -> str | None:
    """Return the reason for a missing response, as a sentence; None for other exceptions."""
    from huggingface_hub import errors as hf_errors

    # huggingface_hub 1 uses httpx, 2 uses httpx2; HfHubHTTPError is a subclass of the HTTPError of either.
    (transport_error,) = (kind for kind in hf_errors.HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    if isinstance(error, hf_errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set."
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return f"{hub} did not respond in time."
    if isinstance(error, hf_errors.FileMetadataError):
        return f"{hub} does not respond like a Hugging Face Hub."
    is_invalid = type(error).__name__ == "InvalidURL"  # its message quotes a part of the URL
    if isinstance(error, (transport_error, ConnectionError)) or is_invalid:
        detail = "the URL is not valid" if is_invalid else redact(str(error))
        return f"no connection to {hub} ({detail})."
    if type(error) is RuntimeError:  # of hf_xet, which has no exception class for it
        detail = redact(str(error))
        return f"the Xet storage failed ({detail}). Set HF_HUB_DISABLE_XET=1 to download without Xet."
    return None
