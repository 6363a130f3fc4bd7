"""The time zones of the IANA database, in memory, for `zoneinfo`."""

import io
import os
import zoneinfo
import zoneinfo._common
import zoneinfo._tzpath

# The build puts it beside this file.
FOLDER = "zoneinfo-data"

_zones = {}


def _load(key):
    try:
        return io.BytesIO(_zones[key])
    except KeyError:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}") from None


def _available():
    return set(_zones)


def install():
    root = os.path.join(os.path.dirname(__file__), FOLDER)
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                data = file.read()
            if data.startswith(b"TZif"):
                _zones[os.path.relpath(path, root)] = data
    assert "UTC" in _zones
    zoneinfo._common.load_tzdata = _load
    zoneinfo.available_timezones = zoneinfo._tzpath.available_timezones = _available
    # There is no directory of zones to search first.
    zoneinfo.reset_tzpath(to=())
