"""Whether a call of a session assigned `result`: only then is it the call's result."""

import sys

NAME = "result"

_monitoring = sys.monitoring
_TOOL = _monitoring.PROFILER_ID
_INSTRUCTION = _monitoring.events.INSTRUCTION
_MISSING = object()


class Watch:
    """Watches for one call whether `result` is assigned.

    A different object under the name shows an assignment. The same object may have been assigned
    again, so the instructions that assign are watched; each is reported once and then costs nothing.
    """

    def __init__(self, names, codes):
        self._names = names
        self._before = names.get(NAME, _MISSING)
        self._stores = {}
        self._stored = False
        if self._before is _MISSING:
            return
        for code in codes:
            if code is not None:
                self._find(code)
        if self._stores and _monitoring.get_tool(_TOOL) is None:
            _monitoring.use_tool_id(_TOOL, "cofferdam")
            _monitoring.register_callback(_TOOL, _INSTRUCTION, self._ran)
            for store in self._stores:
                _monitoring.set_local_events(_TOOL, store, _INSTRUCTION)

    def _find(self, code):
        """Finds the places, in this code and in the code defined in it, that assign to the global name."""
        import dis

        if NAME in code.co_names:
            places = {
                instruction.offset
                for instruction in dis.get_instructions(code)
                if instruction.opname in ("STORE_NAME", "STORE_GLOBAL") and instruction.argval == NAME
            }
            if places:
                self._stores[code] = places
        for constant in code.co_consts:
            if type(constant) is type(code):
                self._find(constant)

    def _ran(self, code, offset):
        if offset in self._stores.get(code, ()):
            self._stored = True
        return _monitoring.DISABLE

    def value(self):
        """Ends the watch; returns the value that this call assigned, or None."""
        if self._stores and _monitoring.get_tool(_TOOL) == "cofferdam":
            for store in self._stores:
                _monitoring.set_local_events(_TOOL, store, 0)
            _monitoring.free_tool_id(_TOOL)
        after = self._names.get(NAME, _MISSING)
        if after is _MISSING or (after is self._before and not self._stored):
            return None
        return after
