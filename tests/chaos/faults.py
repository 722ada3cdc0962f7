"""What goes wrong: each fault strikes once, and whatever has to be mended by a person is mended soon after.

A fault answers whether it struck: there may be nothing to strike just then.
"""

import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil
import redis
from celery import Celery
from kombu.exceptions import KombuError

from models.queue import QUEUES, TRAIN
from tests.chaos.oracle import database_of
from tests.chaos.stack import LEASE_SECONDS, Installation, Stack
from tests.models.outages import sql_away

AWAY_SECONDS = 1.5


@dataclass(frozen=True)
class Target:
    """Where faults strike."""

    stack: Installation
    random: random.Random

    @property
    def descent(self) -> Stack:
        assert isinstance(self.stack, Stack), "this fault strikes what only Descent has"
        return self.stack


Fault = Callable[[Target], bool]


def kill_training_process(target: Target) -> bool:
    worker = target.random.choice(target.stack.workers)
    for process in worker.family()[:-1][:1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            return True
    return False


def kill_worker(target: Target) -> bool:
    target.random.choice(target.stack.workers).send(signal.SIGKILL)
    return True


def ask_worker_to_stop(target: Target) -> bool:
    target.random.choice(target.stack.workers).process.terminate()
    return True


def make_a_zombie(target: Target) -> bool:
    """A worker sleeps for three leases, then goes on as if nothing had been."""
    worker = target.random.choice(target.stack.workers)
    worker.send(signal.SIGSTOP)
    worker.later(3 * LEASE_SECONDS, signal.SIGCONT)
    return True


def kill_api(target: Target) -> bool:
    target.descent.api.send(signal.SIGKILL)
    return True


def kill_redis(target: Target) -> bool:
    target.stack.redis.send(signal.SIGKILL)
    return True


def stop_redis(target: Target) -> bool:
    target.stack.redis.send(signal.SIGSTOP)
    target.stack.redis.later(AWAY_SECONDS, signal.SIGCONT)
    return True


def empty_redis(target: Target) -> bool:
    try:
        with redis.Redis.from_url(target.stack.metrics_url, socket_timeout=1) as client:
            client.flushall()
    except redis.RedisError:
        return False  # it is away anyhow
    return True


def double_the_messages(target: Target) -> bool:
    """Ten wake-ups where one would do."""
    app = Celery(broker=target.stack.broker_url)
    try:
        with app.connection_for_write() as connection:
            for _ in range(10):
                app.send_task(TRAIN, queue=QUEUES["cpu"], connection=connection, retry=False)
    except (KombuError, redis.RedisError, OSError):
        return False  # the broker is away anyhow
    return True


def lock_sql(target: Target) -> bool:
    try:
        with database_of(target.descent) as database, sql_away(database):
            time.sleep(AWAY_SECONDS)
    except Exception:
        return False  # somebody else holds it
    return True


def damage_a_checkpoint(target: Target) -> bool:
    """A byte of the newest file is another one."""
    files = []
    for file in (target.descent.storage / "checkpoints").rglob("*.safetensors"):
        with suppress(FileNotFoundError):
            files.append((file.stat().st_mtime, file))
    if not files:
        return False
    try:
        with max(files)[1].open("r+b") as damaged:
            content = bytearray(damaged.read())
            content[target.random.randrange(len(content))] ^= 0x55
            damaged.seek(0)
            damaged.write(content)
    except FileNotFoundError:
        return False  # nobody needed it any more
    return True


Faults = Mapping[str, tuple[int, Fault]]
"""By name: how often, relative to the others, and what is done."""

WORKER_FAULTS: Faults = {
    "training process killed": (4, kill_training_process),
    "worker killed": (2, kill_worker),
    "worker asked to stop": (2, ask_worker_to_stop),
    "worker asleep for 3 leases": (1, make_a_zombie),
}

PLAIN_FAULTS: Faults = {
    **WORKER_FAULTS,
    "Redis killed": (1, kill_redis),
    "Redis stopped": (1, stop_redis),
    "Redis emptied": (1, empty_redis),
}
"""What can befall any service of this kind."""

FAULTS: Faults = {
    **PLAIN_FAULTS,
    "API killed": (2, kill_api),
    "messages tenfold": (1, double_the_messages),
    "SQL away": (2, lock_sql),
    "checkpoint damaged": (2, damage_a_checkpoint),
}
"""With those that only Descent has the parts for."""
