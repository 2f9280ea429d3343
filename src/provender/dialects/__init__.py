"""Dialects: other tools' project files, read and carried out with provender's own engine. Above the project layer."""
