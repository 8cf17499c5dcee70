"""LoRA in torch: pairs beside the linear layers of a network, as children of these."""
