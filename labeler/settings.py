"""The one table of settings: name, type, default, help line, environment variable.

The fields of :class:`Settings` are the table; ``labeler settings``, the command line's defaults and the page in
``docs/settings.md`` are made from it. A value comes from, strongest first: the command line, the environment
(``LABELER_<NAME>``), ``labeler.toml`` in the workspace, the default.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labeler.domain import SettingError, without_password

ENVIRONMENT_PREFIX = "LABELER_"
FILE_NAME = "labeler.toml"
_LARGEST = 2**63 - 1  # what a database keeps
RANKERS = ("head", "cnn", "ann", "transfer")
INITIALIZERS = ("auto", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal")
_CLASS_NAME = re.compile(r"[^\W_][\w \-]{0,63}")


def _setting(
    default: Any, text: str, choices: tuple[str, ...] = (), low: float | None = None, high: float | None = None
) -> Any:
    metadata = {"help": text, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of a workspace with its value; immutable, so that one round sees one set of values."""

    classes: tuple[str, ...] = _setting(
        ("withMask", "withoutMask"), "class names in order; `probability` is P(first) for two classes"
    )
    database: str = _setting("", "URL of the record; empty means db/labeler.db in the workspace")
    backbone: str = _setting("efficientnet_lite0", "network that turns an image into a vector")
    weights: str = _setting("imagenet", "weights of the backbone: imagenet, none, or a weights file")
    vectors: str = _setting("multi-depth", "layers that make the vector", ("multi-depth", "pooled"))
    precision: str = _setting("float32", "arithmetic of the frozen backbone", ("float32", "int8"))
    threads: int = _setting(0, "threads for decoding and inference; 0 means one per core", low=0)
    max_pixels: int = _setting(100_000_000, "an image with more pixels goes to quarantine", low=1)
    near_duplicate_bits: int = _setting(4, "differing bits (of 64) up to which two images are near-duplicates", low=0)
    k: int = _setting(50, "images put before a person in one round", low=1)
    strategy: str = _setting("auto", "how a round chooses its images; auto follows the documented rule")
    audit: float = _setting(0.0, "share of each batch drawn by lot, to estimate the accuracy", low=0, high=1)
    seed: int = _setting(0, "seed of everything random", low=0)
    head_c: float = _setting(30.0, "inverse regularisation strength of the logistic-regression head", low=1e-6)
    model: str = _setting("head", "what ranks the pool: a head on the backbone, or a network", RANKERS)
    refresh: str = _setting("auto", "what the retrain step refreshes", ("auto", "head", "finetune"))
    input_size: int = _setting(0, "side in pixels of what a trained network sees; 0: what suits it", low=0)
    epochs: int = _setting(10, "times a trained network sees every labelled image", low=1)
    batch: int = _setting(32, "images in one step of training", low=1)
    learning_rate: float = _setting(0.0, "greatest learning rate; 0: what suits the network", low=0)
    optimizer: str = _setting("adam", "optimiser of training", ("adam", "adamw", "sgd", "rmsprop"))
    initializer: str = _setting("auto", "initial weights of a network from scratch", INITIALIZERS)
    l1: float = _setting(0.0, "L1 penalty on the dense layers of a trained network", low=0)
    l2: float = _setting(0.0, "L2 penalty on the dense layers of a trained network", low=0)
    dropout: float = _setting(0.5, "share of units dropped in training", low=0, high=0.95)
    batch_norm: str = _setting("off", "batch normalisation in a network from scratch", ("on", "off"))
    class_weights: str = _setting("on", "whether a rare class counts more in training", ("on", "off"))
    hold_out: float = _setting(0.15, "share of the labels kept aside to stop training early", low=0, high=0.5)
    patience: int = _setting(3, "epochs without progress after which training ends", low=1)
    views: int = _setting(4, "augmented views of each image that fine-tuning sees", low=1)
    augment_rotation: float = _setting(10.0, "greatest rotation of an augmented view, degrees", low=0)
    augment_shift_x: float = _setting(0.1, "greatest horizontal shift, share of the width", low=0)
    augment_shift_y: float = _setting(0.1, "greatest vertical shift, share of the height", low=0)
    augment_flip: str = _setting("horizontal", "mirror images", ("none", "horizontal", "vertical", "both"))
    augment_shear: float = _setting(5.0, "greatest shear, degrees", low=0)
    augment_zoom: float = _setting(0.1, "greatest zoom in or out, share of the side", low=0)
    augment_channel: float = _setting(10.0, "greatest change of a colour channel, levels of 256", low=0)
    sort_above: float = _setting(0.98, "least probability at which `labeler sort` files an image", low=0)
    sort_audit: int = _setting(50, "images of a sorting run drawn by lot for a person to check", low=0)
    train_on_sorted: str = _setting("off", "whether what the model sorted counts as labels", ("on", "off"))
    overlap: int = _setting(1, "people who label each image independently before it counts", low=1)
    lease_s: int = _setting(900, "seconds a batch stays with a person who does nothing", low=1)
    retrain_after: int = _setting(0, "answers after which the model is retrained; 0: at the end of a batch", low=0)
    patience_s: float = _setting(5.0, "seconds the next batch waits for a model that would change it much", low=0)
    grid: int = _setting(24, "images on one page of the grid", low=1)
    grid_confidence: float = _setting(0.8, "least probability of the suggestion on a page of the grid", low=0, high=1)
    suggestion: str = _setting("show", "whether the page shows what the model suggests", ("show", "hide"))
    explain: str = _setting("hide", "whether the page shows why an image was chosen", ("show", "hide"))
    annotator: str = _setting("local", "name under which decisions of this workspace's one user are recorded")
    host: str = _setting("127.0.0.1", "address the review page listens on")
    port: int = _setting(7860, "port the review page listens on; 0 picks a free one", low=0)
    session_hours: int = _setting(168, "hours after which a signed-in browser has to sign in again", low=1)
    log_level: str = _setting("warning", "least level that `labeler serve` logs", ("debug", "info", "warning", "error"))
    log_format: str = _setting("text", "lines of the log: text, or one JSON object each", ("text", "json"))
    slow_request_s: float = _setting(1.0, "seconds from which on a request is logged as slow", low=0)
    metrics_token_file: str = _setting("", "file with the token that opens /metrics to a program; empty: sign in")
    least_free_mb: int = _setting(200, "free disk space, MiB, below which /healthz says that it fails", low=0)

    def replace(self, **changes: Any) -> Settings:
        """A copy with the given settings changed and checked.

        Raises:
            SettingError: for an unknown name or a value that does not fit.
        """
        checked = {name: _checked(name, value, "the command line") for name, value in changes.items()}
        return dataclasses.replace(self, **checked)


