"""What goes wrong: each fault strikes once, and whatever has to be mended by a person is mended soon after."""

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis
from celery import Celery

from models.database import Database
from models.queue import QUEUES, TRAIN
from models.settings import Settings
from tests.chaos.stack import LEASE_SECONDS, Stack
from tests.models.outages import sql_away

AWAY_SECONDS = 1.5


@dataclass(frozen=True)
class Target:
    """Where faults strike."""

    stack: Stack
    random: random.Random


def kill_training_process(target: Target) -> None:
    worker = target.random.choice(target.stack.workers)
    for process in worker.family()[:-1][:1]:
        process.kill()


def kill_worker(target: Target) -> None:
    target.random.choice(target.stack.workers).send(signal.SIGKILL)


def ask_worker_to_stop(target: Target) -> None:
    target.random.choice(target.stack.workers).process.terminate()


def make_a_zombie(target: Target) -> None:
    """A worker sleeps for three leases, then goes on as if nothing had been."""
    worker = target.random.choice(target.stack.workers)
    worker.send(signal.SIGSTOP)
    threading.Timer(3 * LEASE_SECONDS, worker.send, [signal.SIGCONT]).start()


def kill_api(target: Target) -> None:
    target.stack.api.send(signal.SIGKILL)


def kill_redis(target: Target) -> None:
    target.stack.redis.send(signal.SIGKILL)


def stop_redis(target: Target) -> None:
    target.stack.redis.send(signal.SIGSTOP)
    threading.Timer(AWAY_SECONDS, target.stack.redis.send, [signal.SIGCONT]).start()


def empty_redis(target: Target) -> None:
    try:
        with redis.Redis.from_url(target.stack.metrics_url, socket_timeout=1) as client:
            client.flushall()
    except redis.RedisError:
        return  # it is away anyhow


def double_the_messages(target: Target) -> None:
    """Ten wake-ups where one would do."""
    app = Celery(broker=target.stack.broker_url)
    try:
        with app.connection_for_write() as connection:
            for _ in range(10):
                app.send_task(TRAIN, queue=QUEUES["cpu"], connection=connection, retry=False)
    except Exception:
        return  # the broker is away anyhow


def lock_sql(target: Target) -> None:
    database = Database(Settings(database_url=target.stack.database_url).database())
    try:
        with sql_away(database):
            time.sleep(AWAY_SECONDS)
    except Exception:
        return  # somebody else holds it
    finally:
        database.dispose()


def damage_a_checkpoint(target: Target) -> None:
    """A byte of the newest file is another one."""
    files = sorted(Path(target.stack.folder / "storage" / "checkpoints").rglob("*.safetensors"))
    if files:
        path = max(files, key=lambda file: file.stat().st_mtime if file.exists() else 0.0)
        try:
            content = bytearray(path.read_bytes())
            content[target.random.randrange(len(content))] ^= 0x55
            path.write_bytes(content)
        except OSError:
            return  # nobody needed it any more


FAULTS: dict[str, tuple[int, Callable[[Target], None]]] = {
    "training process killed": (4, kill_training_process),
    "worker killed": (2, kill_worker),
    "worker asked to stop": (2, ask_worker_to_stop),
    "worker asleep for 3 leases": (1, make_a_zombie),
    "API killed": (2, kill_api),
    "Redis killed": (1, kill_redis),
    "Redis stopped": (1, stop_redis),
    "Redis emptied": (1, empty_redis),
    "messages tenfold": (1, double_the_messages),
    "SQL away": (2, lock_sql),
    "checkpoint damaged": (2, damage_a_checkpoint),
}
"""By name: how often, relative to the others, and what is done."""
