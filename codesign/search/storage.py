"""Where a search keeps its trials: in memory, in a journal file, or in a database. Optuna's storages, opened with care."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces.errors import MissingExtra, SearchError

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("codesign")
IDENTITY = "codesign"
SHOWN = 4
"""Differences between two searches that a message names."""
GRACE_S = 5
"""Seconds after which the lock of a process that was killed is broken: nobody holds one longer than it takes to write a trial."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's own log to warnings for as long as the context lasts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # of a notebook without widgets: Optuna's bar is not used
        import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C be one: a lock that it keeps from being taken fails to be given back, which would hide it behind an error."""
    try:
        yield
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise


def _interrupted(error: BaseException | None) -> bool:
    """Return whether an error came up while Ctrl-C was dealt with."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__))


def open_study(
    storage: str | os.PathLike[str] | None, sampler: optuna.samplers.BaseSampler, objectives: int, identity: dict[str, Any]
) -> optuna.Study:
    """Return the study in ``storage`` (None: in memory), made if need be.

    ``storage`` is the path of a journal file or a URL that SQLAlchemy knows, such as sqlite:///search.db. ``identity`` says what is
    searched; raises SearchError if the storage holds a search of something else or cannot be used.
    """
    import optuna

    backend = _backend(storage)
    with _usable(storage):
        study = optuna.create_study(
            storage=backend, sampler=sampler, study_name=IDENTITY, directions=["minimize"] * objectives, load_if_exists=True
        )
        held = study.user_attrs.get(IDENTITY)
        if held is None:
            study.set_user_attr(IDENTITY, identity)
    if held is not None and held != identity:
        differ = list(_differences(held, identity))
        shown = "; ".join(differ[:SHOWN]) + (f"; {len(differ) - SHOWN} more" if len(differ) > SHOWN else "")
        raise SearchError(f"a storage must go on with the search it holds, but {storage} holds another ({shown}); name another storage")
    return study


def _differences(held: dict[str, Any], wanted: dict[str, Any], path: str = "") -> Iterator[str]:
    """Say in which parts two searches differ, tables by their keys."""
    for key in dict.fromkeys([*wanted, *held]):
        there, here = held.get(key), wanted.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            yield from _differences(there, here, f"{path}{key}.")
        elif there != here:
            yield f"{path}{key}: {there!r} there, {here!r} here"


def _backend(storage: str | os.PathLike[str] | None) -> optuna.storages.BaseStorage | str | None:
    if storage is None:
        return None
    text = os.fspath(storage)
    if "://" in text:
        return text
    return _journal(Path(text))


def _journal(path: Path) -> optuna.storages.BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    if not path.parent.is_dir():
        raise SearchError(f"the storage's folder must exist, but there is no {path.parent}; make it first")
    with _usable(path):
        if path.exists():
            lock = JournalFileSymlinkLock(str(path), grace_period=GRACE_S)
            lock.acquire()
            try:
                drop_torn_line(path)
            finally:
                lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileSymlinkLock(str(path), grace_period=GRACE_S)))


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left unfinished: it would make the journal unreadable after the next one."""
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            log.warning("the last line of %s is unfinished and is dropped: the run that wrote it was killed", path)
            file.truncate(whole)


@contextmanager
def _usable(storage: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turn what a storage raises when it is foreign, damaged or cannot be written into a SearchError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra("postgres", f"the storage {storage}") from error
    except Exception as error:  # Optuna wraps each backend's errors differently
        if isinstance(error, SearchError) or _interrupted(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SearchError(
            f"the storage must be a journal file of a search or a database URL, but {storage} cannot be used: {reason}"
        ) from error
