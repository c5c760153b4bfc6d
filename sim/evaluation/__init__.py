"""Evaluation: worker processes play episodes around one batched policy, results are kept and compared."""
