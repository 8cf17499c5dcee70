"""Components for the Lightning Trainer: data modules, callbacks, loss and checkpoints."""
