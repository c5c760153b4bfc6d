"""Serve a policy over ZeroMQ, drive an arm with it, stay safe. See docs/robot.md and docs/wire.md."""

from common.gl import prefer_off_screen

prefer_off_screen()  # for the digital twin, whose cameras need no display
