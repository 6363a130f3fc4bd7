"""Pools of threads and of processes: the only thread does their work immediately.

Each task is done before the next one is handed in. A script cannot start threads or processes; the
error says what it can do instead.
"""

import concurrent.futures
import concurrent.futures.thread
import errno
import functools
import itertools
import queue
import sys
import threading
import types
import _thread

NO_THREADS = (
    "threads cannot be started here: call the function itself, or use concurrent.futures or "
    "multiprocessing.Pool, which work without threads, or asyncio"
)
NO_PROCESSES = (
    "processes cannot be started here: do the work in this one, in Python; concurrent.futures and "
    "multiprocessing.Pool work without processes"
)


NO_OTHERS = "this waits for another thread for ever, because there is only one thread here"


def _wait(self, timeout=None, _original=threading.Condition.wait):
    """Wait until notified or until a timeout occurs."""
    if timeout is None:
        raise RuntimeError(NO_OTHERS)
    return _original(self, timeout)


def _no_threads(*args, **kwargs):
    raise RuntimeError(NO_THREADS)


def no_processes(*args, **kwargs):
    raise OSError(errno.ENOTSUP, NO_PROCESSES)


class ThreadPoolExecutor(concurrent.futures.Executor):
    """An executor that does its work immediately."""

    def __init__(self, max_workers=None, thread_name_prefix="", initializer=None, initargs=()):
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._max_workers = max_workers or 1
        self._begin = functools.partial(initializer, *initargs) if initializer else None
        self._shutdown = False

    def submit(self, fn, /, *args, **kwargs):
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        future = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._shutdown = True


class ProcessPoolExecutor(ThreadPoolExecutor):
    def __init__(self, max_workers=None, mp_context=None, initializer=None, initargs=(), *, max_tasks_per_child=None):
        super().__init__(max_workers, "", initializer, initargs)


class Done:
    """The result of a pool's asynchronous call, which is already done."""

    def __init__(self, work, callback, error_callback):
        self._error = self._value = None
        try:
            self._value = work()
        except Exception as error:
            self._error = error
        told = callback if self._error is None else error_callback
        if told is not None:
            told(self._value if self._error is None else self._error)

    def get(self, timeout=None):
        if self._error is not None:
            raise self._error
        return self._value

    def wait(self, timeout=None):
        pass

    def ready(self):
        return True

    def successful(self):
        return self._error is None


class Pool:
    """A pool of processes or threads that does its work immediately."""

    def __init__(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None):
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        self._open = True
        if initializer is not None:
            initializer(*initargs)

    def _done(self, work, callback=None, error_callback=None):
        if not self._open:
            raise ValueError("Pool not running")
        return Done(work, callback, error_callback)

    def apply(self, func, args=(), kwds={}):
        return self._done(lambda: func(*args, **kwds)).get()

    def apply_async(self, func, args=(), kwds={}, callback=None, error_callback=None):
        return self._done(lambda: func(*args, **kwds), callback, error_callback)

    def map(self, func, iterable, chunksize=None):
        return self.map_async(func, iterable).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        return self._done(lambda: list(map(func, iterable)), callback, error_callback)

    def starmap(self, func, iterable, chunksize=None):
        return self.starmap_async(func, iterable).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        return self._done(lambda: list(itertools.starmap(func, iterable)), callback, error_callback)

    def imap(self, func, iterable, chunksize=1):
        return self._done(lambda: map(func, iterable)).get()

    imap_unordered = imap

    def close(self):
        self._open = False

    terminate = close

    def join(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()


def _module(name, **members):
    """Puts a module of ours in place of one that cannot be imported."""
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    package, _, last = name.rpartition(".")
    setattr(sys.modules[package], last, module)


def install():
    import multiprocessing.context
    import multiprocessing.process

    for module in (_thread, threading):
        for name in ("start_new_thread", "start_joinable_thread", "_start_new_thread", "_start_joinable_thread"):
            if hasattr(module, name):
                setattr(module, name, _no_threads)
    threading.Condition.wait = _wait
    # The queue written in Python waits on a condition.
    queue.SimpleQueue = queue._PySimpleQueue
    concurrent.futures.thread.ThreadPoolExecutor = ThreadPoolExecutor
    ThreadPoolExecutor.__module__ = concurrent.futures.thread.__name__
    broken = concurrent.futures.BrokenExecutor
    _module("concurrent.futures.process", ProcessPoolExecutor=ProcessPoolExecutor, BrokenProcessPool=broken)
    _module("multiprocessing.pool", Pool=Pool, ThreadPool=Pool, AsyncResult=Done)
    _module("multiprocessing.dummy", Pool=Pool)
    multiprocessing.process.BaseProcess.start = no_processes
    for name in ("Manager", "Pipe", "Queue", "JoinableQueue", "SimpleQueue", "Lock", "RLock", "Semaphore",
                 "BoundedSemaphore", "Condition", "Event", "Barrier", "Value", "Array"):
        setattr(multiprocessing.context.BaseContext, name, no_processes)
        setattr(multiprocessing, name, no_processes)
