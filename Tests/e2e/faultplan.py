"""What goes wrong on a DeployedServer, and when: rules that tests add, and a gauge of what is under way.

    rule = server.faults.add("read", faults.reset(), path="big", times=2)
    ...
    assert rule.hits == 2

A fault is a function that is given the exchange: it may `answer()` (act and give the true answer), `send` any answer
in its place, whole or not, and `reset` the connection.
"""

import itertools
import re
import threading
import time


class Rule:
    """The next `times` requests of one call (all if None) whose path matches meet the fault."""

    def __init__(self, call, fault, path, times):
        self.call, self.fault, self.times = call, fault, times
        self.path = re.compile(path)
        self.hits = 0
        self.hit = threading.Event()

    def wait(self, timeout=30):
        """Waits until a request has met the fault."""
        assert self.hit.wait(timeout), f"no request met the fault on {self.call} within {timeout} s"


class FaultPlan:
    """The rules of one server. Without a rule that matches, the request is answered as it should be."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []
        # What stalled requests wait for; set when the rules are cleared, so that none stays for ever.
        self.released = threading.Event()

    def add(self, call, fault, path=".*", times=1):
        """call: list, mkdir, size, read, begin, put, complete, abandon, delete, filesystems, or any.

        path: a regular expression that the whole path, decoded and relative to the filesystem, must match.
        """
        rule = Rule(call, fault, path, times)
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear(self):
        """Ends all faults; who is stalled gets the true answer."""
        with self.lock:
            self.rules = []
            self.released.set()
            self.released = threading.Event()

    def take(self, call, path):
        """The fault for a request, if a rule has one, and what ends its stall."""
        with self.lock:
            for rule in self.rules:
                is_meant = rule.call in (call, "any") and rule.path.fullmatch(path)
                if is_meant and (rule.times is None or rule.hits < rule.times):
                    rule.hits += 1
                    rule.hit.set()
                    return rule.fault, self.released
        return None, self.released


class Gauge:
    """How many requests are under way, by call and together ("any"), and the most there ever were."""

    def __init__(self):
        self.changed = threading.Condition()
        self.now = {}
        self.most = {}

    def add(self, call, count):
        with self.changed:
            for key in (call, "any"):
                self.now[key] = self.now.get(key, 0) + count
                self.most[key] = max(self.most.get(key, 0), self.now[key])
            self.changed.notify_all()

    def wait(self, call, count, timeout):
        """Waits until so many of a call were under way at one time; returns whether they were."""
        with self.changed:
            return self.changed.wait_for(lambda: self.most.get(call, 0) >= count, timeout)


# Faults.

def status(code, text="out of order", **headers):
    """Answers a status, with headers such as Retry_After="1", and does nothing."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.send(code, text.encode() + b"\n", headers=named)


def body(data, content_type="application/json"):
    """Answers 200 with these bytes and does nothing."""
    return lambda exchange: exchange.send(200, data, headers={"Content-Type": content_type})


