"""Reads the document of ``--auth`` and the files of API keys, and says of each what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from laneway.adapters.documents import BadFile, read_documents
from laneway.adapters.explain import explain, path_text
from laneway.errors import ConfigError
from laneway.model.apikeys import KeyFile
from laneway.model.auth import OPEN, AuthSettings

_M = TypeVar("_M", bound=BaseModel)


def load_auth(said: str) -> AuthSettings:
    """The settings that ``--auth`` means: ``none``, a file of YAML or JSON, or JSON itself (``{...}``). Paths in a file
    that are not absolute are beside it.

    Raises:
        ConfigError: anything is wrong; the message has a line for each error.
    """
    if said.strip().lower() == "none":
        return OPEN
    if said.lstrip().startswith("{"):
        try:
            value = json.loads(said)
        except ValueError as error:
            raise ConfigError(f"--auth: this is not JSON: {error}") from None
        return _settings(_read(AuthSettings, value, "--auth", {}), Path())
    file = Path(said)
    if not file.exists():
        raise ConfigError(f"--auth: there is no file {said}: name one, or `none` to let everybody in")
    return _settings(_read_file(AuthSettings, file), file.parent)


def load_keys(file: Path) -> KeyFile:
    """The keys of a file; an empty file has none.

    Raises:
        ConfigError: anything is wrong; the message has a line for each error, and nothing of a key.
    """
    return _read_file(KeyFile, file, empty={"keys": []}, quiet=True)


def _settings(settings: AuthSettings, folder: Path) -> AuthSettings:
    """With paths that are valid from anywhere."""
    keys, review, audit = settings.keys, settings.tokenReview, settings.audit
    if keys is not None:
        keys = keys.model_copy(update={"path": str(folder / keys.path)})
    if review is not None:
        files = {name: str(folder / path) for name in ("tokenFile", "caFile") if (path := getattr(review, name))}
        review = review.model_copy(update=files)
    if audit.file is not None:
        audit = audit.model_copy(update={"file": str(folder / audit.file)})
    return settings.model_copy(update={"keys": keys, "tokenReview": review, "audit": audit})


def _read_file(model: type[_M], file: Path, empty: Any = None, quiet: bool = False) -> _M:
    documents = list(read_documents(file))
    for document in documents:
        if isinstance(document, BadFile):
            line = f":{document.line}" if document.line else ""
            raise ConfigError(f"{file}{line}: {document}")
    if not documents and empty is not None:
        return model.model_validate(empty)
    if len(documents) != 1:
        raise ConfigError(f"{file}: must have one document, not {len(documents)}")
    (document,) = documents
    assert not isinstance(document, BadFile)
    return _read(model, document.value, str(file), document.lines, quiet)


def _read(model: type[_M], value: Any, name: str, lines: dict[tuple[str | int, ...], int], quiet: bool = False) -> _M:
    """``quiet``: errors say nothing of values, since the file may be another than was meant, such as one with a
    password."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        told = []
        for path, what in explain(model, error):
            at = path
            while at and at not in lines:
                at = at[:-1]
            line = f":{lines[at]}" if at in lines else ""
            field = path_text(path)
            if quiet:
                what = what.partition(", not ")[0]
            told.append(f"{name}{line}: {field + ': ' if field else ''}{what}")
        raise ConfigError("\n".join(told)) from None
