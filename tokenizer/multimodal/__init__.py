"""Video, body coordinates and captions as one token stream, and the masked model that predicts any part of it."""
