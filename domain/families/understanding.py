"""Resolve a config and tensor names to an architecture and a plan for reading its weights."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import CheckpointMismatch, DamagedFile, UnsupportedModel
from litgpt.domain.families.family import Family
from litgpt.domain.families.multimodal import TEXT_PARTS, is_multimodal, text_names, text_part
from litgpt.domain.families.registry import FAMILIES
from litgpt.domain.families.settings import Settings
from litgpt.domain.families.spelling import Spelling
from litgpt.domain.messages import short_repr
from litgpt.domain.reading import reading
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.weights import Join, Part, Rule, joins, plan


@attrs.frozen(kw_only=True)
class Understood:
    """A model as described by its config and its tensors' headers.

    Attributes:
        architecture: The model's structure.
        joins: The tensors that each parameter is read from, with the checkpoint's names.
        notes: Notices for the user.
        own_head: The LM head in a checkpoint whose config ties it to the embedding; None if there is none.
            Only the weights show whether both are equal.

    """

    architecture: Architecture
    joins: tuple[Join, ...] = attrs.field(repr=False)
    notes: tuple[str, ...] = ()
    own_head: Join | None = attrs.field(default=None, repr=False)

    def untied(self) -> "Understood":
        """Return the model with the checkpoint's separate LM head, if it has one."""
        if self.own_head is None:
            return self
        architecture = attrs.evolve(self.architecture, tied=False)
        return attrs.evolve(
            self, architecture=architecture, joins=(*self.joins, self.own_head), own_head=None
        )


def family_of(model: str, config: Mapping[str, object]) -> Family:
    """Return the family of a config; for a multimodal model, the family of its text config.

    Raises:
        DamagedFile: `model_type` is missing.
        UnsupportedModel: The family is not supported.

    """
    model_type = text_part(config).get("model_type")
    if not isinstance(model_type, str):
        raise DamagedFile(f"config.json of {model}", "it has no 'model_type'.")
    if model_type not in FAMILIES:
        known = ", ".join(sorted({*FAMILIES, *TEXT_PARTS}))
        raise UnsupportedModel(
            model, f"its model_type {short_repr(model_type)} is not supported. Supported: {known}."
        )
    return FAMILIES[model_type]


def describe(model: str, config: Mapping[str, object]) -> Architecture:
    """Return the architecture of a Hugging Face config.

    Args:
        model: Name of the model in error messages.
        config: The parsed `config.json`.

    Raises:
        DamagedFile: A setting is missing or invalid.
        UnsupportedModel: The family or a setting is not supported.

    """
    family, text = family_of(model, config), text_part(config)
    # A multimodal config has the quantization_config outside its text config.
    values = {"quantization_config": config.get("quantization_config"), **text}
    with reading(f"config.json of {model}"):
        return family.describe(Settings(model, values))


def understand(model: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]) -> Understood:
    """Return a model's structure and the tensors that each parameter is read from.

    Args:
        model: Name of the model in error messages.
        config: The parsed `config.json`.
        tensors: The checkpoint's tensors by name.

    Raises:
        DamagedFile: A setting is missing or invalid.
        UnsupportedModel: The family or a setting is not supported.
        CheckpointMismatch: Tensors are missing, unexpected or of the wrong shape; the error lists all.

    """
    architecture, family = describe(model, config), family_of(model, config)
    multimodal, names = is_multimodal(config), _named(family, config, tensors)
    rules, tied = family.rules(names), architecture.tied
    head, embedding = _source(architecture, rules, _HEAD), _source(architecture, rules, _EMBEDDING)
    if tied and head in names and embedding not in names:  # only the head was saved
        names[embedding] = names.pop(head)
    if multimodal:  # the outer config, the text config, both or neither set tie_word_embeddings
        tied = tied or head not in names
    architecture = attrs.evolve(architecture, tied=tied and head not in names)
    usual = {name: tensors[own] for name, own in names.items()}
    try:
        planned = plan(model, architecture, rules, usual, unused=family.unused)
    except CheckpointMismatch as error:
        unread = tuple(names[name] for name in error.unread)
        raise CheckpointMismatch(model, error.missing, unread, error.misshapen) from None
    renamed = tuple(_in_own_names(join, names) for join in planned)
    own_head = next((join for join in renamed if join.parameter.name == _HEAD), None) if tied else None
    return Understood(
        architecture=attrs.evolve(architecture, tied=tied),
        joins=tuple(join for join in renamed if join is not own_head),
        notes=(_TEXT_ALONE.format(config["model_type"], family.model_type),) if multimodal else (),
        own_head=own_head,
    )


def _source(architecture: Architecture, rules: Sequence[Rule], parameter: str) -> str:
    """Return the name of the single tensor that the embedding or LM head is read from."""
    (source,) = next(
        rule.theirs
        for rule in rules
        if rule.ours == parameter and (rule.where is None or rule.where(architecture))
    )
    return source.name if isinstance(source, Part) else source


def expected_shapes(
    model: str, config: Mapping[str, object], names: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Return the expected shapes of a checkpoint's tensors, without tensors that the model does not use.

    Args:
        model: Name of the model in error messages.
        config: The parsed `config.json`.
        names: The checkpoint's tensor names.

    Raises:
        DamagedFile: A setting is missing or invalid.
        UnsupportedModel: The family or a setting is not supported.

    """
    architecture, family = describe(model, config), family_of(model, config)
    architecture = attrs.evolve(architecture, tied=False)  # to include an LM head, if there is one
    checkpoint_names = _named(family, config, names)
    expected = {
        piece.name: piece.shape
        for join in joins(architecture, family.rules(checkpoint_names))
        for piece in join.pieces
    }
    return {own: expected[usual] for usual, own in checkpoint_names.items() if usual in expected}


def _named(family: Family, config: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
    """Return a mapping from the family's tensor names to the checkpoint's names."""
    text = text_names(names) if is_multimodal(config) else {name: name for name in names}
    renamed = {_usual(name, family.prefixes): own for name, own in text.items()}
    spelling = Spelling.of((*family.weights, *family.otherwise))
    aligned = spelling.align(
        renamed, lambda name: any(fnmatchcase(name, pattern) for pattern in family.unused)
    )
    return {usual: renamed[name] for usual, name in aligned.items()}


_HEAD, _EMBEDDING = "lm_head.weight", "transformer.wte.weight"
_TEXT_ALONE = "it is a multimodal model ({}): only its text model is loaded ({})."

# Settings of the stored weights or of remote code, which do not apply to a newly written model.
_OF_THE_FILE = ("quantization_config", "auto_map", "torch_dtype", "dtype")


def saved_config(config: Mapping[str, object]) -> dict[str, object]:
    """Return the `config.json` for saving the text model without quantization."""
    text = text_part(config)
    dropped = (*_OF_THE_FILE, "architectures") if text is not config else _OF_THE_FILE
    return {name: value for name, value in text.items() if name not in dropped}


def _usual(name: str, prefixes: tuple[tuple[str, str], ...]) -> str:
    for beginning, usual in prefixes:
        if name.startswith(beginning):
            return usual + name.removeprefix(beginning)
    return name


def _in_own_names(join: Join, names: Mapping[str, str]) -> Join:
    pieces = tuple(attrs.evolve(piece, name=names[piece.name]) for piece in join.pieces)
    return attrs.evolve(join, pieces=pieces)
