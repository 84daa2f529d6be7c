"""Builds Busbar's Debian packages; see packaging/build.py."""
