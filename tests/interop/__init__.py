"""Tests against real registries and other clients; run by `make interop`."""
