"""The motion tokenizer of AMPLIFY: trajectories of points in images <-> FSQ codes."""
