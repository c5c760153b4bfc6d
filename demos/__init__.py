"""Demonstrations: LIBERO/robomimic HDF5 files, point tracks, dataset specs, training samples."""
