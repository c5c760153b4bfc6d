"""What computes a policy other than torch: ONNX Runtime, from a folder that ``python -m policy.export`` wrote."""
