"""A token broker and an offline-push relay for chat apps on Xiaomi MIMC."""

__version__ = "0.1.0"
