"""The motion VQ-VAE: whole motions of an arm or a humanoid, its joints and root, become codes, and back."""
