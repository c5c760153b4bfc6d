"""Pages that show what an evaluation or a training did."""
