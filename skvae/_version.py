"""The version, importable without torch: that of the git tag that was installed."""

from importlib.metadata import PackageNotFoundError, version

__version__: str
try:
    __version__ = version("skvae")
except PackageNotFoundError:  # a copy on the path that was never installed
    __version__ = "0+unknown"
