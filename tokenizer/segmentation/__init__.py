"""Cutting a long demonstration or video into its actions by the energy of its motion tokens (as in LAPS)."""
