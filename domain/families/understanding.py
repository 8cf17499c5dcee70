"""From a config and the names of tensors to an architecture and a plan for reading it."""

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
    """What is known of a model from its config and the headers of its weights.

    Attributes:
        architecture: Its structure.
        joins: Which tensors each parameter is read from, by the checkpoint's own names.
        notes: What whoever loads it should be told.
        own_head: What a head would be read from that the checkpoint holds although its config ties the head
            to the embedding; None if it holds none. Only the weights tell whether both are the same.

    """

    architecture: Architecture
    joins: tuple[Join, ...] = attrs.field(repr=False)
    notes: tuple[str, ...] = ()
    own_head: Join | None = attrs.field(default=None, repr=False)

    def untied(self) -> "Understood":
        """Return the same model with the head that the checkpoint holds, if it holds one."""
        if self.own_head is None:
            return self
        architecture = attrs.evolve(self.architecture, tied=False)
        return attrs.evolve(
            self, architecture=architecture, joins=(*self.joins, self.own_head), own_head=None
        )


def family_of(model: str, config: Mapping[str, object]) -> Family:
    """Return the family that a config names; of a model of text and more, that of its text part.

    Raises:
        DamagedFile: It names none.
        UnsupportedModel: It names one that is not implemented.

    """
    model_type = text_part(config).get("model_type")
    if not isinstance(model_type, str):
        raise DamagedFile(f"config.json of {model}", "it has no 'model_type', so it is no language model's.")
    if model_type not in FAMILIES:
        known = ", ".join(sorted({*FAMILIES, *TEXT_PARTS}))
        raise UnsupportedModel(
            model, f"its family {short_repr(model_type)} is not one of those implemented: {known}."
        )
    return FAMILIES[model_type]


def describe(model: str, config: Mapping[str, object]) -> Architecture:
    """Return the architecture that a Hugging Face config asks for.

    Args:
        model: What to call the model in an error.
        config: The parsed `config.json`.

    Raises:
        DamagedFile: A setting is absent or cannot be right.
        UnsupportedModel: The family, or a setting of it, is not implemented.

    """
    family, text = family_of(model, config), text_part(config)
    # How the whole is stored is told outside of its text part.
    said = {"quantization_config": config.get("quantization_config"), **text}
    with reading(f"config.json of {model}"):
        return family.describe(Settings(model, said))


def understand(model: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]) -> Understood:
    """Return a model's structure and what each parameter is read from.

    Args:
        model: What to call the model in an error.
        config: The parsed `config.json`.
        tensors: What the checkpoint holds.

    Raises:
        DamagedFile: A setting is absent or cannot be right.
        UnsupportedModel: The family, or a setting of it, is not implemented.
        CheckpointMismatch: Tensors are missing, left over or of a wrong shape; it lists all of them.

    """
    architecture, family = describe(model, config), family_of(model, config)
    multimodal, names = is_multimodal(config), _named(family, config, tensors)
    rules, tied = family.rules(names), architecture.tied
    head, embedding = _source(architecture, rules, _HEAD), _source(architecture, rules, _EMBEDDING)
    if tied and head in names and embedding not in names:  # tied is tied, whichever of the two was written
        names[embedding] = names.pop(head)
    if multimodal:  # whether the head is the embedding may be told inside, outside, in both or in neither
        tied = tied or head not in names
    architecture = attrs.evolve(architecture, tied=tied and head not in names)
    usual = {name: tensors[own] for name, own in names.items()}
    try:
        planned = plan(model, architecture, rules, usual, unused=family.unused)
    except CheckpointMismatch as error:
        unread = tuple(names[one] for one in error.unread)
        raise CheckpointMismatch(model, error.missing, unread, error.misshapen) from None
    found = tuple(_in_own_names(join, names) for join in planned)
    own_head = next((join for join in found if join.parameter.name == _HEAD), None) if tied else None
    return Understood(
        architecture=attrs.evolve(architecture, tied=tied),
        joins=tuple(join for join in found if join is not own_head),
        notes=(_TEXT_ALONE.format(config["model_type"], family.model_type),) if multimodal else (),
        own_head=own_head,
    )


def _source(architecture: Architecture, rules: Sequence[Rule], parameter: str) -> str:
    """Return the tensor that the embedding, or a head, is read from: always one."""
    (source,) = next(
        rule.theirs
        for rule in rules
        if rule.ours == parameter and (rule.where is None or rule.where(architecture))
    )
    return source.name if isinstance(source, Part) else source


def expected_shapes(
    model: str, config: Mapping[str, object], names: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a config asks for, of those of some tensors which the model uses.

    Args:
        model: What to call the model in an error.
        config: The parsed `config.json`.
        names: The checkpoint's own names of tensors.

    Raises:
        DamagedFile: A setting is absent or cannot be right.
        UnsupportedModel: The family, or a setting of it, is not implemented.

    """
    architecture, family = describe(model, config), family_of(model, config)
    architecture = attrs.evolve(architecture, tied=False)  # so that a head is known, if there is one
    own = _named(family, config, names)
    wanted = {
        piece.name: piece.shape for join in joins(architecture, family.rules(own)) for piece in join.pieces
    }
    return {own[usual]: wanted[usual] for usual in own if usual in wanted}


def _named(family: Family, config: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
    """Return the names of the tensors that may be a family's, as a rule has them and as they are."""
    found = text_names(names) if is_multimodal(config) else {name: name for name in names}
    renamed = {_usual(name, family.prefixes): own for name, own in found.items()}
    spelling = Spelling.of((*family.weights, *family.otherwise))
    aligned = spelling.align(renamed, lambda name: any(fnmatchcase(name, one) for one in family.unused))
    return {usual: renamed[name] for usual, name in aligned.items()}


_HEAD, _EMBEDDING = "lm_head.weight", "transformer.wte.weight"
_TEXT_ALONE = "it is a model of text and more ({}): its text part alone is loaded ({})."

# What says how weights were stored, or names code to run, is no part of a model that is written anew.
_OF_THE_FILE = ("quantization_config", "auto_map", "torch_dtype", "dtype")


def saved_config(config: Mapping[str, object]) -> dict[str, object]:
    """Return what `config.json` says of a model that is written in full precision: text alone."""
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
