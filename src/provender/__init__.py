"""provender: one package manager for anything that lives in OCI registries."""

__all__ = ["__version__"]

__version__ = "0.1.0"