TABLE: Mapping[str, dataclasses.Field[Any]] = {f.name: f for f in dataclasses.fields(Settings)}


def environment_name(name: str) -> str:
    """The environment variable of a setting, e.g. ``LABELER_BACKBONE``."""
    return ENVIRONMENT_PREFIX + name.upper()


def as_text(value: Any) -> str:
    """A value as the environment holds it; :func:`load` reads it back."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def load(root: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of the workspace at ``root``.

    Raises:
        SettingError: the file is not TOML, names an unknown setting, or a value does not fit.
    """
    values: dict[str, Any] = {}
    file = root / FILE_NAME
    if os.path.lexists(file):
        values |= {name: _checked(name, value, file.name) for name, value in _read_toml(file).items()}
    environ = os.environ if environment is None else environment
    for name in TABLE:
        text = environ.get(environment_name(name))
        if text:
            values[name] = _checked(name, text, environment_name(name))
    return Settings(**values)


def write(root: Path, values: Mapping[str, Any]) -> None:
    """Write ``labeler.toml`` with the given settings; used by ``init`` only, a person edits it afterwards.

    Raises:
        OSError: the system refused; what was there before still is.
    """
    lines = ["# Settings of this workspace; `labeler settings` lists every name with its default."]
    lines += [f"{name} = {_toml(value)}" for name, value in values.items()]
    partial = root / f".{FILE_NAME}.{os.getpid()}.tmp"
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(root / FILE_NAME)
    finally:
        partial.unlink(missing_ok=True)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if not text:  # one without settings has its first line, a remark
            raise SettingError(f"{file} is empty: it was cut off", "put the classes into it, or remove it")
        return tomllib.loads(text)
    except OSError as error:
        raise SettingError(f"{file} cannot be read: {error.strerror}", "make it readable, or remove it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingError(f"{file} is not valid TOML: {error}", "correct the file or remove it") from None


def _checked(name: str, value: Any, source: str) -> Any:
    if name not in TABLE:
        raise SettingError(f"unknown setting {name!r} in {source}", "see `labeler settings` for the names")
    spec = TABLE[name]
    try:
        value = _converted(name, value, type(spec.default))
    except (TypeError, ValueError):
        kind = type(spec.default).__name__
        raise SettingError(f"{name} = {value!r} in {source} does not fit", f"give a value of type {kind}") from None
    choices, low, high = (spec.metadata[name] for name in ("choices", "low", "high"))
    if choices and value not in choices:
        raise SettingError(f"{name} = {value!r} in {source} is not known", f"choose from {', '.join(choices)}")
    if low is not None and not value >= low:
        raise SettingError(f"{name} = {value!r} in {source} is too small", f"give at least {low:g}")
    if high is not None and not value <= high:
        raise SettingError(f"{name} = {value!r} in {source} is too large", f"give at most {high:g}")
    if isinstance(value, (int, float)) and not value <= _LARGEST:
        raise SettingError(f"{name} = {value!r} in {source} is too large", f"give at most {_LARGEST}")
    return value


def _converted(name: str, value: Any, kind: type) -> Any:
    if name == "classes":
        return check_classes(value.split(",") if isinstance(value, str) else value)
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        raise TypeError(name)
    if kind is int and not isinstance(value, (int, str)):
        raise TypeError(name)
    return kind(value)


def check_classes(names: Any) -> tuple[str, ...]:
    """Class names as a tuple, each fit to be a folder name on every system.

    Raises:
        SettingError: fewer than two, two alike (also but for case), or a name that is no safe folder name.
    """
    classes = tuple(str(name).strip() for name in names)
    if len(classes) < 2:
        raise SettingError(f"classes = {', '.join(classes)!r}: a classifier needs two", "e.g. withMask,withoutMask")
    for name in classes:
        if not _CLASS_NAME.fullmatch(name) or name != name.strip():
            raise SettingError(f"class name {name!r} cannot be a folder name", "use letters, digits, space, _ and -")
    if len({name.casefold() for name in classes}) < len(classes):
        raise SettingError(f"classes = {', '.join(classes)!r}: two are the same", "give every class its own name")
    return classes


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def rows(settings: Settings) -> list[dict[str, Any]]:
    """The table as JSON-able rows: name, value, default, environment variable and help line of every setting."""
    shown = []
    for name, spec in TABLE.items():
        text = spec.metadata["help"]
        if spec.metadata["choices"]:
            text += f" ({', '.join(spec.metadata['choices'])})"
        value, default = getattr(settings, name), spec.default
        if name == "database":
            value = without_password(value)
        shown.append(
            {
                "name": name,
                "value": as_text(value) if isinstance(value, tuple) else value,
                "default": as_text(default) if isinstance(default, tuple) else default,
                "environment": environment_name(name),
                "help": text,
            }
        )
    return shown
