"""Pictures of what a policy predicts: inputs, predictions, overlays, sheets, Rerun recordings, videos."""
