"""`litgpt info`: what a model is and what it will need, before anything is loaded or downloaded."""

from typing import TYPE_CHECKING, Any

from litgpt.cli import console, options
from litgpt.cli.loading import Work

if TYPE_CHECKING:
    from litgpt.application.describing import Description
    from litgpt.domain.architecture import Architecture
    from litgpt.domain.footprint import Footprint, Verdict
    from litgpt.domain.tensors import DType

SHOWN: "tuple[DType, ...]" = ("bfloat16", "float32")
_A_THOUSAND = 1000


def info(
    model: options.Model = options.DEFAULT_MODEL,
    *,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what a model is and what it will need, from its headers alone."""
    from litgpt.application.describing import DescribeModel
    from litgpt.cli.memory import memory_here
    from litgpt.container import container
    from litgpt.domain.footprint import footprint, judge
    from litgpt.domain.reference import ModelReference

    reference = ModelReference(model, revision, offline or None, access_token)
    with Work(f"Looking at {reference} …", quiet=quiet):
        found = DescribeModel(container.store())(reference)
    architecture, memory = found.architecture, memory_here()
    needs = {
        dtype: [
            footprint(architecture, dtype=dtype, tokens=tokens)
            for tokens in (min(_A_THOUSAND, architecture.context), architecture.context)
        ]
        for dtype in SHOWN
    }
    verdicts = {dtype: judge(architecture, memory, dtype=dtype) for dtype in SHOWN} if memory else {}
    if as_json:
        console.show_json(_as_dict(found, needs, verdicts))
        return
    console.heading(found.name)
    console.table([("from", found.origin), *_structure(architecture, found.parameters)], indent=2)
    console.heading("Stored as")
    formats = [
        (one.format, f"{one.tensors:,} tensors", _millions(one.weights), size(one.nbytes))
        for one in found.stored
    ]
    console.table(
        [*formats, ("in all", "", _millions(sum(one.weights for one in found.stored)), size(found.nbytes))],
        indent=2,
    )
    console.heading("Needs")
    console.table(_needs(needs, architecture.context), indent=2)
    for dtype, verdict in verdicts.items():
        console.show(f"{dtype}: {advice(verdict, architecture.context)}")


def size(nbytes: int) -> str:
    """Return a number of bytes for people: `93.1 MB`, `1.2 GB`; decimal, as disks and downloads are sold."""
    for unit, worth in (("GB", 10**9), ("MB", 10**6)):
        if nbytes >= worth:
            return f"{nbytes / worth:,.1f} {unit}"
    return f"{nbytes / 1000:,.1f} kB"


def advice(verdict: "Verdict", context: int) -> str:
    """Return, as a sentence, whether a model runs in a memory and what to do if not."""
    memory = verdict.memory
    has = f"{memory.device} ({size(memory.total)}, {size(memory.free)} free)"
    if verdict.tokens_now >= context:
        return f"fits {has} with its whole context."
    if verdict.tokens_at_most >= context:
        return f"would fit {has} with its whole context if other programs used less of it."
    if verdict.tokens_at_most:
        tokens = verdict.tokens_now or verdict.tokens_at_most
        return (
            f"fits {has} with texts of up to {tokens:,} tokens; pass fixed_kv_cache_size to hold it to that."
        )
    return f"does not fit {has}. Take a smaller model, or a machine with more."


def _structure(architecture: "Architecture", parameters: int) -> list[tuple[str, str]]:
    attentions = [layer.attention for layer in architecture.layers]
    first = attentions[0]
    windowed = [one.window for one in attentions if one.window is not None]
    seen = f"{len(windowed)} of {len(attentions)} layers see {max(windowed):,} tokens" if windowed else "none"
    tied = ", the head is the embedding" if architecture.tied else ""
    return [
        ("family", architecture.family),
        ("parameters", _millions(parameters)),
        ("layers", str(len(attentions))),
        ("width", f"{architecture.width:,}"),
        ("heads", f"{first.heads} for queries, {first.groups} for keys and values, of {first.head_size}"),
        ("feed-forward", f"{architecture.layers[0].feed_forward.size:,}"),
        ("vocabulary", f"{architecture.vocab_size:,}{tied}"),
        ("context", f"{architecture.context:,} tokens"),
        ("windows", seen),
    ]


def _needs(needs: "dict[DType, list[Footprint]]", context: int) -> list[tuple[str, ...]]:
    rows = [("", *needs)]
    rows.append(("weights", *(size(one.weights) for one, _ in needs.values())))
    rows.append(("KV cache of 1,000 tokens", *(size(one.cache) for one, _ in needs.values())))
    rows.append((f"KV cache of {context:,} tokens", *(size(whole.cache) for _, whole in needs.values())))
    rows.append(("activations, about", *(size(whole.activations) for _, whole in needs.values())))
    rows.append(("Python and torch, about", *(size(whole.program) for _, whole in needs.values())))
    rows.append(("in all, with the whole context", *(size(whole.total) for _, whole in needs.values())))
    return rows


def _millions(count: int) -> str:
    return f"{count / 1e9:,.2f} billion" if count >= 10**9 else f"{count / 1e6:,.1f} million"


def _as_dict(
    found: "Description", needs: "dict[DType, list[Footprint]]", verdicts: "dict[DType, Verdict]"
) -> dict[str, Any]:
    import attrs

    return {
        "name": found.name,
        "origin": found.origin,
        "parameters": found.parameters,
        "nbytes": found.nbytes,
        "stored": [attrs.asdict(one) for one in found.stored],
        "architecture": attrs.asdict(found.architecture),
        "needs": {
            dtype: {
                "1000_tokens": {**attrs.asdict(one), "total": one.total},
                "whole_context": {**attrs.asdict(whole), "total": whole.total},
            }
            for dtype, (one, whole) in needs.items()
        },
        "fits": {dtype: attrs.asdict(one) for dtype, one in verdicts.items()},
    }
