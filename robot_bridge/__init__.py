"""Serve a policy over ZeroMQ, drive an arm with it, stay safe. See docs/robot.md and docs/wire.md."""
