"""Feed-forwards in LitGPT's settings: plain, gated, or experts after some layers without."""

from collections.abc import Sequence

from litgpt.domain.architecture import AnyFeedForward, Experts, FeedForward, GatedFeedForward

# LitGPT's class of a feed-forward, by ours and by what bends in it, and the way in which it computes GELU.
_CLASSES: dict[tuple[type, str], tuple[str, str]] = {
    (FeedForward, "gelu"): ("GptNeoxMLP", "none"),
    (FeedForward, "gelu_tanh"): ("GptNeoxMLP", "tanh"),
    (GatedFeedForward, "silu"): ("LLaMAMLP", "none"),
    (GatedFeedForward, "gelu"): ("GemmaMLP", "none"),
    (GatedFeedForward, "gelu_tanh"): ("GemmaMLP", "tanh"),
}


def feed_settings(feeds: Sequence[AnyFeedForward]) -> dict[str, object]:
    """Return LitGPT's settings for the feed-forwards of all layers, from the first to the last.

    Raises:
        ValueError: LitGPT cannot express them; it says what stands in the way.

    """
    dense = list(dict.fromkeys(feed for feed in feeds if not isinstance(feed, Experts)))
    experts = list(dict.fromkeys(feed for feed in feeds if isinstance(feed, Experts)))
    if len(dense) > 1 or len(experts) > 1:
        raise ValueError("its layers have different feed-forwards")
    if not experts:
        return _dense(dense[0])
    first = next(at for at, feed in enumerate(feeds) if isinstance(feed, Experts))
    if not all(isinstance(feed, Experts) for feed in feeds[first:]):
        raise ValueError("it has layers without experts after layers with experts")
    said = _experts(experts[0])
    if dense:
        without = _dense(dense[0])
        if without["mlp_class_name"] != "LLaMAMLP":
            raise ValueError("its layers without experts are not gated by SiLU")
        said |= {"intermediate_size": without["intermediate_size"], "first_k_dense_replace": first}
    return said


def _dense(feed: AnyFeedForward) -> dict[str, object]:
    if not isinstance(feed, (FeedForward, GatedFeedForward)):
        raise ValueError(f"its feed-forward is of the kind {type(feed).__name__}")  # noqa: TRY004 - of the model
    kind = (type(feed), feed.activation)
    if kind not in _CLASSES:
        raise ValueError(f"its feed-forward's activation is {feed.activation}")
    name, approximate = _CLASSES[kind]
    return {"mlp_class_name": name, "gelu_approximate": approximate, "intermediate_size": feed.size}


def _experts(experts: Experts) -> dict[str, object]:
    router, shared = experts.router, experts.shared
    if _dense(experts.expert)["mlp_class_name"] != "LLaMAMLP":
        raise ValueError("its experts are not gated by SiLU")
    if shared is not None and shared.size % experts.size:
        raise ValueError("its shared expert is no whole number of times as wide as the others")
    grouped = router.groups > 1
    if grouped != (router.score == "sigmoid") or grouped != router.correction:
        raise ValueError(f"its experts are chosen from {router.groups} groups, by {router.score}")
    if not grouped and not router.normalise:
        raise ValueError("the scores of its chosen experts are not divided by their sum")
    return {
        "mlp_class_name": "LLaMAMoE",
        "intermediate_size": experts.size,
        "moe_intermediate_size": experts.size,
        "n_expert": experts.count,
        "n_expert_per_token": experts.chosen,
        "n_shared_expert": shared.size // experts.size if shared else None,
        "n_expert_groups": router.groups if grouped else None,
        "n_topk_groups": router.groups_chosen if grouped else None,
        "n_topk_scores_per_group": router.group_score if grouped else None,
        "routed_scaling_factor": router.scale,
        "norm_topk_prob": router.normalise,
    }
