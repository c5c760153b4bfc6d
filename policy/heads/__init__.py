"""Action heads: condition tokens (b, c, dim) -> action chunks (b, t, 7)."""
