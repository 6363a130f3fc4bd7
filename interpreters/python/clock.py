"""The time that the process has worked, for `time.process_time` and its like.

The system's count begins when the snapshot was made. This one reads the clock of the run, which
begins with the run, and subtracts the time slept and, in a session, the time between two calls.
"""

import os
import posix
import time

_now = time.monotonic_ns
_sleep = time.sleep
_idle = 0
_paused = None


def sleep(seconds, /):
    """Delay execution for a given number of seconds.  The argument may be
    a floating-point number for subsecond precision."""
    global _idle
    before = _now()
    try:
        _sleep(seconds)
    finally:
        _idle += _now() - before


def process_time_ns():
    """Process time for profiling as nanoseconds: the time worked since the run began."""
    return _now() - _idle


def process_time():
    """Process time for profiling: the seconds worked since the run began."""
    return (_now() - _idle) / 1e9


def _times():
    return posix.times_result((process_time(), 0.0, 0.0, 0.0, time.time()))


def pause():
    """Stops the count when a call of a session ends."""
    global _paused
    _paused = _now()


def resume():
    """Goes on counting when the next call begins."""
    global _idle, _paused
    if _paused is not None:
        _idle += _now() - _paused
        _paused = None


def forget():
    """Clears the time slept when a run begins."""
    global _idle
    _idle = 0


def install():
    time.sleep = sleep
    time.process_time = time.thread_time = process_time
    time.process_time_ns = time.thread_time_ns = process_time_ns
    os.times = _times
