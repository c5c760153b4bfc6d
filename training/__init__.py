"""The training loop that all trainers share: configuration, recipes, progress, checkpoints."""
