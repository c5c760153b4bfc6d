"""Motion tokenizers: sequences of point motion become short sequences of discrete codes, and back."""
