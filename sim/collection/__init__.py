"""Demonstrations: the expert plays, successes are rendered with exact point tracks and written."""
