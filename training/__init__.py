"""What all trainers share: configuration, the recipe that each fills in, the loop, progress, checkpoints."""
