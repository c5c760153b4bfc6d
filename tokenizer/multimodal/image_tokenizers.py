"""What an image tokenizer is, and those that there are: Cosmos' TorchScript files, and a small one of our own."""

COSMOS_LEVELS = (8, 8, 8, 5, 5, 5)
