"""Demonstrations: LIBERO/robomimic HDF5 files, point tracks, dataset specs, and what every command shares."""
