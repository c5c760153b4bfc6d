"""A robot is two ZeroMQ sockets: it publishes its state and takes joint targets (docs/robot_protocol.md)."""
