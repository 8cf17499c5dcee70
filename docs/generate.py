"""Write the generated parts of the documents: `python docs/generate.py`; `--check` only compares."""

import sys
from itertools import groupby
from pathlib import Path

from litgpt.adapters.checkpoints.gguf.maps import ARCHITECTURE_MAPS, ArchitectureMap
from litgpt.adapters.native.program.coverage import unsupported_part
from litgpt.adapters.pytorch.bridge.config import model_class
from litgpt.application.openai.description.tables import field_tables
from litgpt.domain.catalogue import search
from litgpt.domain.errors import UnsupportedModel, UnsupportedOperation
from litgpt.domain.families import FAMILIES, parse_config
from litgpt.domain.families.multimodal import TEXT_MODEL_TYPES
from litgpt.domain.model import Architecture

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
EXAMPLES = 6
BENCHMARKS = ("first token, 512-token prompt, ms", "decode, tokens/s", "peak memory, MB")


def families() -> str:
    """Return the table of families: what each can do, and some well-known repositories."""
    from tests.adapters import tiny_models

    lines = [
        "| `model_type` | native engine | tensor parallel | GGUF | examples |",
        "| --- | --- | --- | --- | --- |",
    ]
    in_gguf = {"mistral"}  # its files have the architecture of Llama
    in_gguf |= {name for it in ARCHITECTURE_MAPS.values() for name in (it.model_type, *_variants(it))}
    for model_type in FAMILIES:
        config = {"model_type": model_type, **tiny_models.SIZES, **tiny_models.FAMILIES[model_type]}
        architecture = parse_config(model_type, config)
        can = (unsupported_part(architecture) is None, _can_be_split(architecture), model_type in in_gguf)
        entries = [entry for entry in search() if entry.family == model_type]
        # The first of each organization, so that a long series does not hide the others.
        by_organization = [
            list(group) for _, group in groupby(entries, lambda entry: entry.repository.partition("/")[0])
        ]
        examples = [group[0].repository for group in by_organization][:EXAMPLES]
        marks = " | ".join("yes" if it else "" for it in can)
        lines.append(f"| {model_type} | {marks} | {', '.join(examples)} |")
    return "".join(f"{line}\n" for line in lines)


def _variants(architecture_map: ArchitectureMap) -> list[str]:
    return [variant.model_type for _, variant in architecture_map.variants]


def _can_be_split(architecture: Architecture) -> bool:
    try:
        for layer in architecture.layers:
            layer.mixer.shard(2, 0)
            layer.mlp.shard(2, 0)
    except UnsupportedOperation:
        return False
    return architecture.num_streams == 1


def decoders() -> str:
    """Return the other causal language models of transformers: bridged, or refused and why."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    bridged, refused = [], {}
    for model_type in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        if model_type in FAMILIES or model_type in TEXT_MODEL_TYPES:
            continue
        try:
            model_class("it", model_type)
        except UnsupportedModel as error:
            refused.setdefault(error.reason.rpartition(": ")[2].removesuffix("."), []).append(model_type)
        else:
            bridged.append(model_type)
    lines = ["| | `model_type` |", "| --- | --- |", f"| computed by transformers | {', '.join(bridged)} |"]
    for reason, names in sorted(refused.items()):
        lines.append(f"| refused: {reason} | {', '.join(names)} |")
    return "".join(f"{line}\n" for line in lines)


def benchmarks() -> str:
    """Return the header and three rows of the first table of BENCHMARKS.md."""
    lines = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8").splitlines(keepends=True)
    header = next(number for number, line in enumerate(lines) if line.startswith("|  |"))
    rows = [next(line for line in lines if line.startswith(f"| {name} |")) for name in BENCHMARKS]
    return "".join([*lines[header : header + 2], *rows])


GENERATED = (
    ("docs/models.md", "families", families),
    ("docs/models.md", "decoders", decoders),
    ("docs/openai-api.md", "fields", field_tables),
    ("README.md", "benchmarks", benchmarks),
)


def main() -> int:
    """Write, or with `--check` only compare; return 1 if they differ."""
    differs = False
    for name, mark, table in GENERATED:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
        before, _, rest = text.partition(begin)
        wanted = f"{before}{begin}{table()}{end}{rest.partition(end)[2]}"
        differs |= text != wanted
        if "--check" not in sys.argv[1:]:
            path.write_text(wanted, encoding="utf-8")
    return int(differs and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
