"""The Motion VAE: motion of a whole body, as seen from its head, to a few continuous vectors a second and back."""
