"""Read the local cache of huggingface_hub, without network access.

Layout, as documented by huggingface_hub: `models--org--name/refs/main` holds a commit, and
`models--org--name/snapshots/<commit>/` the downloaded files of that commit. Data sets are in
`datasets--org--name`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from litgpt.adapters.hub.errors import translate_disk_errors
from litgpt.adapters.hub.file_filter import ADAPTER_FILES, INDEX_FILE, SINGLE_FILE
from litgpt.application.files.atomic_write import atomic_write
from litgpt.domain.families import expected_shapes
from litgpt.domain.tokenizer_source import (
    NAMED_TEMPLATES,
    TOKENIZER_FILES,
    TokenizerFiles,
    has_tokenizer_files,
)

_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")

RepoType: TypeAlias = Literal["model", "dataset"]


@attrs.frozen
class Snapshot:
    """The downloaded files of one commit of a repository."""

    folder: Path

    @property
    def commit(self) -> str:
        return self.folder.name

    @property
    def has_weights(self) -> bool:
        """Whether the config and all weight files are present; snapshots contain complete files only."""
        try:
            if not (self.folder / "config.json").is_file():
                return False
            if (self.folder / SINGLE_FILE).is_file():
                return True
            weight_map = self._index()["weight_map"]
            missing = {name for name, shard in weight_map.items() if not (self.folder / str(shard)).is_file()}
            return bool(weight_map) and not (missing and missing & self._needed_files(weight_map))
        except Exception:  # noqa: BLE001 - untrusted files; opening them reports the error
            return False

    def _needed_files(self, names: Iterable[str]) -> set[str]:
        """Return the names of the tensors that the model needs; some shards may contain none."""
        config = json.loads((self.folder / "config.json").read_bytes())
        return set(expected_shapes(self.commit, config, names))

    @property
    def has_adapter(self) -> bool:
        return all((self.folder / name).is_file() for name in ADAPTER_FILES)

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer is present; other programs may not have downloaded it."""
        return has_tokenizer_files(self.tokenizer.paths)

    @property
    def tokenizer(self) -> TokenizerFiles:
        names = [*TOKENIZER_FILES, *sorted(path.name for path in self.folder.glob("*.tiktoken"))]
        templates = sorted((self.folder / NAMED_TEMPLATES).glob("*.jinja"))
        names += [f"{NAMED_TEMPLATES}/{path.name}" for path in templates]
        paths = {name: self.folder / name for name in names}
        return TokenizerFiles({name: path for name, path in paths.items() if path.is_file()})

    def _index(self) -> dict[str, dict[str, object]]:
        parsed: dict[str, dict[str, object]] = json.loads((self.folder / INDEX_FILE).read_bytes())
        return parsed


@attrs.frozen
class HubCache:
    """A huggingface_hub cache folder for repositories of one type."""

    folder: Path
    repo_type: RepoType = "model"

    def at_commit(self, repository: str, commit: str) -> Snapshot:
        """Return the snapshot of a commit, which may not exist yet."""
        return Snapshot(self.folder_of(repository) / "snapshots" / commit)

    def at_revision(self, repository: str, revision: str) -> Snapshot | None:
        """Return the snapshot of a branch, tag or commit, as of the last download; None without one."""
        with translate_disk_errors("Reading the cache of the Hub", self.folder):
            reference = self.folder_of(repository) / "refs" / revision
            try:
                commit = reference.read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                commit = revision
            if "/" in commit:
                return None
            snapshot = self.at_commit(repository, commit)
            if snapshot.folder.is_dir():
                return snapshot
            matches = [match for match in self.snapshots(repository) if match.commit.startswith(commit)]
            return matches[0] if len(matches) == 1 and _ABBREVIATED.fullmatch(commit) else None

    def snapshots(self, repository: str) -> list[Snapshot]:
        """Return the snapshots of all commits, with or without a ref."""
        folders = (self.folder_of(repository) / "snapshots").glob("*")
        return [Snapshot(folder) for folder in sorted(folders) if folder.is_dir()]

    def write_ref(self, repository: str, revision: str, commit: str) -> None:
        """Record the commit of a revision, so that it is found without network access.

        Call this when the download is complete; until then, an older complete snapshot is preferred.
        """
        with translate_disk_errors("Writing to the cache of the Hub", self.folder):
            reference = self.folder_of(repository) / "refs" / revision
            known = reference.read_text(encoding="ascii") if reference.is_file() else None
            if commit in (revision, known):
                return
            reference.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(reference, commit.encode("ascii"))

    def recent_writes(self, repository: str) -> Iterator[float]:
        """Yield the modification time of each incomplete download, in seconds since the epoch."""
        for path in (self.folder_of(repository) / "blobs").glob("*.incomplete"):
            with suppress(OSError):  # it was completed in the meantime
                yield path.stat().st_mtime

    def repositories(self) -> Iterator[str]:
        if self.folder.is_dir():
            for path in self.folder.glob(f"{self.repo_type}s--*--*"):
                yield path.name.removeprefix(f"{self.repo_type}s--").replace("--", "/", 1)

    def folder_of(self, repository: str) -> Path:
        """Return the folder of a repository, which may not exist yet."""
        return self.folder / f"{self.repo_type}s--{repository.replace('/', '--')}"