def html():
    """Answers as the page of some portal would."""
    return body(b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", "text/html")


def reset():
    """Ends the connection without an answer; nothing was done."""
    return lambda exchange: exchange.reset()


def lost():
    """Does what was asked and then ends the connection without an answer."""
    def fault(exchange):
        exchange.act()
        exchange.reset()
    return fault


def acted_status(code):
    """Does what was asked and then answers a status that says it failed."""
    def fault(exchange):
        exchange.act()
        exchange.send(code, b"lost on the way\n")
    return fault


def cut(keep, is_reset=False):
    """Sends the true answer's first bytes under its true length, and then ends the connection."""
    def fault(exchange):
        code, data = exchange.act()
        exchange.send(code, data[:keep], length=len(data))
        if is_reset:
            exchange.reset()
        else:
            exchange.end()
    return fault


def shortened(keep):
    """Sends the true answer's first bytes as if they were all."""
    def fault(exchange):
        code, data = exchange.act()
        exchange.send(code, data[:keep])
    return fault


def shortened_by_one():
    """Sends the true answer less its last byte as if that were all; an answer without a byte is the true one."""
    def fault(exchange):
        code, data = exchange.act()
        exchange.send(code, data[:-1])
    return fault


def lengthened(extra=b"too much"):
    """Sends more than the true answer."""
    def fault(exchange):
        code, data = exchange.act()
        exchange.send(code, data + extra)
    return fault


def stall(after=None):
    """Answers nothing, or only the answer's first bytes, until the plan is cleared."""
    def fault(exchange):
        if after is None:
            exchange.wait()
            exchange.answer()
            return
        code, data = exchange.act()
        exchange.send(code, data[:after], length=len(data))
        exchange.wait()
        exchange.more(data[after:])
    return fault


def within_request():
    """Breaks the connection off when half of the request's body has come; nothing was done."""
    def fault(exchange):
        exchange.receive(exchange.length // 2)
        exchange.reset()
    fault.is_within_request = True
    return fault


def within_answer(end):
    """Does what was asked and sends the first half of the answer, head and body; then `end` says what comes.

    end: "reset", "close" (in good order), or "stall" (until the plan is cleared).
    """
    def fault(exchange):
        code, data = exchange.act()
        wire = exchange.wire(code, data)
        half = len(wire) // 2
        exchange.send_raw(code, wire[:half])
        if end == "stall":
            exchange.wait()
            exchange.more(wire[half:])
        elif end == "reset":
            exchange.reset()
        else:
            exchange.end()
    return fault


def after_answer():
    """Answers truly and then breaks the connection off, which was to be kept."""
    def fault(exchange):
        exchange.answer()
        exchange.reset()
    return fault


def no_http():
    """Answers with something that is no HTTP."""
    def fault(exchange):
        exchange.send_raw(0, b"\x16\x03\x01 what is this?\r\n" * 3)
        exchange.end()
    return fault


class Outage:
    """Breaks all connections off for some seconds from the first request of one call on, or from the very first."""

    def __init__(self, seconds, begins_at="any"):
        self.seconds, self.begins_at = seconds, begins_at
        self.lock = threading.Lock()
        self.over = None

    def __call__(self, exchange):
        with self.lock:
            if self.over is None and self.begins_at in (exchange.call, "any"):
                self.over = time.monotonic() + self.seconds
            is_down = self.over is not None and time.monotonic() < self.over
        exchange.reset() if is_down else exchange.answer()


def late(seconds):
    """Answers truly, but only after a time: as far as a service that is far away."""
    def fault(exchange):
        exchange.released.wait(seconds)
        exchange.answer()
    return fault


class Held:
    """Holds requests back until the plan is cleared, and counts those whose asker goes away meanwhile.

    is_meant: whether a request is held; others are answered.
    """

    def __init__(self, is_meant=lambda exchange: True):
        self.is_meant = is_meant
        self.lock = threading.Lock()
        self.count = self.given_up = 0

    def __call__(self, exchange):
        if self.is_meant(exchange):
            with self.lock:
                self.count += 1
            while not exchange.released.wait(0.02):
                if exchange.is_given_up:
                    with self.lock:
                        self.given_up += 1
                    return exchange.end()
        exchange.answer()


def killing(mount, number=1, acts=False, is_meant=lambda exchange: True, first=lambda: None):
    """Kills a mount's driver as the n-th request that is meant arrives; others are answered.

    acts: whether the server does before what it asks for. first: called before; what it waits for has happened then.
    """
    arrived = itertools.count(1)

    def fault(exchange):
        if not is_meant(exchange) or next(arrived) != number:
            return exchange.answer()
        first()
        if acts:
            exchange.act()
        mount.kill()
        exchange.reset()
    return fault


class Rationed:
    """Takes the bodies of requests a ration at a time, each when a test allows it; all when the plan is cleared."""

    is_within_request = True

    def __init__(self, ration=4 << 20):
        self.ration = ration
        self.allowed = threading.Semaphore(0)

    def allow(self):
        self.allowed.release()

    def __call__(self, exchange):
        while len(exchange.body) < exchange.length:
            while not exchange.released.is_set() and not self.allowed.acquire(timeout=0.02):
                pass
            exchange.receive(min(len(exchange.body) + self.ration, exchange.length))
        exchange.answer()


class Closed:
    """Closed for some seconds from its first request on, by the server's own clock, as it says by Retry-After."""

    def __init__(self, code, seconds):
        self.code, self.seconds = code, seconds
        self.lock = threading.Lock()
        self.opens = None
        self.refused = 0

    def __call__(self, exchange):
        with self.lock:
            self.opens = self.opens or time.monotonic() + self.seconds
            is_closed = time.monotonic() < self.opens
            self.refused += is_closed
        if is_closed:
            exchange.send(self.code, b"later\n", headers={"Retry-After": str(self.seconds)})
        else:
            exchange.answer()


def until_under_way(gauge, call, count, timeout=20):
    """Answers truly, but only once `count` of a call have been under way at one time (or the time is over)."""
    def fault(exchange):
        gauge.wait(call, count, timeout)
        exchange.answer()
    return fault
